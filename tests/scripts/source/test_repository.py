"""The repository: created once, never exchanged unnoticed; a password is never applied silently."""

from __future__ import annotations

import pytest

from components.host.program_texts import script_text
from components.source import step_values
from tests.sabotage import weaken
from tests.scripts.source.bed import PASSWORD, Bed, settings

STORE = "/srv/store/web1-1"
RECORD = "/etc/lastcopy/repository"


def standing(bed: Bed) -> str:
    """Everything that must not change if something is refused."""
    return bed.machine.ok(f"cat /etc/lastcopy/password* {RECORD} 2>/dev/null; find /srv/store -type f | sort")


def refused(bed: Bed, *words: str) -> None:
    before = standing(bed)
    step = bed.repository()
    assert step.code == 1
    for word in (*words, "fix: "):
        assert word in step.err
    assert standing(bed) == before
    assert PASSWORD not in step.err
    assert bed.password not in step.err


def test_repository_is_made_once(bare: Bed) -> None:
    bare.dial_in()
    first = bare.repository()
    assert first.code == 0, first.err
    assert len(first.facts["repository_id"]) == 64
    assert bare.machine.ok(f"ls {STORE}/keys").strip() == first.facts["key_id"]
    assert bare.machine.ok("stat -c '%a %U:%G' /etc/lastcopy/password").strip() == "400 root:root"
    before = standing(bare)
    again = bare.repository()
    assert (again.code, again.changed, again.facts) == (0, [], first.facts)
    checked = bare.repository("check")
    assert (checked.code, checked.drift) == (0, [])
    assert standing(bare) == before


def test_check_creates_nothing(bare: Bed) -> None:
    bare.dial_in()
    checked = bare.repository("check")
    assert (checked.code, checked.drift) == (3, ["file /etc/lastcopy/password", "repository"])
    assert standing(bare) == ""


def test_a_reinstalled_host_joins_its_repository(bed: Bed) -> None:
    """The stack has the password and the key is new: the existing repository is used, and no second one is made."""
    before = bed.machine.ok(f"ls {STORE}/keys")
    bed.machine.ok("rm -rf /etc/lastcopy /var/cache/lastcopy")
    bed.dial_in()
    joined = bed.repository()
    assert joined.code == 0, joined.err
    assert "repository" not in joined.changed
    assert joined.facts["key_id"] == before.strip()
    assert bed.machine.ok(f"ls {STORE}/keys") == before


# A changed password


def promise_a_changed_password_is_not_applied(bed: Bed, script: str | None = None) -> None:
    bed.password = "a-new-password-from-the-stack"
    if script is not None:
        values = {**step_values.repository(bed.source), "PASSWORD": bed.password}
        bed.machine.run("sh -s -- apply", stdin=weaken(script_text("repository", values), *script.split("|")))
    else:
        refused(bed, "does not open this source's repository", "restic-backup key add", "generation to 2")
    assert bed.machine.read("/etc/lastcopy/password") == PASSWORD
    bed.restic("cat config")


def test_a_changed_password_is_not_applied_to_a_repository_that_it_does_not_open(bed: Bed) -> None:
    promise_a_changed_password_is_not_applied(bed)


def test_sabotage_a_script_that_just_writes_the_password_is_caught(bed: Bed) -> None:
    with pytest.raises(AssertionError):
        promise_a_changed_password_is_not_applied(bed, "12) refuse_password ;;|12) ;;")


def test_a_password_that_was_added_as_a_key_is_accepted(bed: Bed) -> None:
    bed.password = "a-new-password-from-the-stack"
    bed.machine.write("/root/new", bed.password, "600")
    bed.restic("key add --new-password-file /root/new")
    taken = bed.repository()
    assert taken.code == 0, taken.err
    assert taken.changed == ["file /etc/lastcopy/password", f"file {RECORD}"]
    assert bed.machine.read("/etc/lastcopy/password") == bed.password
    assert f"key_id={taken.facts['key_id']}" in bed.machine.read(RECORD)
    assert '"current":true,"id":"' + taken.facts["key_id"] in bed.restic("key list --json")
    assert bed.repository().changed == []


def test_a_new_generation_is_a_new_repository_and_the_old_password_is_kept(bed: Bed) -> None:
    bed.back_up()
    old = bed.machine.ok(f"find {STORE} -type f | sort | xargs sha256sum")
    bed.source, bed.password = settings(generation=2), "only-for-the-second-one"
    bed.relay.generation(2)
    made = bed.repository()
    assert made.code == 0, made.err
    assert made.facts["generation"] == "2"
    assert bed.snapshots() == []
    assert bed.machine.ok(f"find {STORE} -type f | sort | xargs sha256sum") == old
    assert bed.machine.ok("cat /etc/lastcopy/password.*") == PASSWORD
    assert bed.machine.ok("stat -c %a /etc/lastcopy/password.*").strip() == "400"
    assert bed.repository().changed == []


def test_an_unrelated_repository_in_its_place_is_refused(bare: Bed) -> None:
    bare.dial_in()
    bare.machine.ok(
        "echo foreign-password >/root/foreign && restic --no-cache -r /srv/store/web1-1"
        " --password-file /root/foreign init && chmod -R a+rwX /srv/store"
    )
    refused(bare, "this source has a repository already", "generation to 2")


# Storage that is not what it was


def promise_a_vanished_repository_is_not_created_again(
    bed: Bed, sabotage: tuple[str, str] = ("", "")
) -> None:
    bed.machine.ok(f"mv {STORE} /srv/hidden")
    try:
        values = {**step_values.repository(bed.source), "PASSWORD": PASSWORD}
        text = weaken(script_text("repository", values), *sabotage)
        done = bed.machine.run("sh -s -- apply", stdin=text)
        assert done.code == 1
        assert "may be hidden by delete markers, not lost" in done.err
        assert "generation to 2" in done.err
        assert bed.machine.run(f"ls {STORE}/config").code != 0
    finally:
        bed.machine.ok(f"rm -rf {STORE} && mv /srv/hidden {STORE}")


def test_a_vanished_repository_is_not_created_again(bed: Bed) -> None:
    promise_a_vanished_repository_is_not_created_again(bed)
    assert bed.repository().code == 0


def test_sabotage_a_script_that_initialises_whatever_is_missing_is_caught(bed: Bed) -> None:
    with pytest.raises(AssertionError):
        promise_a_vanished_repository_is_not_created_again(
            bed, ('10) [ -z "$same_generation" ] || refuse_missing ;;', "10) ;;")
        )


def test_an_exchanged_repository_is_refused(bed: Bed) -> None:
    bed.machine.ok(
        f"mv {STORE} /srv/hidden && restic --no-cache -r {STORE} --password-file /etc/lastcopy/password init"
        " && chmod -R a+rwX /srv/store"
    )
    try:
        refused(bed, "somebody replaced it")
    finally:
        bed.machine.ok(f"rm -rf {STORE} && mv /srv/hidden {STORE}")


def test_a_half_made_repository_is_refused_with_the_way_out(bare: Bed) -> None:
    """restic init killed between its key and its configuration: restic itself can never complete that, because storage is append-only."""
    bare.dial_in()
    assert bare.repository().code == 0
    bare.machine.ok(f"rm {STORE}/config {RECORD}")
    said = bare.machine.run("restic-backup init")
    assert "already contains keys" in said.err, "restic's message, on which the script relies"
    refused(bare, "incomplete", "no backup was ever stored", "generation to 2")
    bare.source = settings(generation=2)
    bare.relay.generation(2)
    assert bare.repository().code == 0


# A7: interrupted in the middle


@pytest.mark.parametrize("before", ["init", "key"], ids=["before-init", "between-init-and-record"])
def test_a_killed_run_converges(bare: Bed, before: str) -> None:
    bare.dial_in()
    trap = (
        '#!/bin/sh\n[ "$1" = version ] && exec /opt/restic version\n'
        f'for word; do [ "$word" != {before} ] || kill -9 $(pgrep -o -f "^sh -s"); done\nexec /opt/restic "$@"\n'
    )
    bare.machine.write("/usr/local/lib/lastcopy/restic-9.9.9/restic", trap, "755")
    assert bare.repository().code not in (0, 1)
    bare.machine.ok("sleep 4; rm -r /usr/local/lib/lastcopy/restic-9.9.9; rm -rf /run/lastcopy/step.*")
    assert bare.machine.run(f"ls {RECORD}").code != 0
    again = bare.repository()
    assert again.code == 0, again.err
    assert bare.machine.ok(f"ls {STORE}/keys | wc -l").strip() == "1"
    assert bare.repository().changed == []


# Outages and refusals of the relay


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("busy", "could not be opened"),
        ("storage-down", "could not be opened"),
        ("setup", "setup for this source is incomplete"),
    ],
)
def test_a_relay_that_does_not_serve_is_never_taken_for_an_empty_repository(
    bare: Bed, mode: str, words: str
) -> None:
    bare.dial_in()
    bare.relay.fails_with(mode)
    refused(bare, words)
    bare.relay.works()
    assert bare.repository().code == 0


def test_a_relay_with_another_host_key_is_refused_at_once(bare: Bed) -> None:
    bare.dial_in()
    bare.machine.ok(
        "sed -i 's/AAAAC3NzaC1lZDI1NTE5AAAAI./AAAAC3NzaC1lZDI1NTE5AAAAIX/' /etc/lastcopy/known_hosts"
    )
    refused(bare, "host key is not the pinned one")


def test_a_key_that_the_relay_does_not_know_is_refused(bare: Bed) -> None:
    bare.dial_in()
    bare.machine.ok("rm /home/bk-web1/.ssh/authorized_keys")
    refused(bare, "does not accept this source's key")


def test_a_missing_restic_is_reported_with_the_wrappers_own_message(bare: Bed) -> None:
    bare.dial_in()
    bare.machine.ok("rm /usr/local/bin/restic")
    refused(bare, "no restic at or above 0.19.1 (found: none)")
