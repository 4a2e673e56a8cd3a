"""`python -m tests.gates`: runs a gate as a program, for a network namespace other than this process's.

The first line of stdin configures it (JSON: behind, certs, secrets; service: whose gate, none for one without rules; region: the endpoint's;
minutes, by which its clock is ahead; new_for: requests before a new bucket is found, see BucketElsewhere; kms: objects are encrypted with a KMS key
on which the identities lack these rights). Each further line maps keys to the
answer that HEAD gets from then on. It prints its endpoint first, then one line for each line that it reads, and ends when stdin ends.
"""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path

from tests.enforced.servers import REGION
from tests.gates.gate import Gate, opened
from tests.gates.rules import BucketElsewhere, EtagIsNoDigest, HeadAnswered, KmsKeyClosed
from tests.gates.services import GATES


def main() -> None:
    given = json.loads(sys.stdin.readline())
    rule = HeadAnswered({})
    own = GATES[given["service"]]() if "service" in given else ()
    for one in own:
        if isinstance(one, BucketElsewhere):
            one.new_for = given.get("new_for", 0)
    encrypted = (EtagIsNoDigest(), KmsKeyClosed(frozenset(given["kms"]))) if "kms" in given else ()
    gate = Gate(
        given["behind"],
        Path(given["certs"]),
        [*own, *encrypted, rule],
        region=given.get("region", REGION),
        clock=datetime.timedelta(minutes=given.get("minutes", 0)),
        secrets=given["secrets"],
    )
    with opened(gate):
        print(json.dumps({"endpoint": gate.endpoint}), flush=True)
        for line in sys.stdin:
            rule.status = json.loads(line)
            print("{}", flush=True)


if __name__ == "__main__":
    main()
