"""Rules read typed values: no mistake elsewhere silences them, and none repeats what a model defines."""

from __future__ import annotations

import ast
import copy
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from components.settings import contradictions
from components.settings.model import Model, UnknownValue, read_if_known, run_until_unknown
from components.settings.stack import Settings
from tests.unit.settings import bad, bad_aws, bad_sources
from tests.unit.settings.support import refused, stack
from toolchain.checkout import ROOT

CONTRADICTIONS = [
    *bad_sources.TOGETHER,
    *bad_sources.JUMPS,
    *bad.PEOPLE,
    *bad_aws.PURPOSE,
    *bad_aws.MACHINE,
    *bad_aws.IDENTITY,
]
FOLDER = ROOT / "components" / "settings"
MISTAKES: dict[str, dict[str, Any]] = {
    "a refused name": {"environment": "PROD"},
    "an unknown key": {"colour": "red"},
    "a source that is none": {"sources": "web9"},
    "a source without a name": {"sources": {"host": {"address": "a b"}, "paths": 5}},
}


def with_mistake(raw: dict[str, Any], mistake: str) -> dict[str, Any]:
    """The stack with one more mistake; of sources, one more at the end."""
    found = copy.deepcopy(raw)
    for key, value in MISTAKES[mistake].items():
        found[key] = [*found["sources"], value] if key == "sources" else value
    return found


def promise_no_mistake_silences_another(case: bad.Bad, mistake: str) -> None:
    raw = stack(case.yaml, case.base)
    alone = refused(raw).problems[0]
    together = refused(with_mistake(raw, mistake)).problems
    assert alone in together
    assert len(together) > 1


@pytest.mark.parametrize("mistake", MISTAKES)
def test_no_mistake_silences_another(mistake: str) -> None:
    for case in CONTRADICTIONS:
        promise_no_mistake_silences_another(case, mistake)


def test_sabotage_rules_that_end_with_the_first_unknown_value_are_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop_at_all(stack: Settings) -> Iterator[Any]:
        rules = chain.from_iterable(rule(stack) for rule in contradictions.STACK_RULES)
        yield from run_until_unknown(rules)

    monkeypatch.setattr("components.settings.load.find_contradictions", stop_at_all)
    (case,) = (one for one in bad_aws.PURPOSE if "silence is reported" in one.words)
    raw = stack(case.yaml, case.base)
    assert refused(raw).problems
    raw["intermediate"] = 5
    assert not any("silence" in problem.what for problem in refused(raw).problems)


def test_a_refused_value_cannot_be_read() -> None:
    partial = Settings.model_validate(
        {"environment": "PROD", "protect": False}, context="keep partial models"
    )
    assert partial.protect is False
    with pytest.raises(UnknownValue):
        _ = partial.environment
    with pytest.raises(UnknownValue):
        _ = partial.storage
    assert read_if_known(lambda: partial.environment) is None
    with pytest.raises(AttributeError) as caught:
        _ = partial.enviroment  # type: ignore[attr-defined]
    assert not isinstance(caught.value, UnknownValue), "a typing error is no unknown value"


def sources() -> dict[str, ast.Module]:
    return {file.name: ast.parse(file.read_text()) for file in sorted(FOLDER.glob("*.py"))}


def gets_with_default(tree: ast.AST) -> list[int]:
    """Lines with ``x.get(key, default)``, the default a literal."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "get"
        and len(node.args) == 2
        and isinstance(node.args[1], ast.Constant)
    ]


def models(model: type[Model] = Model) -> Iterator[type[Model]]:
    for below in model.__subclasses__():
        yield below
        yield from models(below)


def defaults() -> set[str]:
    """The texts that are defaults; words of a choice, such as "auto", mean other things elsewhere."""
    every = (field.default for model in models() for field in model.model_fields.values())
    return {
        one for one in every if isinstance(one, str) and one is not PydanticUndefined and not one.isalpha()
    } - {""}


def literals(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_rule_has_a_default_of_its_own() -> None:
    assert {name: found for name, tree in sources().items() if (found := gets_with_default(tree))} == {}
    assert gets_with_default(ast.parse('raw.get("port", 22)')) == [1], "the check sees one"


def test_a_default_is_written_in_one_place() -> None:
    where: dict[str, list[str]] = defaultdict(list)
    known = defaults()
    assert {"198.51.100.0/24", "t4g.small", "*-*-* 04:00:00"} <= known
    for name, tree in sources().items():
        for text in literals(tree):
            if text in known:
                where[text].append(name)
    assert {text: files for text, files in where.items() if len(files) != 1} == {}


def numbers_of_models() -> set[int]:
    """Limits and defaults that are numbers; small ones mean other things, too, and so do the hours of a day."""
    fields = [field for model in models() for field in model.model_fields.values()]
    limits = [
        getattr(mark, name, None)
        for field in fields
        for mark in field.metadata
        for name in ("ge", "le", "min_length", "max_length")
    ]
    found = {one for one in [*limits, *(field.default for field in fields)] if type(one) is int}
    return {one for one in found if one >= 20} - {24}


def test_no_rule_across_sections_repeats_a_number_of_a_model() -> None:
    known = numbers_of_models()
    assert {22, 30, 168, 1024, 36500} <= known
    rules = {name: tree for name, tree in sources().items() if name.endswith("_rules.py")}
    assert len(rules) == 5
    found = {
        (name, node.value)
        for name, tree in rules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value in known
    }
    assert found == set()


def patterns(tree: ast.AST) -> Iterator[str]:
    """Regular expressions: what is given to re's functions, and to the types of texts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = ast.unparse(node.func)
            if name.startswith("re.") or name in ("Form", "Looks"):
                yield str(node.args[0].value)


def test_a_pattern_is_written_in_one_file() -> None:
    where: dict[str, set[str]] = defaultdict(set)
    for name, tree in sources().items():
        for pattern in patterns(tree):
            where[pattern].add(name)
    assert len(where) > 30
    assert {pattern: files for pattern, files in where.items() if len(files) > 1} == {}


def test_each_file_has_one_subject() -> None:
    assert [file.name for file in FOLDER.glob("*.py") if len(Path(file).read_text().splitlines()) > 400] == []
