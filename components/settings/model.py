"""The base of all settings models: frozen, without unknown keys, and reporting all problems instead of the first one.

Every field is validated on its own. A model with invalid fields is *partial*: its valid fields can be read, any other raises
`UnknownValue`. Rules over several values are written for valid values, in plain typed code; if a rule reads an unknown value, it ends, and
the other rules go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, ErrorDetails, InitErrorDetails, core_schema

from components.settings.problems import RULE, UNKNOWN_KEY, Finding, Fix, Loc, to_error

_T = TypeVar("_T")

KEEP_PARTIAL = "keep partial models"
"""The context of a validation that returns partial models with their findings, where it would raise otherwise."""

_WHAT = {
    "string_type": "is not text",
    "int_type": "is not a whole number (quotes make text of it)",
    "bool_type": "is not true or false (quotes make text of it)",
    "tuple_type": "is not a list",
    "too_short": "is empty",
}
_OTHER_FORM = "is not of the allowed form"


class UnknownValue(AttributeError):
    """A value was read that is missing or was refused."""


def run_until_unknown(found: Iterator[_T]) -> Iterator[_T]:
    """The findings of a rule up to the point where it reads a value that is missing or was refused."""
    try:
        yield from found
    except UnknownValue:
        return


def read_if_known(read: Callable[[], _T]) -> _T | None:
    """What ``read`` returns, or None if it reads a value that is missing or was refused."""
    try:
        return read()
    except UnknownValue:
        return None


class Model(BaseModel):
    """A frozen group of settings with camelCase keys as in YAML. Unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, hide_input_in_errors=True
    )

    EXAMPLE: ClassVar[object] = None

    _findings: tuple[Finding, ...] = PrivateAttr(())

    def rules(self) -> Iterator[Iterator[Finding]]:
        """The rules over several of this model's values. A rule ends if it reads an unknown value."""
        yield from ()

    def completed(self) -> Self:
        """The model with defaults that depend on its other values."""
        return self

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was refused in this model and below it. Empty unless the model is partial."""
        return self._findings

    @field_validator("*", mode="wrap")
    @classmethod
    def _validate_field(cls, value: object, handler: ValidatorFunctionWrapHandler) -> object:
        """Keep a refused value from ending the validation of other fields: `_validate_all` removes it again."""
        if value is _MISSING:
            return _Refused((Finding((), "is missing", kind="missing"),))
        try:
            return handler(value)
        except ValidationError as error:
            return _Refused(tuple(map(_finding, error.errors(include_url=False, include_input=False))))

    @model_validator(mode="wrap")
    @classmethod
    def _validate_all(
        cls, raw: object, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        if isinstance(raw, cls):
            return raw
        model, found = cls._read(raw, handler)
        if found and info.context != KEEP_PARTIAL:
            raise ValidationError.from_exception_data(
                cls.__name__, [_line(finding) for finding in found], hide_input=True
            )
        model._findings = tuple(found)
        completed = read_if_known(model.completed)
        return model if completed is None else completed

    @classmethod
    def _read(cls, raw: object, handler: ModelWrapValidatorHandler[Self]) -> tuple[Self, list[Finding]]:
        """The model without the values that were refused, and a finding for everything that is wrong."""
        is_map = isinstance(raw, Mapping)
        left = {str(key): value for key, value in raw.items()} if isinstance(raw, Mapping) else {}
        fields = _fields_of(cls)
        given = {field.alias: field.take(left) for field in fields}
        model = handler({alias: value for alias, value in given.items() if value is not _DEFAULT})
        found = [finding for field in fields for finding in field.take_findings(model)]
        if not is_map:
            for field in fields:
                model.__dict__.pop(field.name, None)
            return model, [Finding((), "is not a map", kind="model_type")]
        found += [Finding((key,), "is not a setting", kind=UNKNOWN_KEY) for key in left]
        for rule in run_until_unknown(model.rules()):
            found += run_until_unknown(rule)
        return model, found

    if not TYPE_CHECKING:  # otherwise mypy would accept any attribute name

        def __getattr__(self, name: str) -> Any:
            if name in type(self).model_fields:
                raise UnknownValue(f"{type(self).__name__}.{name} is missing or was refused")
            return super().__getattr__(name)


_MISSING, _DEFAULT = object(), object()


@dataclass(frozen=True)
class _Refused:
    """Takes the place of a value that was refused."""

    findings: tuple[Finding, ...]


def _line(finding: Finding) -> InitErrorDetails:
    return InitErrorDetails(type=to_error(finding), loc=finding.loc, input=None)


def _finding(line: ErrorDetails) -> Finding:
    kind, context, loc = line["type"], line.get("ctx", {}), line["loc"]
    if kind == RULE:
        finding: Finding = context["finding"]
        return replace(finding, loc=loc)
    if kind in ("greater_than_equal", "less_than_equal"):
        what = f"must be at least {context['ge']}" if "ge" in context else f"must be at most {context['le']}"
        return Finding(loc, what, kind=kind)
    if kind == "literal_error":
        allowed = context["expected"].replace("'", "")
        return Finding(loc, "is not one of the words allowed here", allowed, kind=kind)
    return Finding(loc, _WHAT.get(kind, _OTHER_FORM), kind=kind)


class OneOf:
    """A field whose value is a map with exactly one of these keys; it becomes that key's model, unwrapped.

    ``inline``: the keys are written beside those of the model that has the field, not below a key of their own. A member with a field of
    its own key's name is written as that field's value alone.
    """

    def __init__(self, *, inline: bool = False, **members: type[Model]) -> None:
        self.inline = inline
        self.members = members
        self.names = ", ".join(members)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self._choose)

    def key_of(self, model: Model) -> str:
        """The key under which a member is written."""
        return next(key for key, member in self.members.items() if isinstance(model, member))

    def is_written_as_value(self, key: str) -> bool:
        """Whether the member is written as the value of its only field."""
        return key in list_fields(self.members[key])

    def loc_of(self, model: Model) -> Loc:
        """The place of the member's own keys, relative to the field."""
        key = self.key_of(model)
        return () if self.is_written_as_value(key) else (key,)

    def _choose(self, raw: object, info: core_schema.ValidationInfo) -> Model:
        if isinstance(raw, Model) and type(raw) in self.members.values():
            return raw
        found: list[Finding] = []
        model = self._member(raw, found)
        if model is not None and not found and info.context == KEEP_PARTIAL:
            return model
        found += [finding.below(self.loc_of(model)) for finding in model.findings] if model else []
        if model is None or found:
            raise ValidationError.from_exception_data("OneOf", [_line(one) for one in found], hide_input=True)
        return model

    def _member(self, raw: object, found: list[Finding]) -> Model | None:
        """The chosen member, or None if there is none or more than one. Mistakes in the choice itself are added to ``found``."""
        allowed = f"exactly one of: {self.names}"
        if not isinstance(raw, Mapping):
            found.append(Finding((), "is not a map", allowed))
            return None
        unknown = [str(key) for key in raw if key not in self.members]
        chosen = [key for key in self.members if key in raw]
        found += [Finding((key,), "is not a setting", kind=UNKNOWN_KEY) for key in unknown]
        if len(chosen) > 1:
            fix = Fix(say="keep one, for example:", remove=True, at=(chosen[-1],))
            found.append(Finding((), f"has {' and '.join(chosen)}, which exclude each other", allowed, fix))
        elif not chosen and not unknown:
            found.append(Finding((), f"has none of {self.names}", allowed))
        if len(chosen) != 1:  # several were given and one must go: no details of what is inside
            return None
        (key,) = chosen
        value = {key: raw[key]} if self.is_written_as_value(key) else raw[key]
        return self.members[key].model_validate(value, context=KEEP_PARTIAL)


def list_fields(model: type[Model]) -> dict[str, FieldInfo]:
    """The model's fields by their names in YAML."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def find_union(field: FieldInfo) -> OneOf | None:
    """The choice, if the field holds one of several members."""
    return next((mark for mark in field.metadata if isinstance(mark, OneOf)), None)


@dataclass(frozen=True, kw_only=True)
class _Field:
    """One field of a model, as it is written in YAML."""

    name: str
    alias: str
    required: bool
    union: OneOf | None

    @property
    def _loc(self) -> Loc:
        return () if self.union is not None and self.union.inline else (self.alias,)

    def take(self, written: dict[str, object]) -> object:
        """Take the field's values out of the keys that are left."""
        if self.union is not None and self.union.inline:
            return {key: written.pop(key) for key in self.union.members if key in written}
        return written.pop(self.alias, _MISSING if self.required else _DEFAULT)

    def take_findings(self, model: Model) -> Iterator[Finding]:
        """Take the findings for the field and for the models in it; a refused value is taken out of the model."""
        value = getattr(model, self.name)
        if isinstance(value, _Refused):
            del model.__dict__[self.name]
            yield from (finding.below(self._loc) for finding in value.findings)
            return
        for index, one in enumerate(value if isinstance(value, tuple) else (value,)):
            if isinstance(one, Model):
                at: Loc = (index,) if isinstance(value, tuple) else ()
                at = (*at, *self.union.loc_of(one)) if self.union is not None else at
                yield from (finding.below((*self._loc, *at)) for finding in one.findings)


@cache
def _fields_of(model: type[Model]) -> tuple[_Field, ...]:
    return tuple(
        _Field(name=name, alias=field.alias or name, required=field.is_required(), union=find_union(field))
        for name, field in model.model_fields.items()
    )
