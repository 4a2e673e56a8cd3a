"""The machines of the local stack: a relay, sources and a locked object store on a private network.

Guarantees: every verb converges (it can be repeated, or killed at any point and repeated); a source can connect only to the relay; only the relay
can reach the storage; `destroy` leaves nothing but the cached base image.

Called as `python -m sandbox VERB --dir DIR …` (one JSON line on stdout) or, from Python, as `Sandbox`.
"""

from sandbox.errors import SandboxError
from sandbox.verbs import Sandbox

__all__ = ["Sandbox", "SandboxError"]
