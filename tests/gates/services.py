"""The rules of each service, by its name in components/storage/services.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from components.storage.service_facts import ServiceName
from tests.gates import rules
from tests.gates.rules import Rule

Make = Callable[[], Sequence[Rule]]

GATES: Mapping[ServiceName, Make] = {
    "AWS": lambda: [rules.BucketElsewhere(), rules.ChecksumDemanded(), rules.ConflictBetweenWriters()],
    "Backblaze": lambda: [
        rules.ChecksumDemanded(),
        rules.ChecksumHeadersRefused(),
        rules.ConditionRefused(),
    ],
    "Wasabi": lambda: [rules.ChecksumDemanded(), rules.TrailerRefused(), rules.ConditionIgnored()],
    "Cloudflare": lambda: [rules.NoVersionsNoLocks(), rules.TrailerRefused()],
    "Hetzner": lambda: [
        rules.ChecksumDemanded(),
        rules.TrailerRefused(),
        rules.ConditionIgnored(),
        rules.MissingKeyIs403(),
    ],
    "Google": lambda: [
        rules.AcceptEncodingChanged(),
        rules.UnknownQueryRefused(),
        rules.TrailerRefused(),
        rules.ConditionIgnored(),
        rules.NoDefaultRetention(),
    ],
}
