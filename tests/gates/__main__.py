"""`python -m tests.gates`: a gate as a program of its own, for a network that is not this process's.

The first line of stdin says what is behind (JSON: behind, certs, secrets); each further line maps keys to the answer that HEAD gets from then on.
It prints its endpoint first, then one line for each that it read, and ends with its stdin.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.gates.gate import Gate, opened
from tests.gates.rules import HeadAnswered


def main() -> None:
    given = json.loads(sys.stdin.readline())
    rule = HeadAnswered({})
    gate = Gate(given["behind"], Path(given["certs"]), [rule], secrets=given["secrets"])
    with opened(gate):
        print(gate.endpoint, flush=True)
        for line in sys.stdin:
            rule.status = json.loads(line)
            print("set", flush=True)


if __name__ == "__main__":
    main()
