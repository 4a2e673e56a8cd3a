"""`python -m ops aws-state`: a place for Pulumi's state in S3, its secrets under a KMS key. Run by an administrator, once; again changes nothing."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from ops.aws_state import ALIAS, make
from ops.errors import LastcopyError


def aws_state(
    bucket: Annotated[str, typer.Option(help="Name of the state's bucket; not the backups' one.")],
    region: Annotated[str, typer.Option(help="Its region.")],
) -> None:
    """Make the place for Pulumi's state on AWS: a bucket with versions, and a KMS key for the secrets in it."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    console = Console(highlight=False, soft_wrap=True)
    try:
        changed = make(boto3.Session(), bucket, region)
    except (LastcopyError, BotoCoreError, ClientError) as error:
        Console(stderr=True, highlight=False).print(f"error: {error}", markup=False)
        raise typer.Exit(1) from None
    console.print(f"made: {', '.join(changed)}" if changed else "everything stands already", markup=False)
    console.print(f"export PULUMI_BACKEND_URL='s3://{bucket}?region={region}'", markup=False)
    console.print(
        f"pulumi stack init STACK --secrets-provider 'awskms://{ALIAS}?region={region}'", markup=False
    )
