"""What proves each row of the threat model. A test that is renamed or merged is renamed here."""

from __future__ import annotations

from docs.threat_proofs.path_and_operator import PATH_AND_OPERATOR
from docs.threat_proofs.relay import RELAY
from docs.threat_proofs.source import SOURCE

PROOFS = SOURCE | RELAY | PATH_AND_OPERATOR
