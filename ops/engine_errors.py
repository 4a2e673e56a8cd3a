"""Translates the engine's most common errors into ours: what is wrong, where, what is allowed, and how to fix it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ops.errors import LastcopyError


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """One error of the engine. ``said``: a pattern that matches its output. The other fields are those of a LastcopyError; `{stack}` and
    `{backend}` are replaced."""

    said: str
    what: str
    where: str
    allowed: str = ""
    fix: str
    is_about_stacks: bool = False


_GIVE_THE_FILE = "export PULUMI_CONFIG_PASSPHRASE_FILE=FILE, the file with this stack's passphrase"
REFUSALS = (
    Refusal(
        said=r"PULUMI_ACCESS_TOKEN must be set for login",
        what="pulumi is not logged in to a backend, so it knows no stack",
        where="PULUMI_BACKEND_URL",
        allowed="the backend that holds the stack's state, such as file://$HOME/lastcopy-state or s3://BUCKET?region=REGION",
        fix="export PULUMI_BACKEND_URL=…, or `pulumi login`",
    ),
    Refusal(
        said=r"unable to open state directory|unable to open bucket|could not list bucket",
        what="the state cannot be opened",
        where="backend {backend}",
        allowed="the backend that holds the stack's state, with credentials that may read it",
        fix="set PULUMI_BACKEND_URL, and `pulumi stack ls` must list the stack",
    ),
    Refusal(
        said=r"no stack named '[^']*' found",
        what="there is no stack {stack}",
        where="--stack, in backend {backend}",
        fix="correct the name, or set PULUMI_BACKEND_URL to the backend that holds it",
        is_about_stacks=True,
    ),
    Refusal(
        said=r"no stack selected",
        what="no stack is selected",
        where="--stack, in backend {backend}",
        fix="--stack NAME, or once `pulumi stack select NAME`",
        is_about_stacks=True,
    ),
    Refusal(
        said=r"passphrase must be set with",
        what="there is no passphrase, so the stack's secrets cannot be read",
        where="PULUMI_CONFIG_PASSPHRASE_FILE",
        fix=_GIVE_THE_FILE,
    ),
    Refusal(
        said=r"incorrect passphrase",
        what="the passphrase is not the one of stack {stack}",
        where="PULUMI_CONFIG_PASSPHRASE_FILE, PULUMI_CONFIG_PASSPHRASE",
        fix=_GIVE_THE_FILE,
    ),
    Refusal(
        said=r"unable to read PULUMI_CONFIG_PASSPHRASE_FILE",
        what="the file with the passphrase cannot be read",
        where="PULUMI_CONFIG_PASSPHRASE_FILE",
        fix=_GIVE_THE_FILE,
    ),
)


def explain(
    said: str, *, stack: str, backend: str, list_stacks: Callable[[], Sequence[str]]
) -> LastcopyError | None:
    """Translate the engine's output ``said``. Returns None if it matches none of the errors above."""
    found = next((one for one in REFUSALS if re.search(one.said, said)), None)
    if found is None:
        return None
    stacks = list_stacks() if found.is_about_stacks else ()

    def filled(text: str) -> str:
        return text.replace("{stack}", stack).replace("{backend}", backend)

    return LastcopyError(
        filled(found.what),
        where=filled(found.where),
        allowed=f"one of: {', '.join(stacks)}" if stacks else found.allowed,
        fix=found.fix,
    )
