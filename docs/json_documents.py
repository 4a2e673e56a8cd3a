"""What each verb prints with ``--json``: the keys of its document, for docs/commands.md. A test compares them with what verbs print."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class JsonDocument:
    """One verb's document. ``what``: its shape in words, where that is not one object; ``keys``: those of the object, or of each in a list."""

    what: str = "an object"
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        listed = ", ".join(f"`{key}`" for key in self.keys)
        return f"With `--json`: {self.what}{f' with {listed}' if listed else ''}."


def _document(keys: str, what: str = "an object") -> JsonDocument:
    return JsonDocument(what=what, keys=tuple(keys.split()))


_SWITCHED = _document("source cutOff seconds undo")
_MACHINE = "name address port private_address user host_key"
_TOOL = "name version origin path"
_OF_COMMAND = JsonDocument(
    what="standard output is the command's own; an error before the command runs is a JSON object"
)

DOCUMENTS: dict[str, JsonDocument] = {
    "status": _document(
        "source now newest silentHours addedBytes hidden overwritten signs locks noted lastRun problems",
        "a list, for each source an object",
    ),
    "recover look": _document("source repository knownGood events lastGood why objects locks"),
    "recover restore": _document(
        "source moment checkPassed snapshot target files bytes seconds restoreSeconds"
    ),
    "recover rebuild": _document("source moment steps kept copiedBytes locks rebuilt"),
    "kit write": _document("kit page sources"),
    "kit show": JsonDocument(
        what="the kit's own document without its secrets; with `--secrets` the whole of it"
    ),
    "restore-test run": _document(
        "format at source result problems notices repository snapshot stored canaryFiles extent seed sampleMiB readDataSubset files bytes seconds",
        "a list, for each source the line that is recorded: an object",
    ),
    "restore-test units": _document("units written"),
    "prune": _document("source now snapshots refused unfinished pruned"),
    "cut-off": _SWITCHED,
    "let-in": _SWITCHED,
    "attack-drill": _document("format stack source level started ended whole failed proven rows"),
    "agent": _OF_COMMAND,
    "cost": _document("stack region pricesRead month lines usd"),
    "aws-state": _document("made backendUrl secretsProvider"),
    "local up": _document("stack seconds steps"),
    "local down": _document("stack kept"),
    "sandbox network-up": _document("driver admin_key_path network host_address"),
    "sandbox network-down": _document("removed"),
    "sandbox machine-up": _document(_MACHINE),
    "sandbox machine-restart": _document(_MACHINE),
    "sandbox machine-down": _document("name removed"),
    "sandbox storage-up": _document("endpoint bucket region ca_certificate lock_mode lock_days"),
    "sandbox storage-down": _document("removed"),
    "sandbox identity-up": _document("access_key prefix"),
    "sandbox identity-down": _document("source removed"),
    "sandbox resume": _document("driver network admin_key_path machines storage"),
    "sandbox destroy": _document("removed"),
    "sandbox status": _document("driver network admin_key_path machines storage"),
    "sandbox exec": _OF_COMMAND,
    "sandbox prepare": _document("installed"),
    "tools ensure": _document(_TOOL, "a list, for each tool an object"),
    "tools list": _document(_TOOL, "a list, for each tool an object"),
    "tools path": _document(_TOOL),
    "tools host": _document("path sha256"),
    "tools env": _document("unset export"),
    "check": JsonDocument(what="an object, for each check whether it passed"),
    "test-packages": _document("installed"),
}
