"""What the docs name exists: files, headings, tests, make targets, options, config keys, outputs, files on hosts, error texts. Generated tables
are up to date. A planted mistake shows that each check works."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from components.settings.explain import KEYS, find_key
from components.settings.reference import Key
from docs import generate
from docs.threat_proofs import PROOFS
from docs.threat_proofs.proof import PROVEN
from tests.unit.commands_in_text import mistakes_in_markdown
from toolchain.checkout import ROOT

DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.md"), *(ROOT / "docs").rglob("*.md")])
TOP = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
Look = Callable[[str, Path], Iterator[str]]


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def code(text: str) -> list[str]:
    """The lines of code blocks, and the text between backticks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    joined = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return joined + [span.replace("\\|", "|") for span in re.findall(r"`([^`\n]+)`", without_blocks(text))]


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(text: str) -> set[str]:
    return {slug(found) for found in re.findall(r"^#+ (.+)$", without_blocks(text), flags=re.MULTILINE)}


def dead_links(text: str, file: Path) -> Iterator[str]:
    plain = without_blocks(text)
    for target in re.findall(r"\]\(([^)\s]+)\)", plain) + re.findall(r'\b(?:src|srcset)="([^"]+)"', plain):
        if re.match(r"https?://", target):
            continue
        place, _, anchor = target.partition("#")
        there = (file.parent / place).resolve() if place else file
        if not there.exists():
            yield f"link to {target}: no such file"
        elif anchor and anchor not in anchors(text if there == file else there.read_text()):
            yield f"link to {target}: no such heading"


def missing_files(text: str, _: Path) -> Iterator[str]:
    """Words that look like a path inside this repository."""
    for span in code(text):
        for word in re.findall(r"(?<![\w/.$~{-])(?:\.?[\w.-]+/)+[\w.*<>-]*", span):
            name = word.split("::")[0].rstrip(".")
            if name.split("/")[0] not in TOP or "stacks/Pulumi." in name:
                continue
            if not any(ROOT.glob(name.rstrip("/"))):
                yield f"`{name}`: no such file"


@cache
def functions_of(name: str) -> frozenset[str]:
    tree = ast.parse((ROOT / name).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def missing_tests(text: str, _: Path) -> Iterator[str]:
    for name, test in re.findall(r"(tests/[\w/]+\.py)::(\w+)", text):
        if not (ROOT / name).is_file() or test not in functions_of(name):
            yield f"{name}::{test}: no such test"


def unknown_targets(text: str, _: Path) -> Iterator[str]:
    known = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for span in code(text):
        for target in re.findall(r"(?:^|[;&|] *)make ([a-z][\w-]*)", span):
            if target not in known:
                yield f"make {target}: no such target"


def unknown_options(text: str, _: Path) -> Iterator[str]:
    """`python -m PACKAGE VERB --option`: each word must stand in the package, quoted or as the name of what is called or taken."""
    for span in code(text):
        for package, rest in re.findall(r"python3? -m (bench|docs)\b([^#|;&)]*)", span):
            known = sources(package)
            words = rest.split(" -- ")[0].split()
            verbs = [word for word in words[:1] if re.fullmatch(r"[a-z][a-z-]*", word)]
            for word in verbs + [word for word in words if word.startswith("--")]:
                name = word.removeprefix("--").replace("-", "_")
                if f'"{word}"' not in known and not re.search(rf"def {name}\(|\b{name}: ", known):
                    yield f"python -m {package}: {word} is unknown"
            for program in re.findall(r"^\.(\w+)", rest):
                places = (f"{program}.py", f"{program}/__main__.py")
                if not any((ROOT / package / place).is_file() for place in places):
                    yield f"python -m {package}.{program}: no such program"


def wrong_commands(text: str, _: Path) -> Iterator[str]:
    """`lastcopy VERB …`, as the command line itself takes it. An earlier name that still works is refused, too."""
    yield from mistakes_in_markdown(text)


def unknown_keys(text: str, _: Path) -> Iterator[str]:
    """`lastcopy:a.b[0].c` anywhere, and names of known groups such as `sources[].paths` between backticks."""
    named = re.findall(r"lastcopy:([A-Za-z][\w.\[\]…]*)(?![\w:])", text)
    groups = "|".join(KEYS)
    named += [
        span for span in code(text) if re.fullmatch(rf"(?:{groups})(?:\[[0-9…]*\])?(?:\.[\w\[\]]+)+", span)
    ]
    for name in named:
        parts = [part for part in re.split(r"\.|\[[0-9…]*\]\.?", name.rstrip(".")) if part]
        if parts[-1] in ("py", "yaml", "sh", "md"):
            continue
        if find_key(tuple(parts)) is None:
            yield f"lastcopy:{name}: no such key"


def unknown_types(text: str, _: Path) -> Iterator[str]:
    for name in re.findall(r"lastcopy:\w+:\w+", text):
        if f'"{name}"' not in sources("components"):
            yield f"{name}: no such Pulumi type"


def unknown_outputs(text: str, _: Path) -> Iterator[str]:
    exported = set(re.findall(r'pulumi\.export\(\s*"(\w+)"', (ROOT / "__main__.py").read_text()))
    for name in re.findall(r"pulumi stack output (\w+)", text):
        if name not in exported:
            yield f"pulumi stack output {name}: not exported"


@cache
def sources(*folders: str) -> str:
    """The text of our programs; continued and adjoining strings joined."""
    files = [
        path for folder in folders for path in sorted((ROOT / folder).rglob("*")) if path.suffix != ".pyc"
    ]
    text = "\n".join(path.read_text() for path in files if path.is_file())
    return re.sub(r'"\s*\n\s*f?"', "", text)


def unknown_on_hosts(text: str, _: Path) -> Iterator[str]:
    """Files and units that we put on hosts: the last word of each must stand in the components."""
    program = sources("components")
    for span in code(text):
        for path in re.findall(
            r"/(?:etc|usr/local|var/lib)/(?:lib/|bin/)?(?:lastcopy|ssh/lastcopy|restic-backup)[\w./-]*", span
        ):
            last = re.sub(r"^(?:bk-)?web1$", "bk-", path.rstrip("/.").rsplit("/", 1)[1]).removesuffix(".pub")
            if last not in program:
                yield f"{path}: not of ours"
        for unit in re.findall(r"lastcopy-[\w-]+\.(?:service|timer)", span):
            if unit not in program and f'"{unit.rpartition(".")[0]}"' not in sources("ops"):
                yield f"{unit}: not of ours"
        for step in re.findall(r"\burn web1-([\w-]+)", span):
            roles = [
                f'-{role}"'
                for role in re.split(r"(?<=enrolment|epository)-|(?<=restic)-|-(?=command$)", step)
            ]
            if not all(role in program for role in roles):
                yield f"resource web1-{step}: no such child"


def unknown_errors(text: str, _: Path) -> Iterator[str]:
    """First cells of the tables under "text | means": each must be said by our programs, unless it is marked as Pulumi's."""
    program = sources("components", "sandbox", "toolchain", "ops", "attack_drill")
    for block in re.findall(r"^\| text \| means .*?(?=\n\n)", text, flags=re.DOTALL | re.MULTILINE):
        for cell in re.findall(r"^\| `([^`]+)` \|", block, flags=re.MULTILINE):
            # "…" stands for what differs; short words between two of them prove nothing either way.
            said = [part.strip() for part in cell.split("…") if len(part.strip()) >= 12]
            if not said or any(part not in program for part in said):
                yield f"error text {cell!r}: nobody says it"


def old_tables(text: str, file: Path) -> Iterator[str]:
    name = ids(file)
    parts = generate.PARTS.get(name, {})
    for part in re.findall(r"<!-- generated: (.+?) -->", text):
        if part not in parts:
            yield f"part {part} is said to be generated, and docs/generate.py does not make it"
            return
    if parts and generate.rewritten(name, text) != text:
        yield "a generated part is old; run: .venv/bin/python -m docs.generate"


def machine_paths(text: str, _: Path) -> Iterator[str]:
    yield from (
        f"{word}: a path of one machine" for word in re.findall(r"(?<![\w.])/(?:root|work)/[\w/.-]*", text)
    )


# Each look with a text in which it must find a mistake.
LOOKS: dict[str, tuple[Look, str]] = {
    "links": (dead_links, "see [x](nowhere.md)"),
    "pictures": (dead_links, '<img src="docs/no-such.svg" alt="x">'),
    "headings": (dead_links, "# Here\n\nsee [x](#there)"),
    "files": (missing_files, "look at `components/no_such.py`"),
    "tests": (missing_tests, "`tests/unit/test_docs.py::test_no_such`"),
    "make": (unknown_targets, "```sh\nmake cofee\n```"),
    "programs": (unknown_options, "`.venv/bin/python -m docs.no_such`"),
    "options": (unknown_options, "`.venv/bin/python -m bench --no-such`"),
    "earlier verbs": (wrong_commands, "`lastcopy restore-drill run`"),
    "verbs": (wrong_commands, "```sh\nlastcopy recover lok --source web1\n```"),
    "verbs by another name": (wrong_commands, "`.venv/bin/python -m sandbox explode --dir x`"),
    "options of verbs": (wrong_commands, "```sh\nlastcopy recover look --source web1 --sauce\n```"),
    "what must be there": (wrong_commands, "```sh\nlastcopy recover look --stack prod\n```"),
    "what may not": (wrong_commands, "`lastcopy cut-off web1`"),
    "choices": (wrong_commands, "`lastcopy prune explode --source web1`"),
    "in a substitution": (wrong_commands, '```sh\neval "$(lastcopy tools environment)"\n```'),
    "behind another": (wrong_commands, "```sh\ncd x && .venv/bin/lastcopy stats\n```"),
    "keys": (unknown_keys, "set `lastcopy:sources[0].pathes`"),
    "groups": (unknown_keys, "set `sources[].host.adress`"),
    "types": (unknown_types, "`lastcopy:relay:HardendSshd`"),
    "outputs": (unknown_outputs, "`pulumi stack output password --show-secrets`"),
    "host files": (unknown_on_hosts, "`/etc/lastcopy/pasword`"),
    "units": (unknown_on_hosts, "`lastcopy-backups.timer`"),
    "resources": (unknown_on_hosts, '`"$(urn web1-enrolment-keys-command)"`'),
    "errors": (
        unknown_errors,
        "| text | means | do |\n| --- | --- | --- |\n| `all is lost for ever` | x | y |\n\n",
    ),
    "tables": (old_tables, ""),
    "parts": (old_tables, "<!-- generated: nobody's -->\n<!-- end: nobody's -->\n"),
    "machine": (machine_paths, "`/root/.cache`"),
}


@pytest.mark.parametrize("file", DOCS, ids=ids)
def test_what_the_docs_name_exists(file: Path) -> None:
    text = file.read_text()
    checks = dict.fromkeys(check for check, _ in LOOKS.values())
    assert [mistake for check in checks for mistake in check(text, file)] == []


@pytest.mark.parametrize("look", LOOKS)
def test_a_planted_mistake_is_noticed(look: str) -> None:
    check, planted = LOOKS[look]
    file = ROOT / "README.md"
    if look == "tables":
        planted = file.read_text().replace("attacks are tried", "attacks were tried")
    assert list(check(planted, file))


def test_every_decision_is_in_the_index_under_its_title() -> None:
    index = (ROOT / "docs/decisions/README.md").read_text()
    rows = dict(re.findall(r"^\| \[(\d{4})\]\(\1-[\w-]+\.md\) \| (.+) \|$", index, flags=re.MULTILINE))
    titles = {}
    for file in sorted((ROOT / "docs/decisions").glob("[0-9]*.md")):
        number, title = re.match(r"# (\d{4}) (.+)", file.read_text()).groups()  # type: ignore[union-attr]
        assert file.name.startswith(f"{number}-")
        titles[number] = title
    assert rows == titles, "run: .venv/bin/python -m docs.generate"
    assert all(title for title in titles.values())


def _readme() -> str:
    return (ROOT / "README.md").read_text()


def _block(heading: str, language: str) -> str:
    """The first block of that language in README's chapter."""
    chapter = re.split(r"^## ", _readme().split(f"\n## {heading}", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", chapter, re.DOTALL | re.MULTILINE)
    return next(text for name, text in blocks if name == language)


def test_the_readme_is_short() -> None:
    assert 8_000 <= len(_readme().encode()) <= 10_000


def test_the_readme_begins_with_exactly_two_commands() -> None:
    lines = _block("Try it", "sh").splitlines()
    assert [line.split("#")[0].strip() for line in lines] == ["make local", "make test"]


def test_the_readme_shows_what_make_local_says() -> None:
    """Headings and verdicts of the shown run are sentences of the program; values that depend on the run (ids, sizes, times) are not compared."""
    program = sources("ops", "sandbox")
    for line in _block("Try it", "").splitlines():
        said = re.sub(r"^(?:==> | {4})| \(.*|\d+ s after", "", line)
        if line.startswith(("==> ", "Everything")) or ": refused" in line or "restored copy" in line:
            parts = [
                part for part in re.split(r": refused$|\bweb1\b|/srv/data|, ", said) if len(part.strip()) > 8
            ]
            assert parts, line
            assert [part for part in parts if part.strip() not in program] == [], line


def test_the_readme_counts_the_resources_of_the_local_stack() -> None:
    """Those of the recorded graph, and the stack itself."""
    recorded = (ROOT / "tests/unit/program/golden/local.txt").read_text().splitlines()
    assert f"    + {len(recorded) + 1} created" in _block("Try it", "").splitlines()


def test_the_readmes_stack_file_is_the_templates() -> None:
    template = (ROOT / "stacks/templates/prod.yaml").read_text()
    assert yaml.safe_load(_block("Your own hosts", "yaml")) == yaml.safe_load(template)


def test_the_readmes_commands_are_those_of_the_whole_chapter() -> None:
    """In their order; tests/own_hosts runs that chapter."""
    whole = (ROOT / "docs/own-hosts.md").read_text().splitlines()
    for line in _block("Your own hosts", "sh").splitlines():
        assert line in whole, line
        whole = whole[whole.index(line) + 1 :]


@pytest.mark.parametrize("name", generate.pictures())
def test_the_pictures_are_up_to_date(name: str) -> None:
    text = (ROOT / name).read_text()
    assert text == generate.pictures()[name], "run: .venv/bin/python -m docs.generate"
    width = float(ElementTree.fromstring(text).attrib["width"])  # noqa: S314 - our own file
    assert width <= 960
    assert name in _readme()


def test_the_state_of_the_project_is_counted() -> None:
    states = {row: proof.state for row, proof in PROOFS.items()}
    proven = sum(state == PROVEN for state in states.values())
    assert f"**{proven} of {len(states)} attacks are tried" in _readme()
    lacking = [row for row, state in states.items() if state != PROVEN]
    assert all("AWS" in states[row] or "as R1" in states[row] for row in lacking), lacking
    assert "AWS" in states["R1"]


def test_every_threat_row_has_a_state() -> None:
    """The 29 rows, once each; a row that is called proven names its tests."""
    text = (ROOT / "docs/threat-model.md").read_text()
    states = dict(
        re.findall(r"^\| ([SRA]\d+) \|.*\| ([^|]+) \|$", text.split("## The proofs")[0], re.MULTILINE)
    )
    assert sorted(states) == sorted(
        [
            *(f"S{n}" for n in range(1, 12)),
            *(f"R{n}" for n in range(1, 9)),
            *(f"A{n}" for n in range(1, 11)),
        ]
    )
    assert all(re.match(r"proven$|in part: |not yet", state) for state in states.values()), states
    proofs = dict(re.findall(r"^\| ([SRA]\d+) \| (.*)$", text.split("## The proofs")[1], re.MULTILINE))
    assert {row for row, state in states.items() if state == "proven"} <= {
        row for row, cell in proofs.items() if "::test_" in cell
    }


def test_every_key_is_among_the_options() -> None:
    everything = generate.all_options().splitlines()
    keys = {line.split("`")[1].replace("[]", "") for line in everything if line.startswith("| `")}
    assert keys == set(_every_key(KEYS))


def _every_key(known: Mapping[str, Key], before: str = "") -> Iterator[str]:
    for name, key in known.items():
        yield f"{before}{name}"
        yield from _every_key(key.children, f"{before}{name}.")
