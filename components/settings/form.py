"""Forms of text: one pattern for both the rule and the JSON Schema that editors read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from components.settings.problems import quote_harmless, refuse


@dataclass(frozen=True)
class Form:
    """Beside a text's type: the pattern that the whole of it must match, and the words for what is allowed.

    ``what``: what an error says of another text; by default it is described by its length and its first wrong character.
    The pattern means the same in Python and in JavaScript: explicit classes, no flags.
    """

    pattern: str
    allowed: str
    what: str = ""

    @property
    def whole(self) -> str:
        """The pattern for JSON Schema, which searches: anchored at both ends."""
        return f"^(?:{self.pattern})$"

    def check(self, value: str) -> str:
        """Return the value if all of it matches."""
        if not re.fullmatch(self.pattern, value, re.ASCII):
            told = quote_harmless(value, wrong_at=self._first_wrong(value))
            raise refuse(self.what or f"{told} is not of the allowed form", allowed=self.allowed)
        return value

    def _first_wrong(self, value: str) -> int | None:
        """The index of the first character in whose place another one would do; None where the text is too short, too long or wrong as a whole."""

        def begins(text: str) -> bool:
            return any(re.fullmatch(self.pattern, text + rest, re.ASCII) for rest in ("", "a", "aa"))

        at = next((at for at in range(len(value)) if not begins(value[: at + 1])), None)
        return at if at is not None and begins(f"{value[:at]}a") else None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": self.whole}


@dataclass(frozen=True)
class Looks:
    """Annotates text with what the JSON Schema can say of a value whose rule is more than a pattern."""

    pattern: str

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": self.pattern}
