"""docs/own-hosts.md, in a clean home with a file backend elsewhere; then every verb for operators, from the same shell."""

from __future__ import annotations

import json
from pathlib import Path

from attack_drill.impostor import serve_on_loopback
from tests.doc_shell import Ended
from tests.own_hosts.conftest import SECRET_KEY, OwnHosts

KEY = "--storage-key ~/break-glass.env"


def test_the_documented_steps_end_with_a_backup_that_can_be_restored(own: OwnHosts) -> None:
    back = "cmp /srv/data/blob /var/tmp/try/srv/data/blob && cat '/var/tmp/try/srv/data/a name'"
    assert own.on("own-web1", back) == "one\n"
    *before, passwords = own.ran
    assert passwords.command.startswith("pulumi stack output passwords --show-secrets")
    password = json.loads(passwords.out)["web1"]
    assert own.on("own-web1", "cat /etc/lastcopy/password") == password
    for one in before:
        for secret in (password, SECRET_KEY):
            assert secret not in one.out + one.err, one.command


def test_the_state_is_only_where_the_shell_says(own: OwnHosts) -> None:
    assert (own.home / "lastcopy-state" / ".pulumi" / "stacks" / "lastcopy" / "prod.json").exists()
    assert not (own.checkout / ".local" / "state").exists(), (
        "the local stack's, which `make clean-local` deletes"
    )
    assert not (own.home / ".pulumi").exists()


def test_status_uses_the_stack_that_pulumi_shows(own: OwnHosts) -> None:
    """It once failed with `error: no stack named 'prod' found`."""
    named = own.ops(f"status --stack prod {KEY} --json").ok()
    (web1,) = json.loads(named.out)
    assert (web1["source"], web1["problems"]) == ("web1", [])
    selected = own.ops(f"status {KEY} --json").ok()
    assert json.loads(selected.out)[0]["newest"] == web1["newest"]


def test_sabotage_in_the_checkouts_own_home_there_is_no_such_stack(own: OwnHosts) -> None:
    """Where every verb once looked, whatever the shell said; now only with --sandbox."""
    done = own.ops("cut-off --source web1 --stack prod --sandbox .local/sandbox/local")
    assert (done.code, "there is no stack prod" in done.err) == (1, True)


def test_a_source_is_cut_off_and_let_in_again(own: OwnHosts) -> None:
    reads = "restic-backup cat config >/dev/null 2>&1 && echo reads || echo refused"
    said = own.ops("cut-off --source web1 --stack prod").ok()
    assert "let-in --source web1 --stack prod" in said.out
    assert own.on("own-web1", reads) == "refused\n"
    own.ops("let-in --source web1").ok()
    assert own.on("own-web1", reads) == "reads\n"
    own.shell.run("pulumi preview --expect-no-changes").ok()


def test_kit_recovery_and_prune_find_the_stack(own: OwnHosts) -> None:
    own.shell.run("(umask 077; head -c 24 /dev/urandom | base64 > ~/kit-passphrase)").ok()
    own.ops("kit write --stack prod --out ~/kit.age --passphrase-file ~/kit-passphrase").ok()
    shown = own.ops("kit show --kit ~/kit.age --passphrase-file ~/kit-passphrase").ok()
    assert f"relay relay.prod.example.com {own.facts['relay']['host_key']}" in shown.out
    look = own.ops(f"recover look --source web1 --stack prod {KEY}").ok()
    assert "last good moment" in look.out
    planned = own.ops(f"prune plan --source web1 --stack organization/lastcopy/prod {KEY} --json").ok()
    assert [one["verdict"] for one in json.loads(planned.out)["snapshots"]] == ["keep"]


def test_the_verbs_work_with_the_state_in_s3_and_the_relay_behind_a_tunnel(
    own: OwnHosts, tmp_path: Path
) -> None:
    """The same stack, moved to a bucket of the S3 server. Its outputs give the end of a tunnel on this machine as the relay's address,
    as with `door: ssm`, although the stack file gives another."""
    dials = tmp_path / "dials"
    through = "echo x >>$2; exec 3<>/dev/tcp/$1/22; cat <&3 & cat >&3; kill $!"
    with serve_on_loopback(
        ["bash", "-c", through, "bash", own.facts["relay"]["address"], str(dials)]
    ) as port:
        state = json.loads(own.shell.run("pulumi stack export --show-secrets").ok().out)
        (stack,) = [one for one in state["deployment"]["resources"] if one["type"] == "pulumi:pulumi:Stack"]
        stack["outputs"]["relay"] |= {"address": "127.0.0.1", "port": port}
        own.shell.run("aws s3api create-bucket --bucket own-state").ok()
        in_s3 = 'PULUMI_BACKEND_URL="s3://own-state?endpoint=$AWS_ENDPOINT_URL&s3ForcePathStyle=true&region=us-east-1"'

        def there(command: str, stdin: str = "") -> Ended:
            return own.shell.run(f"( export {in_s3}; {command} )", stdin=stdin).ok()

        there("pulumi stack init prod")
        there("pulumi stack import", json.dumps(state))
        outputs = json.loads(there("pulumi stack output --json --stack organization/lastcopy/prod").out)
        assert outputs["relay"]["port"] == port
        (web1,) = json.loads(there(f"lastcopy status --stack organization/lastcopy/prod {KEY} --json").out)
        assert web1["problems"] == []
        played = there("lastcopy attack-drill --rows S2,A1 --json-file ~/drill.json")
        assert "BROKEN" not in played.out
        assert dials.exists(), "the attack drill went through the tunnel"
    rows = json.loads((own.home / "drill.json").read_text())["rows"]
    assert {row["row"]: row["verdict"] for row in rows} == {"S2": "in part", "A1": "in part"}, played.out
