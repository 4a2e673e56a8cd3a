"""The ssh agent at SSH_AUTH_SOCK: which keys it holds, and whether a login gets as far as the right one.

`pulumi up` offers every key of the agent, in the agent's order: its plugin cannot be told otherwise. sshd counts each as a failed attempt and ends
the login after MaxAuthTries of them, 6 by default. OpenSSH's agent protocol: draft-ietf-sshm-ssh-agent.
"""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Iterator, Sequence

from components.settings.admin import Admin
from components.settings.explain import Explainer
from components.settings.model import read_if_known
from components.settings.problems import Finding, Fix, Loc, Problem
from components.settings.ssh_keys import read_key_data

TRIES = 6
"""sshd's MaxAuthTries, where nobody changed it: the sixth key can still be the right one."""

_LIST, _LISTED = 11, 12
_LONGEST = 256 * 1024  # of one message; the same limit as OpenSSH's agent
_SECONDS = 5


def list_agent_keys() -> list[str] | None:
    """The base64 parts of the agent's keys in the order in which they are offered, or None if no agent answers."""
    with socket.socket(socket.AF_UNIX) as agent:
        agent.settimeout(_SECONDS)
        try:
            agent.connect(os.environ.get("SSH_AUTH_SOCK") or "/nonexistent")
            agent.sendall((1).to_bytes(4) + bytes([_LIST]))
            size = int.from_bytes(_exactly(agent, 4))
            return _listed(_exactly(agent, size)) if size <= _LONGEST else None
        except OSError:
            return None


def _exactly(agent: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = agent.recv(size - len(found))
        if not more:
            raise ConnectionError("the agent closed the connection")
        found += more
    return found


def _listed(answer: bytes) -> list[str] | None:
    """The keys in an answer of the agent; each is followed by a comment."""
    if answer[:1] != bytes([_LISTED]):
        return None
    fields, rest = [], answer[5:]
    while rest:
        end = 4 + int.from_bytes(rest[:4])
        fields.append(rest[4:end])
        rest = rest[end:]
    return [base64.b64encode(blob).decode() for blob in fields[::2]]


def find_agent_problems(admin: Admin, explainer: Explainer) -> Iterator[Problem]:
    """Find what would keep the agent from logging in to a host, already in the preview."""
    is_used = read_if_known(lambda: admin.agent) or False
    held = list_agent_keys() if is_used or os.environ.get("SSH_AUTH_SOCK") else []
    if held is None and is_used:
        fix = Fix(say="run `eval $(ssh-agent)` and `ssh-add`, or use privateKeyFile instead:", remove=True)
        what, allowed = "no ssh agent answers at SSH_AUTH_SOCK", "a running agent"
        yield explainer.problem(Finding(("admin", "agent"), what, allowed, fix))
    elif held is None:
        # The command plugin fails every step if SSH_AUTH_SOCK is set and no agent answers, even if the agent is not used.
        yield Problem(
            where="environment variable SSH_AUTH_SOCK",
            what="no ssh agent answers there, so every step on a host would fail",
            allowed="the socket of a running agent, or nothing",
            fix="unset SSH_AUTH_SOCK",
        )
    elif is_used:
        wanted = read_if_known(lambda: admin.agent_keys) or ()
        yield from _find_out_of_reach(held, [read_key_data(key) for key in wanted], explainer)


def _find_out_of_reach(held: Sequence[str], wanted: Sequence[str], explainer: Explainer) -> Iterator[Problem]:
    for number, key in enumerate(wanted):
        where: Loc = ("admin", "agentKeys", number)
        if key not in held:
            say = "add the private half to the agent with `ssh-add FILE`, or take this line out:"
            what = "is not in the agent at SSH_AUTH_SOCK"
            allowed = "the public half of a key that `ssh-add -L` shows"
            yield explainer.problem(Finding(where, what, allowed, Fix(say=say, remove=True)))
        elif held.index(key) >= TRIES:
            what = f"is key {held.index(key) + 1} of the agent, and sshd ends a login after {TRIES} that do not fit"
            allowed = f"one of the first {TRIES} that `ssh-add -L` shows"
            command = explainer.command("lastcopy agent")
            told = f"run it beside an agent that offers these keys alone:\n{command} -- pulumi up"
            yield Problem(where=explainer.place(where), what=what, allowed=allowed, fix=told)


def warn_of_many_keys(admin: Admin) -> str | None:
    """The warning if the agent has many keys and the settings do not say which to use."""
    held = (list_agent_keys() or []) if admin.agent and not admin.agent_keys else []
    if len(held) <= TRIES:
        return None
    return (
        f"The ssh agent holds {len(held)} keys, and a host's sshd ends a login after {TRIES} that do not fit (\"Too many authentication "
        'failures"). Name the right ones in lastcopy:admin.agentKeys.'
    )
