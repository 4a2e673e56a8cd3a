"""The base of all settings models: frozen, closed, and reporting every problem instead of the first one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, SecretStr, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, PydanticUndefined, core_schema

from components.settings.problems import RULE, Finding, Fix, Loc, refuse


class Model(BaseModel):
    """A frozen group of settings with camelCase keys as in YAML; a key it does not know is refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, hide_input_in_errors=True
    )

    EXAMPLE: ClassVar[object] = None

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Finding]:  # noqa: ARG003
        """Rules over several keys. They see what was written, of any type, beside the keys' own rules."""
        yield from ()

    @classmethod
    def prepare(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the fields read, made from what the user wrote."""
        return raw

    @classmethod
    def located(cls, loc: Loc) -> Loc:
        """A field's place in what the user wrote: undoes for places what `prepare` did to values."""
        return loc

    @model_validator(mode="wrap")
    @classmethod
    def _report_everything(cls, raw: Any, handler: Any) -> Self:
        if not isinstance(raw, Mapping):
            return handler(raw)  # type: ignore[no-any-return]
        lines = [InitErrorDetails(type=error, loc=loc, input=None) for loc, error in cls.rules(raw)]
        model = None
        try:
            model = handler(cls.prepare(raw))
        except ValidationError as error:
            lines += lines_of(error, cls.located)
        if model is None or lines:
            raise ValidationError.from_exception_data(cls.__name__, lines, hide_input=True)
        return model  # type: ignore[no-any-return]


def lines_of(
    error: ValidationError, located: Any = lambda loc: loc, prefix: Loc = ()
) -> list[InitErrorDetails]:
    """The error's lines, to be raised again together with others and without the values that caused them."""
    lines = []
    for line in error.errors(include_url=False, include_input=False):
        context = line.get("ctx", {})
        kind = PydanticCustomError(RULE, "{what}", context) if line["type"] == RULE else line["type"]
        lines.append(
            InitErrorDetails(type=kind, loc=(*prefix, *located(line["loc"])), input=None, ctx=context)
        )
    return lines


class OneOf:
    """A field whose value is a map with exactly one of these keys; it becomes that key's model, unwrapped."""

    def __init__(self, **members: type[Model]) -> None:
        self.members = members
        self.names = ", ".join(members)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.choose)

    def choose(self, raw: Any) -> Model:
        if isinstance(raw, Model) and type(raw) in self.members.values():
            return raw
        allowed = f"exactly one of: {self.names}"
        if not isinstance(raw, Mapping):
            raise refuse("is not a map", allowed=allowed)
        unknown = [str(key) for key in raw if key not in self.members]
        lines = [InitErrorDetails(type="extra_forbidden", loc=(key,), input=None) for key in unknown]
        found = [key for key in self.members if key in raw]
        if len(found) > 1:
            fix = Fix(say="keep one, for example:", remove=True, at=(found[-1],))
            error = refuse(f"has {' and '.join(found)}, which exclude each other", allowed=allowed, fix=fix)
            lines.append(InitErrorDetails(type=error, loc=(), input=None))
        elif not found and not unknown:
            lines.append(
                InitErrorDetails(
                    type=refuse(f"has none of {self.names}", allowed=allowed), loc=(), input=None
                )
            )
        models = []
        for key in found if len(found) == 1 else ():  # of several, one goes: no word on what is inside
            try:
                models.append(self._member(key, raw[key]))
            except ValidationError as error:
                scalar = key in aliases(self.members[key])
                lines += lines_of(error, prefix=() if scalar else (key,))
        if lines:
            raise ValidationError.from_exception_data("OneOf", lines, hide_input=True)
        return models[0]

    def _member(self, key: str, value: Any) -> Model:
        member = self.members[key]
        return member.model_validate({key: value} if key in aliases(member) else value)


def aliases(model: type[Model]) -> dict[str, FieldInfo]:
    """The model's fields by their names in YAML."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key that a stack file may hold, and those below it.

    ``how`` tells the way to a value, ``file`` names the file that is piped in where the value has several lines.
    """

    description: str
    how: str
    file: str
    example: object
    secret: bool
    children: Mapping[str, Key]


def keys(model: type[Model]) -> dict[str, Key]:
    """Every key of a model as it is written in YAML."""
    found: dict[str, Key] = {}
    for alias, field in aliases(model).items():
        union = next((mark for mark in field.metadata if isinstance(mark, OneOf)), None)
        if union is not None and model.located((alias,)) == ():
            found |= _members(union)  # written beside the other keys, not below one of its own
        else:
            found[alias] = _key(field, union)
    return found


def _key(field: FieldInfo, union: OneOf | None) -> Key:
    kinds = list(_leaves(field.annotation))
    child = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Model)), None)
    children = _members(union) if union else keys(child) if child else {}
    example = field.examples[0] if field.examples else child.EXAMPLE if child and not union else field.default
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    return Key(
        description=field.description or "",
        how=str(extra.get("how", "")),
        file=str(extra.get("file", "")),
        example=None if example is PydanticUndefined else example,
        secret=SecretStr in kinds,
        children=children,
    )


def _members(union: OneOf) -> dict[str, Key]:
    found = {}
    for name, member in union.members.items():
        below = keys(member)
        description = (member.__doc__ or "").split("\n", maxsplit=1)[0]
        own = Key(
            description=description, how="", file="", example=member.EXAMPLE, secret=False, children=below
        )
        found[name] = below.get(name, own)
    return found


def _leaves(annotation: Any) -> Iterable[Any]:
    arguments = get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _leaves(argument)
