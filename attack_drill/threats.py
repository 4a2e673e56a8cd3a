"""The rows of the threat model, in its own words: what the attacker tries, and what must happen. Pure."""

from __future__ import annotations

from attack_drill.findings import Threat

BOUNDARIES = {
    "S": "A source host is fully compromised",
    "R": "The relay is fully compromised",
    "A": "The path and the operator",
}

# fmt: off
THREATS = (
    Threat(id="S1", tries="a shell, a command, -t, scp, sftp, rsync, SSH_ORIGINAL_COMMAND", must="only the forced rclone runs; nothing else"),
    Threat(id="S2", tries="port, agent, X11, stream-local and tun forwarding, ~/.ssh/rc, environment (RCLONE_*, LD_*)", must="refused"),
    Threat(id="S3", tries="restic forget, prune, rewrite, repair, tag, key remove", must="every earlier snapshot still restores, byte for byte"),
    Threat(id="S4", tries="HTTP over the forced command: DELETE of config, keys, data, index, snapshots", must="403 and nothing is gone"),
    Threat(id="S5", tries="overwriting an existing object, alone and in many concurrent requests, also after a failed lookup", must="refused, also by the storage itself (conditional write), content unchanged"),
    Threat(id="S6", tries=".., absolute, encoded and double-encoded paths; another source's repository", must="refused; another source's objects can be neither listed, read, written nor deleted"),
    Threat(id="S7", tries="learning the storage: bucket, endpoint, keys, remote name", must="nothing that names them reaches the source, in answers or in error text"),
    Threat(id="S8", tries="forged snapshots (--time in the past or future, foreign --host, a burst of thousands) so that retention drops good ones", must="the trusted prune refuses, says which, and drops no good snapshot"),
    Threat(id="S9", tries="20+ bogus or malformed key files (restic tries at most 20), bogus locks, garbage index and pack files", must="recovery still opens the repository (key hint) and restores; prune refuses until new packs were read and checked"),
    Threat(id="S10", tries="filling the storage, thousands of sessions, slow sessions, huge uploads", must="other sources still back up; limits per source (processes, memory, sessions); an alert; one command cuts off one source"),
    Threat(id="S11", tries="using a stolen source key from elsewhere", must="the same limits; optional from=; revocation is one config change"),
    Threat(id="R1", tries="delete every object", must="at most delete markers outside locks/, refused by policy where there is one; no version is lost"),
    Threat(id="R2", tries="delete versions, bypass governance, shorten or remove retention, change legal holds", must="refused by the storage"),
    Threat(id="R3", tries="overwrite objects, upload garbage, hide files", must="the older versions restore through a point-in-time view"),
    Threat(id="R4", tries="change versioning, lifecycle, lock configuration, policy, replication, encryption; delete the bucket", must="refused by the storage"),
    Threat(id="R5", tries="lock objects for decades to run up the bill", must="refused, or capped: retention is not the relay's to set"),
    Threat(id="R6", tries="read the sources' data", must="only ciphertext: no restic password is ever on the relay"),
    Threat(id="R7", tries="reach the source hosts", must="the relay has no key and no route for that"),
    Threat(id="R8", tries="one source's storage identity used against another's prefix", must="refused where the storage has identities"),
    Threat(id="A1", tries="a man in the middle of any SSH connection (admin to relay, source to relay)", must="host keys are pinned from the first connection; a changed key stops the run with a clear error"),
    Threat(id="A2", tries="secrets in argv, logs, pulumi up output, plain state, exported outputs, world-readable files", must="none"),
    Threat(id="A3", tries="a wrong sshd configuration", must="validated before it is live; the admin is not locked out; rolled back by itself"),
    Threat(id="A4", tries="weak or old parts (rclone before 1.76.0, restic before the pinned one)", must="refused with the advisory's id"),
    Threat(id="A5", tries="a person with the cloud console or pulumi destroy on a production stack", must="protected resources and locked objects are kept; test stacks are removed cleanly"),
    Threat(id="A6", tries="an admin's stolen SSH key", must="a second factor (FIDO2 verify-required key or TOTP) is needed where it is switched on"),
    Threat(id="A7", tries="network cut, process killed, host rebooted or disk full at any moment of up, backup, prune or restore", must="the next run converges; nothing that was acknowledged is lost"),
    Threat(id="A8", tries="silence: backups stopped days ago", must="noticed from the storage's own timestamps, without a repository password"),
    Threat(id="A9", tries="an incomplete backup: a symbolic link or an empty mount as path, an exclude that leaves nothing, unreadable files, a much smaller snapshot", must="refused, or reported by that run, by status and by the alarms; never just success"),
    Threat(id="A10", tries="a storage service that does not provide what the design needs: ignores If-None-Match, demands checksums, has no versions, gives the identity too many rights, hides versions by lifecycle", must="found before the first backup is written, by name, with the row that is lost"),
)
# fmt: on
