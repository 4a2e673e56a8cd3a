"""Errors of AWS that moto does not have: quotas, missing rights, names that belong to somebody else. A test requests them, one file per fault.

LASTCOPY_AWS_DOUBLE_FAULTS names a JSON file: type (or "delete TYPE") -> [code, message]. It is read at every operation.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.aws.double.refused import Refused

FAULTS = "LASTCOPY_AWS_DOUBLE_FAULTS"


def strike(what: str) -> None:
    """Refuse the operation if the test asked for that."""
    file = os.environ.get(FAULTS)
    if not file or not Path(file).exists():
        return
    fault = json.loads(Path(file).read_text()).get(what)
    if fault:
        raise Refused(f"api error {fault[0]}: {fault[1]}")
