"""Write or read the recovery kit: what a person needs if stack, state, relay and sources are gone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ops.command_line.options import (
    IdentityOption,
    PassphraseOption,
    StackOptions,
    takes_options,
)
from ops.command_line.output import JsonOption, print_json, print_line
from ops.errors import LastcopyError, escape_text
from ops.kit.kit import Kit, make_kit
from ops.kit.page import render_page
from ops.kit.sealed import check_readers, read_passphrase, seal, unseal, write_new
from ops.storage.access import read_storage_key
from toolchain.pins import load

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.command()
@takes_options
def write(
    options: StackOptions,
    out: Annotated[Path, typer.Option("--out", help="The encrypted file; it must not exist yet.")],
    recipient: Annotated[
        list[str] | None,
        typer.Option("--recipient", help="Who may open it: age1… or a GPG fingerprint; may be repeated."),
    ] = None,
    passphrase_file: PassphraseOption = None,
    storage_key: Annotated[
        str | None,
        typer.Option(
            "--storage-key",
            help="File with the break-glass storage key to include; without it the kit says how to get one.",
        ),
    ] = None,
    identities: Annotated[
        str, typer.Option("--identities", help="How to get a storage key in an emergency, in your own words.")
    ] = "",
    page_file: Annotated[
        Path | None,
        typer.Option("--page", help="The page to print. Default: the encrypted file's name with .html."),
    ] = None,
    page_with_secrets: Annotated[
        bool, typer.Option("--page-with-secrets", help="Include the passwords in the page.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the encrypted kit and a page to print.

    Repeat this after every change of sources, passwords or storage.
    """
    # 1. Everything that can be refused without the stack: existing files, wrong recipients, an unreadable key.
    paper = page_file or out.with_name(f"{out.name}.html")
    for path in (out, paper):
        if path.exists():
            raise LastcopyError(f"{path} exists already", where="--out, --page", fix="choose another name")
    phrase = read_passphrase(passphrase_file) if passphrase_file else None
    key = read_storage_key(storage_key) if storage_key else None
    check_readers(recipients=recipient or (), passphrase=phrase)
    # 2. The stack, with its secrets.
    of = options.open()
    outputs = of.outputs(secrets=True)
    # 3. The kit and its page.
    pins = load().tools
    versions = {name: pins[name].version for name in ("restic", "rclone")}
    kit = make_kit(of.name, outputs, versions, datetime.now(UTC), key=key, identities=identities)
    write_new(out, seal(kit.text(), recipients=recipient or (), passphrase=phrase))
    write_new(paper, render_page(kit, out.name, secrets=page_with_secrets).encode())
    print_line(f"kit with {len(kit.sources)} sources: {out}; page: {paper}")
    print_line("keep both outside the backups' storage; try the kit now: lastcopy recover look --kit …")
    if as_json:
        print_json({"kit": str(out), "page": str(paper), "sources": [one.name for one in kit.sources]})


@app.command()
@takes_options
def show(
    kit: Annotated[Path, typer.Option("--kit", help="The encrypted file.")],
    passphrase_file: PassphraseOption = None,
    identity: IdentityOption = None,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Print everything as JSON, including the passwords.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Open a kit and show its content; secrets only if requested."""
    phrase = read_passphrase(passphrase_file) if passphrase_file else None
    found = unseal(kit, passphrase=phrase, identity_file=identity)
    if secrets:
        typer.echo(found.text(), nl=False)
    elif as_json:
        print_json(without_secrets(found))
    else:
        for row in describe(found):
            print_line(row)


def without_secrets(kit: Kit) -> dict[str, Any]:
    """The kit's JSON document without the passwords and the secret half of the storage key."""
    return kit.model_dump(
        mode="json",
        by_alias=True,
        exclude_none=True,
        exclude={"sources": {"__all__": {"password"}}, "storage_key": {"secret_access_key"}},
    )


def describe(kit: Kit) -> list[str]:
    """The content of a kit, one line per item, without secrets."""
    where = kit.where
    return [
        f"stack {escape_text(kit.stack)}, made {escape_text(kit.made)}",
        f"storage {where.endpoint}, bucket {where.bucket}, prefix {where.prefix or 'none'}",
        f"storage key: {'in the kit' if kit.storage_key else escape_text(kit.how_to_get_identities)}",
        *(f"relay {escape_text(kit.relay.address)} {kit.relay.host_key}" for _ in [0] if kit.relay),
        *(
            f"source {record.name}: generation {record.generation}, repository {record.repository_id or 'not recorded'}, "
            f"key {record.key_id or 'not recorded'}, password in the kit"
            for record in kit.sources
        ),
        *(f"{escape_text(name)} {escape_text(version)}" for name, version in sorted(kit.tools.items())),
    ]
