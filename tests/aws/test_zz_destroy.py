"""The last of the AWS tests: destroy leaves nothing in the account, in the storage or on this machine."""

from __future__ import annotations

from tests.aws.stack import BUCKET, AwsStack
from tests.integration.test_zz_destroy import traces


def test_destroy_leaves_nothing(aws: AwsStack) -> None:
    """Machines, addresses, networks, keys, alarms, the bucket with every locked version: the stack's purpose is a test."""
    standing = aws.in_account()
    assert all(standing.values()), standing
    with aws.storage() as client:
        assert list(client.list_objects(BUCKET, recursive=True))
    aws.running.stack.destroy()
    assert not any(aws.in_account().values()), aws.in_account()
    assert aws.relays() == []
    assert aws.storage_keys() == []
    with aws.storage() as client:
        assert client.list_buckets() == []
    for name in aws.sources:  # their keys and passwords stay with their owner; nothing runs there any more
        assert aws.machines.shell(name, "ls /etc/systemd/system").stdout.count("lastcopy") == 0
    aws.close()
    assert not any(traces(aws.running).values()), traces(aws.running)
