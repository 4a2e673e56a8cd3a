"""How a source connects: one pinned relay, no other configuration, the wrapper's clean start of restic (A1, A2, A4)."""

from __future__ import annotations

import pytest

from components.host.program_texts import script_text
from components.source import step_values
from tests.scripts.source.bed import Bed

FILES = {
    "/etc/lastcopy/ssh_config": "600 root:root",
    "/etc/lastcopy/known_hosts": "600 root:root",
    "/etc/lastcopy/restic.conf": "600 root:root",
    "/usr/local/bin/restic-backup": "755 root:root",
}


def test_client_converges_and_reports_drift(bare: Bed) -> None:
    first = bare.client()
    assert first.code == 0, first.err
    assert set(FILES) <= {change.removeprefix("file ") for change in first.changed}
    for file, mode in FILES.items():
        assert bare.machine.ok(f"stat -c '%a %U:%G' {file}").strip() == mode
    assert bare.client().changed == []
    assert bare.client("check").code == 0
    bare.machine.ok(
        "echo '    ProxyCommand evil' >>/etc/lastcopy/ssh_config; chmod 644 /etc/lastcopy/known_hosts"
    )
    found = bare.client("check")
    assert (found.code, found.drift) == (
        3,
        ["file /etc/lastcopy/ssh_config", "file /etc/lastcopy/known_hosts"],
    )
    assert bare.client().changed == found.drift
    assert bare.client("check").code == 0


def test_client_runs_under_bash_too(bare: Bed) -> None:
    assert bare.machine.step("source_client", bare.client_values(), interpreter="bash").code == 0


def test_an_ssh_that_rejects_the_configuration_is_refused_before_anything_changes(bare: Bed) -> None:
    values = bare.client_values()
    values["SSH_CONFIG"] += "    OptionOfTheFuture yes\n"
    refused = bare.machine.step("source_client", values)
    assert refused.code == 1
    assert "does not take the configuration" in refused.err
    assert bare.machine.run("ls /etc/lastcopy/ssh_config /usr/local/bin/restic-backup").code != 0


def test_removal_keeps_key_password_and_record(bed: Bed) -> None:
    keep = "/etc/lastcopy/id_ed25519 /etc/lastcopy/password /etc/lastcopy/repository"
    before = bed.machine.ok(f"cat {keep}")
    assert bed.schedule("remove").code == 0
    removed = bed.client("remove")
    assert removed.code == 0
    assert bed.machine.ok(f"cat {keep}") == before
    assert bed.machine.run("ls /usr/local/bin/restic-backup /etc/lastcopy/ssh_config").code != 0
    assert bed.client("remove").changed == []


def promise_only_the_programs_ssh_configuration_is_used(bed: Bed) -> None:
    trap = "Host *\n  ProxyCommand touch /root/trapped\n  StrictHostKeyChecking no\n  User somebody\n"
    bed.machine.write("/root/.ssh/config", trap, "600")
    bed.machine.write("/etc/ssh/ssh_config.d/trap.conf", trap)
    try:
        bed.restic("cat config")
        assert bed.machine.run("ls /root/trapped").code != 0
    finally:
        bed.machine.ok("rm -rf /root/.ssh /etc/ssh/ssh_config.d/trap.conf /root/trapped")


def test_only_the_programs_ssh_configuration_is_used(bed: Bed) -> None:
    promise_only_the_programs_ssh_configuration_is_used(bed)


def test_sabotage_a_wrapper_without_its_own_ssh_configuration_is_caught(bed: Bed) -> None:
    bed.machine.ok("sed -i 's#ssh -F /etc/lastcopy/ssh_config relay#ssh relay#' /usr/local/bin/restic-backup")
    with pytest.raises(AssertionError):
        promise_only_the_programs_ssh_configuration_is_used(bed)


SURPRISES = (
    "RESTIC_REPOSITORY=/nowhere RESTIC_PASSWORD=wrong RESTIC_PASSWORD_COMMAND=false RESTIC_KEY_HINT=00"
    " RESTIC_COMPRESSION=none RESTIC_PACK_SIZE=999 RCLONE_CONFIG=/nowhere AWS_ACCESS_KEY_ID=x"
    " LD_PRELOAD=/nowhere.so SSH_AUTH_SOCK=/nowhere TMPDIR=/nowhere RESTIC_CACHE_DIR=/root/leak HOME=/nowhere GOMAXPROCS=77"
)


def promise_the_callers_environment_has_no_effect(bed: Bed) -> None:
    spy = '#!/bin/sh\n[ "$1" = version ] || env >/root/environment\nexec /opt/restic "$@"\n'
    bed.machine.write("/usr/local/lib/lastcopy/restic-9.9.9/restic", spy, "755")
    bed.machine.ok(f"env {SURPRISES} restic-backup snapshots")
    seen = dict(line.split("=", 1) for line in bed.machine.read("/root/environment").splitlines())
    assert seen["GOMAXPROCS"] != "77"
    assert seen.keys() <= {
        "PATH",
        "HOME",
        "LC_ALL",
        "TERM",
        "TMPDIR",
        "GOMAXPROCS",
        "PWD",
        "SHLVL",
        "_",
        "OLDPWD",
    }


def test_the_callers_environment_has_no_effect(bed: Bed) -> None:
    promise_the_callers_environment_has_no_effect(bed)


def test_sabotage_a_wrapper_that_keeps_the_environment_is_caught(bed: Bed) -> None:
    bed.machine.ok("sed -i 's/^exec env -i /exec env /' /usr/local/bin/restic-backup")
    with pytest.raises(AssertionError):
        promise_the_callers_environment_has_no_effect(bed)


def test_no_secret_in_any_command_line(bed: Bed) -> None:
    spy = '#!/bin/sh\nprintf "%s\\n" "$@" >>/root/arguments\nexec /opt/restic "$@"\n'
    bed.machine.write("/usr/local/lib/lastcopy/restic-9.9.9/restic", spy, "755")
    bed.restic("snapshots")
    bed.back_up()
    arguments = bed.machine.read("/root/arguments")
    assert "--password-file" in arguments
    assert bed.password not in arguments


# A1: the relay's host key


def promise_another_host_key_stops_the_run(bed: Bed) -> None:
    bed.machine.ok(
        "mkdir -p /srv/keys && cp -a /etc/ssh/ssh_host_ed25519_key* /srv/keys/ && rm /etc/ssh/ssh_host_ed25519_key*"
        " && ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key && systemctl restart ssh"
    )
    try:
        done = bed.machine.run("restic-backup snapshots")
        assert done.code == 1
        assert "Host key verification failed" in done.err
    finally:
        bed.machine.ok("cp -a /srv/keys/. /etc/ssh/ && systemctl restart ssh")


def test_another_host_key_stops_the_run(bed: Bed) -> None:
    promise_another_host_key_stops_the_run(bed)
    bed.restic("snapshots")


def test_sabotage_an_ssh_config_that_accepts_any_host_key_is_caught(bed: Bed) -> None:
    bed.machine.ok("sed -i 's/StrictHostKeyChecking yes/StrictHostKeyChecking no/' /etc/lastcopy/ssh_config")
    with pytest.raises(AssertionError):
        promise_another_host_key_stops_the_run(bed)


# A4: restic's minimum version


def promise_an_old_restic_is_refused(bed: Bed) -> None:
    old = (
        "#!/bin/sh\n[ \"$1\" = version ] && echo 'restic 0.14.0 compiled with go1.19 on linux/amd64'"
        " || touch /root/old-restic-ran\n"
    )
    bed.machine.write("/usr/local/bin/old-restic", old, "755")
    bed.machine.ok("ln -sfn old-restic /usr/local/bin/restic")
    try:
        done = bed.machine.run("restic-backup snapshots")
        assert done.code == 71
        assert "no restic at or above 0.19.1 (found: /usr/local/bin/restic 0.14.0)" in done.err
        assert bed.machine.run("ls /root/old-restic-ran").code != 0
    finally:
        bed.machine.ok("rm -f /root/old-restic-ran")


def test_an_old_restic_is_refused(bed: Bed) -> None:
    promise_an_old_restic_is_refused(bed)


def test_sabotage_a_lower_minimum_version_is_caught(bed: Bed) -> None:
    bed.machine.ok("sed -i 's/^floor=.*/floor=0.1.0/' /etc/lastcopy/restic.conf")
    with pytest.raises(AssertionError):
        promise_an_old_restic_is_refused(bed)


# A7: killed at any moment


@pytest.mark.parametrize("moment", ["0.02", "0.05", "0.1", "0.2"])
@pytest.mark.parametrize("script", ["source_key", "source_client", "schedule"])
def test_a_step_killed_at_any_moment_converges(bare: Bed, script: str, moment: str) -> None:
    values = {
        "source_key": step_values.key(),
        "source_client": bare.client_values(),
        "schedule": step_values.schedule(bare.source),
    }[script]
    bare.machine.run(f"timeout -s KILL {moment} sh -s -- apply", stdin=script_text(script, values))
    again = bare.machine.step(script, values)
    assert again.code == 0, again.err
    checked = bare.machine.step(script, values, "check")
    assert (checked.code, checked.drift) == (0, [])
    bare.machine.ok("rm -rf /run/lastcopy/step.*")
    left = bare.machine.ok(
        "find /etc/lastcopy /usr/local/lib/lastcopy /usr/local/bin -name '.lastcopy.*' 2>/dev/null || true"
    )
    assert len(left.split()) <= 1, "at most the one file that was being written"
