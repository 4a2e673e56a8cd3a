"""A source that the admin cannot reach: a script for its own root, with the same steps that `pulumi up` sends."""

from __future__ import annotations

import json

import pytest

from components.source.enrolment.enrolment_script import enrolment_script
from tests.doc_shell import blocks
from tests.sabotage import weaken
from tests.scripts.source.bed import PASSWORD, Bed
from toolchain.checkout import ROOT

FILE = "/root/enrol.sh"


def enrolment(bed: Bed, public_key: str) -> str:
    return enrolment_script(bed.source, public_key=public_key, client=bed.client_values(), password=PASSWORD)


def reports(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


def test_one_script_enrols_a_host(bare: Bed) -> None:
    """Its root made the key by itself, as docs/operations.md says."""
    by_hand = blocks(ROOT / "docs" / "operations.md", "### Enrol a source that you cannot reach")[0]
    public_key = bare.machine.ok(by_hand).strip()
    bare.relay.enrol("web1", public_key)

    bare.machine.write(FILE, enrolment(bare, public_key), "600")
    first = bare.machine.run(f"sh {FILE}")
    assert first.code == 0, first.err
    assert PASSWORD not in first.out + first.err
    bare.machine.ok("mkdir -p /data && echo x >/data/f")
    assert bare.back_up().status["result"] == "success"

    again = bare.machine.run(f"sh {FILE}")
    assert (again.code, [report["changed"] for report in reports(again.out)]) == (0, [[]] * 5)
    assert bare.machine.run(f"bash {FILE} check").code == 0
    bare.machine.ok("rm /etc/lastcopy/excludes")
    assert bare.machine.run(f"sh {FILE} check").code == 3
    assert bare.machine.run("ls /etc/lastcopy/excludes").code != 0


def test_a_host_without_internet_accepts_a_restic_that_its_root_brought_along(bare: Bed) -> None:
    """Sabotage: with another digest nothing is installed, and no later step runs."""
    public = bare.key().facts["public_key"]
    bare.relay.enrol("web1", public)
    text = enrolment(bare, public)
    assert "lastcopy tools host restic" in text, "its root is told how"
    bare.machine.write(FILE, text, "600")
    bare.machine.ok("rm /usr/local/bin/restic")
    digest = bare.machine.ok("sha256sum </opt/restic").split()[0]
    refused = bare.machine.run(f"sh {FILE} apply /opt/restic {'0' * 64}")
    assert refused.code == 1
    assert "is not the one that was sent: its SHA-256 is not 000" in refused.err
    assert bare.machine.run("ls /usr/local/lib/lastcopy/restic-* /etc/lastcopy/restic.conf").out == ""
    done = bare.machine.run(f"sh {FILE} apply /opt/restic {digest}")
    assert done.code == 0, done.err
    assert bare.machine.ok("ls -A /usr/local/lib/lastcopy/restic-*").split() == ["restic"]
    bare.machine.ok("mkdir -p /data && echo x >/data/f")
    assert bare.back_up().status["result"] == "success"


def promise_the_wrong_host_is_refused(bed: Bed, text: str, mine: str) -> None:
    bed.machine.write(FILE, text, "600")
    done = bed.machine.run(f"sh {FILE}")
    assert done.code == 1
    assert mine in done.err
    assert bed.machine.ok("ls /etc/lastcopy").split() == ["id_ed25519", "id_ed25519.pub"]


@pytest.fixture
def others_key(bare: Bed) -> str:
    bare.machine.ok("rm -f /root/o*; ssh-keygen -q -t ed25519 -N '' -C '' -f /root/o")
    return bare.machine.read("/root/o.pub").strip()


def test_the_wrong_host_is_refused_before_it_gets_the_password(bare: Bed, others_key: str) -> None:
    mine = bare.key().facts["public_key"]
    promise_the_wrong_host_is_refused(bare, enrolment(bare, others_key), mine)


def test_sabotage_a_script_that_goes_on_after_a_refusal_is_caught(bare: Bed, others_key: str) -> None:
    mine = bare.key().facts["public_key"]
    text = weaken(enrolment(bare, others_key), '*) exit "$rc" ;;', "*) ;;", most=1)
    with pytest.raises(AssertionError):
        promise_the_wrong_host_is_refused(bare, text, mine)


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.9999])
def test_a_truncated_script_does_nothing(bare: Bed, part: float) -> None:
    text = enrolment(bare, "ssh-ed25519 AAAA")
    bare.machine.write(FILE, text[: int(len(text) * part)], "600")
    bare.machine.run(f"sh {FILE}")
    assert bare.machine.run("ls /etc/lastcopy").code != 0


def test_users_other_than_root_get_a_clear_error(bare: Bed) -> None:
    bare.machine.write("/srv/enrol.sh", enrolment(bare, "ssh-ed25519 AAAA"), "644")
    done = bare.machine.run("setpriv --reuid=nobody --regid=nogroup --clear-groups sh /srv/enrol.sh")
    assert done.code == 1
    assert "sudo sh" in done.err
