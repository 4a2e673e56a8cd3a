"""The kit as a page to print: one HTML file that loads nothing. It contains secrets only on request. Pure."""

from __future__ import annotations

from html import escape

from ops.kit.kit import Kit

_STYLE = """
body { font: 11pt/1.4 serif; max-width: 48em; margin: 2em auto; color: #000; background: #fff }
h1 { font-size: 16pt } h2 { font-size: 12pt; margin: 1.4em 0 .3em; page-break-after: avoid }
table { border-collapse: collapse; width: 100% } td, th { border: 1px solid #888; padding: .2em .5em; text-align: left; vertical-align: top }
td:last-child, pre, code { font-family: monospace; font-size: 9pt; word-break: break-all; white-space: pre-wrap }
.warn { border: 2px solid #000; padding: .5em 1em }
"""


def render_page(kit: Kit, file_name: str, *, secrets: bool = False) -> str:
    """Render the page. ``file_name``: that of the encrypted kit, so that page and file can be matched."""
    where = kit.where
    place = [
        ("endpoint", where.endpoint),
        ("region", where.region),
        ("bucket", where.bucket),
        ("prefix", where.prefix or "none"),
        ("rclone's provider", where.uploads().rclone),
        ("access", kit.how_to_get_identities),
    ]
    if kit.relay:
        place += [("relay", kit.relay.address), ("relay's host key", kit.relay.host_key)]
    if kit.storage_key and secrets:
        place += [
            ("storage key id", kit.storage_key.access_key_id),
            ("storage key secret", kit.storage_key.secret_access_key.get_secret_value()),
        ]
    parts = [
        f"<h1>Recovery kit of {escape(kit.stack)}</h1>",
        f"<p>Made {escape(kit.made)}; belongs to the encrypted file <code>{escape(file_name)}</code>.</p>",
        f'<p class="warn">{_warning(secrets)}</p>',
        "<h2>Where the backups are</h2>",
        _table(place),
    ]
    for record in kit.sources:
        rows = [
            ("place", f"{where.bucket}/{where.prefix}/{record.name}/g{record.generation}".replace("//", "/")),
            ("repository id", record.repository_id or "not recorded"),
            ("key id", record.key_id or "not recorded"),
            ("host key", record.host_key or "not recorded"),
            ("password", record.password.get_secret_value() if secrets else "in the encrypted file"),
        ]
        parts += [f"<h2>Source {escape(record.name)}</h2>", _table(rows)]
    parts += [
        "<h2>Programs</h2>",
        _table(sorted(kit.tools.items())),
        "<h2>With the project's checkout</h2>",
        f"<pre>{escape(_ours(file_name, kit.sources[0].name))}</pre>",
        "<h2>Without it</h2>",
        f"<pre>{escape(chr(10).join(kit.commands))}</pre>",
    ]
    head = f'<meta charset="utf-8"><title>Recovery kit of {escape(kit.stack)}</title><style>{_STYLE}</style>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _warning(secrets: bool) -> str:
    if secrets:
        return "THIS PAGE CONTAINS PASSWORDS. Print it, lock it away, and delete the file."
    return "This page contains no password. Keep the encrypted file elsewhere, and the key or passphrase that opens it in a third place."


def _table(rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{cells}</table>"


def _ours(file_name: str, source: str) -> str:
    begin = f"--kit {file_name} --passphrase-file FILE --source {source}   # or: --identity FILE"
    return "\n".join(
        [
            "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
            f".venv/bin/lastcopy recover look {begin}",
            f".venv/bin/lastcopy recover restore --target /restore {begin}",
            f".venv/bin/lastcopy recover rebuild {begin}",
        ]
    )
