"""The tables of docs/storage-services.md: what each service holds (components/storage/services.py), and what its gate is like (tests/gates)."""

from __future__ import annotations

import inspect

from components.storage.service_facts import Checksum, Fact, StorageService, Tried, rows_lost
from components.storage.services import SERVICES

COLUMNS = {
    "object_lock": "Object Lock",
    "versions_listed": "versions listed",
    "conditional_write": "conditional write",
    "checksum": "checksum",
    "identity_per_source": "identity per source",
    "missing_key_is_404": "missing name told",
    "retention_is_a_right": "own retention refused",
}
MARKS = {Tried.REAL: "**", Tried.GATE: "", Tried.READ: ""}
WAYS = {Checksum.TRAILER: "CRC32 after the body", Checksum.MD5: "Content-MD5 on parts"}


def _word(fact: Fact[Checksum] | Fact[bool]) -> str:
    """In bold where a real server was asked."""
    if fact.value is None:
        return "?"
    word = WAYS[fact.value] if isinstance(fact.value, Checksum) else "yes" if fact.value else "no"
    mark = MARKS[fact.tried]
    return f"{mark}{word}{mark}"


def _verdict(service: StorageService) -> str:
    if service.cannot_work:
        return "refused"
    return ", ".join(sorted(set(rows_lost(service)))) or "none known"


def services() -> str:
    """One line for each service."""
    names = " | ".join(COLUMNS.values())
    lines = [f"| `storage.s3.provider` | service | {names} | rows weakened |"]
    lines.append("| --- " * (len(COLUMNS) + 3) + "|")
    for service in SERVICES.values():
        facts = service.facts()
        words = " | ".join(_word(facts[name]) for name in COLUMNS)
        lines.append(f"| `{service.name}` | {service.title} | {words} | {_verdict(service)} |")
    return "\n".join(lines)


def sources() -> str:
    """Each fact that somebody told or tried, with the place and the day."""
    lines = []
    for service in SERVICES.values():
        known = {name: fact for name, fact in service.facts().items() if fact.source}
        if service.cannot_work:
            lines.append(f"\n**{service.title}** is refused in the preview: {service.cannot_work}.\n")
        elif known:
            lines.append(f"\n**{service.title}**\n")
        for name, fact in known.items():
            note = f" ({fact.note})" if fact.note else ""
            place = f"<{fact.source}>" if fact.source.startswith("https://") else fact.source
            lines.append(
                f"- {COLUMNS.get(name, name.replace('_', ' '))}: {_word(fact)}{note}; {place}, {fact.date}; {fact.tried}"
            )
    return "\n".join(lines).strip()


def gates() -> str:
    """Each rule of a gate: what it does, which services have it, who says so."""
    from tests.gates.rules import all_rules
    from tests.gates.services import GATES

    used = {name: {type(rule) for rule in make()} for name, make in GATES.items()}
    lines = ["| rule | gates | what it does | source, date |", "| --- | --- | --- | --- |"]
    for rule in all_rules():
        of = ", ".join(name for name, rules in used.items() if rule in rules) or "tests of its own"
        what = " ".join((inspect.getdoc(rule) or "").split())
        lines.append(f"| `{rule.__name__}` | {of} | {what} | {rule.source}, {rule.date} |")
    return "\n".join(lines)
