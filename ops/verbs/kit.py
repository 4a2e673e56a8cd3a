"""Write and read the recovery kit: what a person needs when stack, state, relay and sources are gone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ops.checkout import ROOT
from ops.errors import LastcopyError, shown
from ops.kit.kit import from_outputs
from ops.kit.page import page
from ops.kit.sealed import check_readers, read_passphrase, seal, unseal, write_new
from ops.storage.access import read_storage_key
from ops.verbs.options import (
    IdentityOption,
    PassphraseOption,
    SandboxStackOption,
    StackOption,
    errors_shown,
)
from toolchain.pins import load

app = typer.Typer(no_args_is_help=True, help=__doc__)
console = Console(highlight=False)


@app.command()
def write(
    out: Annotated[Path, typer.Option("--out", help="The encrypted file; it must not exist yet.")],
    recipient: Annotated[
        list[str] | None,
        typer.Option("--recipient", help="Who may open it: age1… or a GPG fingerprint; several times."),
    ] = None,
    passphrase_file: PassphraseOption = None,
    storage_key: Annotated[
        str | None,
        typer.Option(
            "--storage-key",
            help="File with the break-glass storage key, to be put in; without it the kit tells how to get one.",
        ),
    ] = None,
    identities: Annotated[
        str, typer.Option("--identities", help="In your words: how to get a storage key in an emergency.")
    ] = "",
    page_file: Annotated[
        Path | None, typer.Option("--page", help="The page to print. Default: beside the file, .html.")
    ] = None,
    page_with_secrets: Annotated[
        bool, typer.Option("--page-with-secrets", help="Put the passwords on the page, too.")
    ] = False,
    stack: StackOption = None,
    sandbox: SandboxStackOption = None,
) -> None:
    """Write the encrypted kit and a page to print. Do it again after every change of sources, passwords or storage."""
    with errors_shown(console):
        from ops.stack import StackError, chosen  # imported late: `kit show` needs no engine

        paper = page_file or out.with_name(f"{out.name}.html")
        for path in (out, paper):
            if path.exists():
                raise LastcopyError(
                    f"{path} stands there already", where="--out, --page", fix="give another name"
                )
        phrase = read_passphrase(passphrase_file) if passphrase_file else None
        key = read_storage_key(storage_key) if storage_key else None
        check_readers(recipients=recipient or (), passphrase=phrase)
        try:
            of = chosen(ROOT, stack, sandbox=sandbox)
            outputs = of.outputs(secrets=True)
        except StackError as error:
            raise LastcopyError(str(error), where="--stack") from None
        pins = load().tools
        versions = {name: pins[name].version for name in ("restic", "rclone")}
        kit = from_outputs(of.name, outputs, versions, datetime.now(UTC), key=key, identities=identities)
        write_new(out, seal(kit.text(), recipients=recipient or (), passphrase=phrase))
        write_new(paper, page(kit, out.name, secrets=page_with_secrets).encode())
        console.print(
            f"kit of {len(kit.sources)} sources: {out}; page: {paper}", markup=False, soft_wrap=True
        )
        console.print(
            "keep both away from the backups' storage; try it now: python -m ops recover look --kit …",
            markup=False,
            soft_wrap=True,
        )


@app.command()
def show(
    kit: Annotated[Path, typer.Option("--kit", help="The encrypted file.")],
    passphrase_file: PassphraseOption = None,
    identity: IdentityOption = None,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Print everything, passwords too, as JSON.")
    ] = False,
) -> None:
    """Open a kit and tell what is in it; its secrets only when asked for."""
    with errors_shown(console):
        phrase = read_passphrase(passphrase_file) if passphrase_file else None
        found = unseal(kit, passphrase=phrase, identity_file=identity)
        if secrets:
            typer.echo(found.text(), nl=False)
            return
        where = found.where
        rows = [
            f"stack {shown(found.stack)}, made {shown(found.made)}",
            f"storage {where.endpoint}, bucket {where.bucket}, prefix {where.prefix or 'none'}",
            f"storage key: {'in the kit' if found.storage_key else shown(found.how_to_get_identities)}",
            *(f"relay {shown(found.relay.address)} {found.relay.host_key}" for _ in [0] if found.relay),
            *(
                f"source {room.name}: generation {room.generation}, repository {room.repository_id or 'not recorded'}, "
                f"key {room.key_id or 'not recorded'}, password in the kit"
                for room in found.sources
            ),
            *(f"{shown(name)} {shown(version)}" for name, version in sorted(found.tools.items())),
        ]
        for row in rows:
            console.print(row, markup=False, soft_wrap=True)
