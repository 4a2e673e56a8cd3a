"""The tables of docs/threat-model.md: each row of attack_drill/threats.py with its state, the tests that prove it and their sabotage.

If you rename or merge a test, rename it in docs/threat_proofs; `python -m docs.generate` then writes the tables.
tests/unit/test_docs.py checks that every test exists.
"""

from __future__ import annotations

from attack_drill.threats import THREATS
from docs.threat_proofs import PROOFS
from docs.threat_proofs.proof import PROVEN


def _cell(text: str) -> str:
    """As the row says it, with nothing that Markdown would take for its own."""
    return text.replace("|", "\\|").replace("*", "\\*")


def rows(boundary: str) -> str:
    """One line for each row of a boundary: S, R or A."""
    lines = ["| row | the attacker tries | must happen | state |", "| --- | --- | --- | --- |"]
    if boundary == "A":
        lines[0] = "| row | case | must happen | state |"
    lines += [
        f"| {threat.id} | {_cell(threat.tries)} | {_cell(threat.must)} | {PROOFS[threat.id].state} |"
        for threat in THREATS
        if threat.id[0] == boundary
    ]
    return "\n".join(lines)


def proofs() -> str:
    lines = ["| row | tried by | sabotage |", "| --- | --- | --- |"]
    for threat in THREATS:
        proof = PROOFS[threat.id]
        tests, sabotage = (", ".join(f"`{test}`" for test in some) for some in (proof.tests, proof.sabotage))
        lines.append(f"| {threat.id} | {tests} | {sabotage} |")
    return "\n".join(lines)


def state() -> str:
    """The project's state in one line. Every row that is not proven lacks AWS: tests/unit/test_docs.py holds that to be so."""
    proven = [row for row, proof in PROOFS.items() if proof.state == PROVEN]
    open_ = [row for row in PROOFS if row not in proven]
    return (
        f"**{len(proven)} of {len(PROOFS)} attacks are tried against real servers**, each with a sabotage that makes its test fail; "
        f"the other {len(open_)} ({', '.join(open_)}) hold on local servers and need a trial on AWS: [threat model](docs/threat-model.md)."
    )
