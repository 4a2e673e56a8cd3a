"""No module imports from a later layer, and shared helpers exist once."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from toolchain.checkout import ROOT

# Which other packages a package may import. Data flows one way: settings, components, hosts; operations read what these made.
MAY_IMPORT: dict[str, set[str]] = {
    "toolchain": set(),
    "components": {"toolchain"},
    "policy": set(),
    "sandbox": {"toolchain", "components"},
    "ops": {"toolchain", "components", "sandbox"},
    "attack_drill": {"toolchain", "components", "sandbox", "ops"},
}
ABOVE = {"bench", "docs", "tests"}  # may import all others, and none of the others may import these
EVERYTHING = {
    str(file.relative_to(ROOT)): file.read_text()
    for package in (*MAY_IMPORT, *sorted(ABOVE))
    for file in sorted((ROOT / package).rglob("*.py"))
}
SOURCES = {place: text for place, text in EVERYTHING.items() if place.partition("/")[0] in MAY_IMPORT}
# Code that reports errors does not catch other types. The settings' own error is the engine's, which prints it without a traceback; two more are
# caught where they are raised.
ERRORS = {
    "toolchain/errors.py": {"LastcopyError", "Closed"},
    "components/settings/problems.py": {"SettingsError"},
    "attack_drill/http2.py": {"SessionEnded"},
}
# Each of these reads from something that waits by itself, with a limit.
READERS = (
    "sandbox/waiting.py",
    "toolchain/fetch.py",
    "attack_drill/http2.py",
    "attack_drill/rows/s5.py",
    "tests/integration/checkout.py",
    "tests/scripts/relay/test_second_factor.py",
)


def reaches_up(place: str, text: str) -> Iterator[str]:
    """The packages that a source text imports although it must not."""
    own = place.partition("/")[0]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            package = name.partition(".")[0]
            if package in MAY_IMPORT.keys() | ABOVE and package not in MAY_IMPORT[own] | {own}:
                yield f"{place}:{node.lineno} imports {name}"


_ERRORS_OF_PYTHON = re.compile(r"(Exception|RunError|RuntimeError|ValueError|OSError)\b")


def other_errors(place: str, text: str) -> Iterator[str]:
    """Error classes that are not derived from LastcopyError."""
    if "class " not in text or not _ERRORS_OF_PYTHON.search(text):
        return  # parsing it would cost more than all the other checks
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef) and node.name not in ERRORS.get(place, set()):
            bases = {ast.unparse(base) for base in node.bases}
            if any(_ERRORS_OF_PYTHON.search(base) for base in bases):
                yield f"{place}:{node.lineno} {node.name}: derive it from LastcopyError"


def other_roots(place: str, text: str) -> Iterator[str]:
    """Files that find the checkout's folder by counting levels. The policy pack's entry must do so before it can import anything."""
    depth = place.count("/")
    parents = r"\.parent" * (depth + 1)
    climbs = rf"__file__\)(?:\.resolve\(\))?(?:\.parents\[{depth}\]|{parents}\b(?!\.parent))"
    if place not in ("toolchain/checkout.py", "policy/__main__.py") and re.search(climbs, text):
        yield f"{place}: import ROOT from toolchain.checkout"


def other_writers(place: str, text: str) -> Iterator[str]:
    """Files that write a temporary file and move it into place. Programs, links and key pairs are made by other programs, so they do not count."""
    if place in ("toolchain/files.py", "toolchain/engine.py", "sandbox/keys.py"):
        return
    if ".replace(" not in text and ".link(" not in text:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, name = ast.unparse(node.func.value), node.func.attr
            if (name == "replace" and len(node.args) == 1 and not node.keywords) or (owner, name) == (
                "os",
                "link",
            ):
                yield f"{place}:{node.lineno} {owner}.{name}: use toolchain.files"


def other_waits(place: str, text: str) -> Iterator[str]:
    """Loops that wait with their own deadline."""
    if place not in READERS and re.search(r"= (?:.*, )?time\.monotonic\(\) \+", text):
        yield f"{place}: use sandbox.waiting.becomes_true, or tests.waiting.wait_until"


@pytest.mark.parametrize("look", [reaches_up, other_errors, other_writers])
def test_packages_import_only_what_they_may(look: object) -> None:
    assert callable(look)
    assert [found for place, text in SOURCES.items() for found in look(place, text)] == []


@pytest.mark.parametrize("look", [other_roots, other_waits])
def test_the_checkouts_folder_and_the_waiting_are_defined_once(look: object) -> None:
    assert callable(look)
    assert [found for place, text in EVERYTHING.items() for found in look(place, text)] == []


def test_sabotage_forbidden_code_is_seen() -> None:
    assert list(reaches_up("sandbox/x.py", "def f():\n    from ops.errors import shown\n"))
    assert list(reaches_up("toolchain/x.py", "import components.host\n"))
    assert list(other_errors("ops/x.py", "class ThingError(Exception):\n    pass\n"))
    assert list(other_roots("tests/unit/host/x.py", "ROOT = Path(__file__).parents[3]\n"))
    assert list(other_roots("ops/x.py", "ROOT = Path(__file__).resolve().parent.parent\n"))
    assert not list(other_roots("ops/x/y.py", "HERE = Path(__file__).parent.parent\n"))
    assert list(other_writers("ops/x.py", "fresh.replace(path)\n"))
    assert list(other_writers("ops/x.py", "os.link(fresh, path)\n"))
    assert not list(other_writers("ops/x.py", "text.replace('a', 'b')\n"))
    assert list(other_waits("tests/x.py", f"end = {'time'}.monotonic() + 60\n"))
