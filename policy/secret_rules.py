"""Rules about secrets: a secret must be marked as one, so that state, previews and logs hide it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from policy.graph import UNKNOWN, Node, NodeRule, Rule, leaves
from policy.machine_rules import REMOTE

ACCESS_KEY = "aws:iam/accessKey:AccessKey"
RANDOM = {
    "random:index/randomPassword:RandomPassword": frozenset({"result", "bcryptHash"}),
    "random:index/randomBytes:RandomBytes": frozenset({"base64", "hex"}),
}
HIDDEN_OUTPUTS = {ACCESS_KEY: frozenset({"secret"}), REMOTE: frozenset({"stdout", "stderr"}), **RANDOM}
# Names of inputs, at any depth.
NAMES = re.compile(
    r"(?:\A|\.)(?:\w*[pP]assword|\w*[pP]assphrase|[pP]rivateKey\w*|secret|secretAccessKey|secretKey|sessionToken|totpSecret|\w*Pem)\Z"
)
PUBLIC = re.compile(r"(?:certificate|public|Certificate|Public)\w*Pem\Z")
VALUES = re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----|(?i:\bsecret_access_key\s*[=:]\s*\S)")
# Texts for steps and new machines: they may contain anything, so they are secret as a whole.
WHOLE = {REMOTE: ("stdin",)}


def _plain(node: Node) -> Iterator[str]:
    for path, value, hidden in leaves(node.inputs):
        if hidden or value is UNKNOWN or not isinstance(value, str) or not value:
            continue
        bare = re.sub(r"\[\d+\]", "", path)
        if (NAMES.search(bare) and not PUBLIC.search(bare)) or VALUES.search(value):
            yield f"{path} must be secret: otherwise it can be read in the state"
    for name in WHOLE.get(node.type, ()):
        for path, value, hidden in leaves({name: node.inputs.get(name)}):
            if not hidden and value is not UNKNOWN and value is not None:
                yield f"{path} must be secret as a whole"


def _outputs(node: Node) -> Iterator[str]:
    for name in sorted(HIDDEN_OUTPUTS.get(node.type, frozenset()) - node.secret_outputs):
        yield f"output {name} must be among its additional secret outputs"


RULES: tuple[Rule, ...] = (
    NodeRule(name="no-plain-secret", promise="No secret is a plain input.", check=_plain),
    NodeRule(name="secret-outputs", promise="A secret input stays secret as an output.", check=_outputs),
)
