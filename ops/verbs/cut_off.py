"""`lastcopy cut-off` and `let-in`: cut one source off, or let it in again, without contacting its host (S10, S11)."""

from __future__ import annotations

import time

from ops.command_line.options import SourceOption, StackOptions, takes_options
from ops.command_line.output import JsonOption, print_json, print_line
from ops.cut_off import set_cut_off
from ops.errors import LastcopyError


@takes_options
def cut_off(source: SourceOption, options: StackOptions, as_json: JsonOption = False) -> None:
    """Cut a source off: its key no longer opens anything, and its sessions end.

    Other sources and its own host are not changed; its backups are kept.
    """
    _change(source, options, cut=True, as_json=as_json)


@takes_options
def let_in(source: SourceOption, options: StackOptions, as_json: JsonOption = False) -> None:
    """Undo a cut-off: the source's key works again as before, from the same addresses."""
    _change(source, options, cut=False, as_json=as_json)


def _change(source: str, options: StackOptions, *, cut: bool, as_json: bool) -> None:
    began = time.monotonic()
    stack = options.open()
    try:
        set_cut_off(source, stack, cut=cut)
    except LastcopyError as error:
        raise error.or_else("then run it again: it continues") from None
    seconds = time.monotonic() - began
    undo = f"lastcopy {'let-in' if cut else 'cut-off'} --source {source} {options.words(stack)}"
    said = (
        "is cut off: its key no longer opens anything, and its sessions have ended"
        if cut
        else "is let in again"
    )
    print_line(f"{source} {said} ({seconds:.0f} s); to undo: {undo}")
    if as_json:
        print_json({"source": source, "cutOff": cut, "seconds": round(seconds, 1), "undo": undo})
