"""`lastcopy aws-state`: a bucket for Pulumi's state in S3, with its secrets under a KMS key. An administrator runs it once; repeating is safe."""

from __future__ import annotations

from typing import Annotated

import typer

from ops.aws_state import ALIAS, make_state_backend
from ops.command_line.output import JsonOption, print_json, print_line
from ops.errors import LastcopyError


def aws_state(
    bucket: Annotated[str, typer.Option(help="Name of the bucket for the state; not that of the backups.")],
    region: Annotated[str, typer.Option(help="Its region.")],
    as_json: JsonOption = False,
) -> None:
    """Make a versioned bucket for Pulumi's state on AWS, and a KMS key for the secrets in it."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        changed = make_state_backend(boto3.Session(), bucket, region)
    except (BotoCoreError, ClientError) as error:
        raise LastcopyError(str(error), where=f"bucket {bucket}, {region}") from None
    backend, secrets = f"s3://{bucket}?region={region}", f"awskms://{ALIAS}?region={region}"
    print_line(f"made: {', '.join(changed)}" if changed else "everything exists already")
    print_line(f"export PULUMI_BACKEND_URL='{backend}'")
    print_line(f"pulumi stack init STACK --secrets-provider '{secrets}'")
    if as_json:
        print_json({"made": changed, "backendUrl": backend, "secretsProvider": secrets})
