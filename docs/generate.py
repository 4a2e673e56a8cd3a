"""`python -m docs.generate`: rewrites the parts of the docs that are made from code; a test refuses them when they are old."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from pydantic_core import PydanticUndefined

from components.settings.model import Model, OneOf, find_union, list_fields
from components.settings.reference import Key, find_child, list_keys
from components.settings.schema import build_stack_file_schema
from components.settings.stack import Settings
from components.vault.identities.ceph_policy import ceph_bucket_policy
from components.vault.identities.identity_policy import identity_policy
from components.vault.policy_documents import Document
from docs import commands_page, picture, storage_table, threat_table
from toolchain.checkout import ROOT


@dataclass(frozen=True, kw_only=True)
class Row:
    """One key as a stack file writes it below ``lastcopy:``."""

    key: str
    default: str
    meaning: str

    def __str__(self) -> str:
        return f"| `{self.key}` | {_cell(self.default)} | {_cell(self.meaning)} |"


def _cell(text: str) -> str:
    """GitHub would make links of bare addresses."""
    return re.sub(r"(?<!`)https://[\w:]+", r"`\g<0>`", text.replace("|", "\\|"))


def _default(value: object, *, required: bool, group: bool) -> str:
    if required:
        return "required"
    if value is PydanticUndefined or (group and value is not None):
        return ""
    if value is None or value == () or value == "":
        return "none"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    return f"`{value}`"


def rows(model: type[Model] = Settings, before: str = "") -> Iterator[Row]:
    """Every key of a model with those below it, in the models' order. Below a choice, `required` means: where it is chosen."""
    known = list_keys(model)
    for alias, field in list_fields(model).items():
        union = find_union(field)
        if union is not None and union.inline:
            yield from _choice(union, before, known)
            continue
        name = f"{before}{alias}"
        below = union is not None or bool(known[alias].children)
        yield Row(
            key=name,
            default=_default(field.get_default(), required=field.is_required(), group=below),
            meaning=known[alias].description,
        )
        if union is not None:
            yield from _choice(union, f"{name}.", known[alias].children)
        elif (child := find_child(field)) is not None:
            many = str(field.annotation).startswith("tuple")
            yield from rows(child, f"{name}[]." if many else f"{name}.")


def _choice(union: OneOf, before: str, known: Mapping[str, Key]) -> Iterator[Row]:
    for name, member in union.members.items():
        yield Row(key=f"{before}{name}", default="one of these", meaning=known[name].description)
        if name not in list_fields(member):
            yield from rows(member, f"{before}{name}.")


def table(which: list[Row]) -> str:
    return "\n".join(
        ["| key, below `lastcopy:` | default | meaning |", "| --- | --- | --- |", *map(str, which)]
    )


def all_options() -> str:
    """Every key, one table per top-level key that has others below it."""
    every, parts = list(rows()), []
    alone = [row for row in every if not _has_below(row, every) and "." not in row.key]
    parts.append(f"## The stack\n\n{table(alone)}")
    for top in [row for row in every if "." not in row.key and _has_below(row, every)]:
        inside = [row for row in every if re.split(r"[.\[]", row.key)[0] == top.key]
        parts.append(f"## `{top.key}`\n\n{table(inside)}")
    return "\n\n".join(parts)


def _has_below(row: Row, every: list[Row]) -> bool:
    return any(other.key.startswith((f"{row.key}.", f"{row.key}[].")) for other in every)


def _policy(document: Document) -> str:
    """Made of valid names, shown with the words that a reader replaces."""
    policy = json.dumps(document, indent=2)
    policy = policy.replace("a-bucket", "BUCKET").replace("a-source", "SOURCE")
    # Short lists on one line, so that a reader sees the whole policy at once.
    policy = re.sub(r"\[\s+((?:\"[^\"]*\",?\s*)+)\]", lambda m: f"[{' '.join(m[1].split())}]", policy)
    return f"```json\n{policy}\n```"


def identity_document() -> str:
    return _policy(identity_policy("a-bucket", "a-source/"))


def kms_statement() -> str:
    """What the identity's policy has more where a KMS key encrypts the objects."""
    key = "arn:aws:kms:us-east-1:123456789012:key/the-key"
    statement = identity_policy("a-bucket", "a-source/", kms_key=key)["Statement"][-1]
    return _policy(statement).replace(key, "KEY-ARN").replace("us-east-1", "REGION")


def ceph_policy() -> str:
    user = "arn:aws:iam:::user/"
    return _policy(ceph_bucket_policy("a-bucket", {"a-source": f"{user}USER"}, f"{user}OWNER"))


def decisions() -> str:
    """The index of all decisions by their titles."""
    lines = ["| number | decision |", "| --- | --- |"]
    for file in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")):
        number, title = file.read_text().splitlines()[0].removeprefix("# ").split(" ", 1)
        lines.append(f"| [{number}]({file.name}) | {title} |")
    return "\n".join(lines)


PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "docs/decisions/README.md": {"index": decisions},
    "docs/configuration.md": {
        "options": all_options,
        "identity": identity_document,
        "kms": kms_statement,
        "ceph": ceph_policy,
    },
    "docs/threat-model.md": {
        **{boundary: partial(threat_table.rows, boundary) for boundary in "SRA"},
        "proofs": threat_table.proofs,
    },
    "docs/storage-services.md": {
        "services": storage_table.services,
        "sources": storage_table.sources,
        "gates": storage_table.gates,
    },
    "docs/commands.md": {"commands": commands_page.commands},
    "README.md": {"state": threat_table.state},
}


def rewritten(file: str, text: str) -> str:
    """The text with every generated part as the code has it now."""
    for name, make in PARTS[file].items():
        begin, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"{file} does not hold {begin} and {end} exactly once")
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{make()}\n{end}{rest.split(end)[1]}"
    return text


def schema() -> str:
    """The JSON Schema that stack files name in their first line."""
    return json.dumps(build_stack_file_schema("lastcopy"), indent=1, ensure_ascii=False) + "\n"


def whole_files() -> dict[str, str]:
    """Files that are generated as a whole, by their names."""
    return {"stacks/schema.json": schema(), **pictures()}


def pictures() -> dict[str, str]:
    """The pictures, by their names."""
    return {name: picture.picture(theme) for name, theme in picture.FILES.items()}


def main() -> None:
    for name, text in whole_files().items():
        (ROOT / name).write_text(text)
    for file in PARTS:
        path = ROOT / file
        text = path.read_text()
        new = rewritten(file, text)
        if new != text:
            path.write_text(new)
        print(f"{file}: {'rewritten' if new != text else 'up to date'}")


if __name__ == "__main__":
    main()
