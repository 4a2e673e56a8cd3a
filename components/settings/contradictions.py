"""The list of all rules across the sections of a stack.

A rule is a function of the whole stack, or of the stack and one of its sources. It reads typed, valid values; if it reads one that is
missing or was refused, it ends, and the others go on (components/settings/model.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from components.settings import access_rules, aws_rules, jump_rules, sandbox_rules, source_rules
from components.settings.model import read_if_known, run_until_unknown
from components.settings.problems import Finding, Loc
from components.settings.sources import Source
from components.settings.stack import Settings

STACK_RULES: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    sandbox_rules.refuse_storage_elsewhere,
    sandbox_rules.refuse_unused_sandbox,
    sandbox_rules.require_large_enough_network,
    access_rules.require_way_in,
    access_rules.refuse_way_into_sandbox,
    access_rules.require_tunnel_for_second_factor,
    access_rules.require_user_of_image,
    access_rules.refuse_engines_key_elsewhere,
    jump_rules.refuse_useless_default,
    jump_rules.refuse_useless_jump_of_relay,
    source_rules.refuse_duplicates,
    aws_rules.require_account,
    aws_rules.require_one_account,
    aws_rules.require_protection_in_production,
    aws_rules.refuse_protection_in_test,
    aws_rules.refuse_compliance_in_test,
    aws_rules.refuse_long_lock_in_test,
    aws_rules.refuse_adoption_in_test,
    aws_rules.require_lock_beyond_silence,
    aws_rules.refuse_prefix_of_locks,
)
SOURCE_RULES: tuple[Callable[[Settings, Source, Loc], Iterator[Finding]], ...] = (
    sandbox_rules.refuse_source_elsewhere,
    access_rules.refuse_keys_of_people,
    jump_rules.refuse_useless_jump_of_source,
    source_rules.require_identity,
    source_rules.refuse_unused_identity,
    source_rules.refuse_shared_identity,
    source_rules.refuse_relay_as_source,
    aws_rules.require_lock_beyond_session,
    aws_rules.refuse_name_of_locks,
    aws_rules.refuse_unused_identity_generation,
)


def find_contradictions(stack: Settings) -> Iterator[Finding]:
    """Find all contradictions between the valid parts of a stack."""
    for rule in STACK_RULES:
        yield from run_until_unknown(rule(stack))
    for index, source in enumerate(read_if_known(lambda: stack.sources) or ()):
        for source_rule in SOURCE_RULES:
            yield from run_until_unknown(source_rule(stack, source, ("sources", index)))
