"""The last of the AWS tests: destroy leaves nothing in the account, in the storage or on this machine; and every documented command was run."""

from __future__ import annotations

from tests.aws.document import AWS, ROW_RUN_BY, not_run, rows_used, shell_blocks
from tests.aws.reader import Reader
from tests.aws.stack import BUCKET, AwsStack, Ground
from tests.integration.test_zz_destroy import traces
from toolchain.checkout import ROOT


def test_destroy_leaves_nothing(aws: AwsStack, ground: Ground) -> None:
    """Machines, addresses, networks, keys, alarms, and the bucket with every locked version, because the stack is a test stack."""
    standing = aws.in_account()
    assert all(standing.values()), standing
    with aws.storage() as client:
        assert list(client.list_objects(BUCKET, recursive=True))
    aws.become("break-glass")
    aws.reader.run(aws.down)
    assert not any(aws.in_account().values()), aws.in_account()
    assert aws.relays() == []
    assert aws.storage_keys() == []
    with aws.storage() as client:
        assert client.list_buckets() == []
    for name in aws.sources:  # their keys and passwords stay with their owner; nothing runs there any more
        assert aws.machines.shell(name, "ls /etc/systemd/system").stdout.count("lastcopy") == 0
    assert not aws.file.exists()
    ground.close()
    assert not any(traces(aws.machines).values()), traces(aws.machines)


def test_every_command_of_the_document_was_run(reader: Reader) -> None:
    """In this session, successfully: this needs all earlier tests of the folder."""
    wanted = [
        command
        for block in shell_blocks((ROOT / AWS).read_text())
        for command in block.commands()
        if not not_run(command.text)
    ]
    assert len(wanted) > 20
    assert [one for one in wanted if one not in reader.ran] == []
    assert ROW_RUN_BY.keys() - rows_used() == set()
