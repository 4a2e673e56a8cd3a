"""Rules about secrets: what is one must be marked as one, so that state, previews and logs hide it. Pure."""

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
# Input names, whatever they stand below.
NAMES = re.compile(
    r"(?:\A|\.)(?:\w*[pP]assword|\w*[pP]assphrase|[pP]rivateKey\w*|secret|secretAccessKey|secretKey|sessionToken|totpSecret|\w*Pem)\Z"
)
PUBLIC = re.compile(r"(?:certificate|public|Certificate|Public)\w*Pem\Z")
VALUES = re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----|(?i:\bsecret_access_key\s*[=:]\s*\S)")
# What steps and new machines are told in one piece: secret as a whole, since anything may stand in it.
WHOLE = {REMOTE: ("stdin",)}


def _plain(node: Node) -> Iterator[str]:
    for path, value, hidden in leaves(node.inputs):
        if hidden or value is UNKNOWN or not isinstance(value, str) or not value:
            continue
        bare = re.sub(r"\[\d+\]", "", path)
        if (NAMES.search(bare) and not PUBLIC.search(bare)) or VALUES.search(value):
            yield f"{path} is not secret: it would stand readable in the state"
    for name in WHOLE.get(node.type, ()):
        for path, value, hidden in leaves({name: node.inputs.get(name)}):
            if not hidden and value is not UNKNOWN and value is not None:
                yield f"{path} is not secret as a whole"


def _outputs(node: Node) -> Iterator[str]:
    for name in sorted(HIDDEN_OUTPUTS.get(node.type, frozenset()) - node.secret_outputs):
        yield f"output {name} is not among its additional secret outputs"


RULES: tuple[Rule, ...] = (
    NodeRule(name="no-plain-secret", promise="No secret stands in plain in an input.", check=_plain),
    NodeRule(name="secret-outputs", promise="What is made secret stays secret as an output.", check=_outputs),
)
