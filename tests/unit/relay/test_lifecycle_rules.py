"""A10: the storage step names the rules of a bucket's lifecycle that would remove backups or put them out of reach, and no others.

The step's own function, given the answer of a storage. That the step uses it: tests/scripts/relay/test_storage_proof.py.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from toolchain.checkout import ROOT

SCRIPT = ROOT / "components" / "relay" / "storage_check" / "storage_rights.sh"
RUN = """\
set -eu
. "$1"
WORK=$2 repository=web1/g1/
ask() { status=$3; }
unseen() { echo "unseen $1"; }
lost() { echo "lost $1 $2"; }
warning() { echo "warning $1 $2"; }
lifecycle
"""


def told(folder: Path, *rules: str, status: int = 200, apart: str = "") -> list[str]:
    """What the step says of these rules. ``apart``: what the service writes between the elements."""
    body = "".join(f"<Rule>{rule}</Rule>" for rule in rules)
    xml = f'<?xml version="1.0"?><LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{body}</LifecycleConfiguration>'
    (folder / "body").write_text(re.sub(r"(?<!<Prefix)><", f">{apart}<", xml))
    script = RUN.replace("status=$3", f"status={status}; answered() {{ echo {status}; }}")
    done = subprocess.run(
        ["sh", "-c", script, "sh", str(SCRIPT), str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def rule(does: str, scope: str = "<Filter><Prefix></Prefix></Filter>", status: str = "Enabled") -> str:
    return f"<ID>tidy</ID>{scope}<Status>{status}</Status>{does}"


EXPIRES = "<Expiration><Days>30</Days></Expiration>"


def moves(*classes: str, what: str = "Transition", days: str = "Days") -> str:
    return "".join(
        f"<{what}><{days}>{10 * n}</{days}><StorageClass>{one}</StorageClass></{what}>"
        for n, one in enumerate(classes, 1)
    )


TOLD = {
    "all": (rule(EXPIRES), "lost R1"),
    "without a filter": (rule(EXPIRES, "<Filter></Filter>"), "lost R1"),
    "an empty prefix": (rule(EXPIRES, "<Prefix/>"), "lost R1"),
    "an empty filter": (rule(EXPIRES, "<Filter/>"), "lost R1"),
    "at a date": (rule("<Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration>"), "lost R1"),
    "this source's prefix": (rule(EXPIRES, "<Filter><Prefix>web1/</Prefix></Filter>"), "lost R1"),
    "the older form": (rule(EXPIRES, "<Prefix>web</Prefix>"), "lost R1"),
    "a part of the repository": (rule(EXPIRES, "<Filter><Prefix>web1/g1/data/</Prefix></Filter>"), "lost R1"),
    "large ones": (
        rule(
            EXPIRES,
            "<Filter><And><Prefix>web1/</Prefix><ObjectSizeGreaterThan>9</ObjectSizeGreaterThan></And></Filter>",
        ),
        "lost R1",
    ),
    "to an archive": (rule(moves("GLACIER")), "warning A9"),
    "to an archive first": (rule(moves("DEEP_ARCHIVE", "GLACIER_IR")), "warning A9"),
    "to an archive last": (rule(moves("STANDARD_IA", "DEEP_ARCHIVE")), "warning A9"),
}
NOT_TOLD = {
    "old versions": rule(
        "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"
    ),
    "markers above nothing": rule(
        "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"
    ),
    "unfinished uploads": rule(
        "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
    ),
    "switched off": rule(EXPIRES, status="Disabled"),
    "another source's": rule(EXPIRES, "<Filter><Prefix>web10/</Prefix></Filter>"),
    "another generation": rule(EXPIRES, "<Filter><Prefix>web1/g2/</Prefix></Filter>"),
    "tagged ones, which backups are not": rule(
        EXPIRES, "<Filter><Tag><Key>temporary</Key><Value>yes</Value></Tag></Filter>"
    ),
    "to a class that answers at once": rule(moves("STANDARD_IA", "GLACIER_IR")),
    "old versions to an archive": rule(
        moves("GLACIER_IR")
        + moves("GLACIER", "DEEP_ARCHIVE", what="NoncurrentVersionTransition", days="NoncurrentDays")
    ),
}


@pytest.mark.parametrize("apart", ["", "\r\n  "])
@pytest.mark.parametrize("name", TOLD)
def test_a_rule_that_removes_backups_is_named(tmp_path: Path, name: str, apart: str) -> None:
    text, begins = TOLD[name]
    others = NOT_TOLD.values() if apart else ()
    (said,) = told(tmp_path, *others, text, apart=apart)
    assert said.startswith(begins)
    assert "'tidy'" in said


@pytest.mark.parametrize("name", NOT_TOLD)
def test_a_harmless_rule_is_not_named(tmp_path: Path, name: str) -> None:
    assert told(tmp_path, NOT_TOLD[name]) == []


def test_a_lifecycle_that_could_not_be_read_is_reported(tmp_path: Path) -> None:
    assert told(tmp_path, status=404) == []
    for status in (403, 500):
        (said,) = told(tmp_path, rule(EXPIRES), status=status)
        assert said.startswith("unseen whether the bucket's lifecycle hides backups")
