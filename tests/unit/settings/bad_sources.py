"""Bad sources, and contradictions between the parts of a stack. See bad.py for the form."""

from __future__ import annotations

from tests.unit.settings.bad import RCLONE, RM, SET, SET_SECRET, Bad
from tests.unit.settings.support import SANDBOX

# fmt: off
S0 = "sources[0]"
SOURCE = (
    Bad("{sources: [{name: REMOVED}]}", f"{S0}.name", "is missing", "web1 --stack prod"),
    Bad("{sources: [{name: Web_1}]}", f"{S0}.name", "1 to 23 of a-z", SET),
    Bad("{sources: [{name: relay}]}", f"{S0}.name", "another part of the chain", SET),
    Bad("{sources: [{name: web1-is-a-very-long-name}]}", f"{S0}.name", "1 to 23", SET),
    Bad("{sources: [{host: REMOVED}]}", S0, "has none of host, sandbox, publicKey", "hostKey: ssh-ed25519"),
    Bad("{sources: [{publicKey: SOURCE-KEY}]}", S0, "host and publicKey", f"{RM} --path 'lastcopy:sources[0].publicKey'"),
    Bad("{sources: [{host: {user: ''}}]}", f"{S0}.host.user", "a Unix account", "admin --stack prod"),
    Bad("{sources: [{host: {hostkey: x}}]}", f"{S0}.host.hostkey", 'did you mean "hostKey"', "write `hostKey` instead"),
    Bad("{sources: [{host: {hostKey: 5}}]}", f"{S0}.host.hostKey", "is not text", "ssh-keyscan"),
    Bad("{sources: [{host: {address: 'web1;reboot'}}]}", f"{S0}.host.address", "not a host name", "web1.example.com"),
    Bad("{sources: [{host: {address: 'admin@web1'}}]}", f"{S0}.host.address", "without user", SET),
    Bad("{sources: [{host: REMOVED, publicKey: 'command=\"sh\" SOURCE-KEY'}]}", f"{S0}.publicKey", "words before", "ssh-keygen"),
    Bad("{sources: [{host: REMOVED, publicKey: SECURITY-KEY}]}", f"{S0}.publicKey", "not of an allowed kind", "on the source"),
    Bad("{sources: [{path: [/x]}]}", f"{S0}.path", 'did you mean "paths"', RM),
    Bad("{sources: [{back_up: [/x]}]}", f"{S0}.back_up", "is not a setting", RM),
    Bad("{sources: [{'password:x': 1}]}", S0, "a key that is not a plain word", "a colon needs a space"),
    Bad("{sources: [{paths: REMOVED}]}", f"{S0}.paths", "is missing", "paths[0]' /srv"),
    Bad("{sources: [{paths: []}]}", f"{S0}.paths", "is empty", "paths[0]' /srv"),
    Bad("{sources: [{paths: /srv}]}", f"{S0}.paths", "is not a list", "paths[0]' /srv"),
    Bad("{sources: [{paths: [srv]}]}", f"{S0}.paths[0]", '"srv" is not a plain absolute path', "/srv --stack"),
    Bad("{sources: [{paths: [/srv/../etc]}]}", f"{S0}.paths[0]", "without `..`", SET),
    Bad("{sources: [{paths: [/srv/]}]}", f"{S0}.paths[0]", "trailing slashes", SET),
    Bad('{sources: [{paths: ["/srv\\n/etc"]}]}', f"{S0}.paths[0]", "a line break", SET),
    Bad('{sources: [{paths: ["/a\\u202Eb"]}]}', f"{S0}.paths[0]", "an invisible character", SET),
    Bad("{sources: [{paths: [/proc/1]}]}", f"{S0}.paths[0]", "running kernel's state", SET),
    Bad("{sources: [{paths: [/srv, /srv]}]}", f"{S0}.paths[1]", "twice", f"{RM} --path 'lastcopy:sources[0].paths[1]'"),
    Bad("{sources: [{exclude: ['# not this']}]}", f"{S0}.exclude[0]", "not beginning with #", "'*.tmp'"),
    Bad("{sources: [{exclude: ['foo[']}]}", f"{S0}.exclude[0]", "'foo[' is malformed", "'*.tmp'"),
    Bad("{sources: [{exclude: ['/srv/**/[]x/y']}]}", f"{S0}.exclude[0]", "in its part '[]x'", SET),
    Bad('{sources: [{exclude: ["a\\nb"]}]}', f"{S0}.exclude[0]", "a line break", SET),
    Bad("{sources: [{schedule: every night}]}", f"{S0}.schedule", "OnCalendar", "'*-*-* 02:00:00' --stack prod"),
    Bad("{sources: [{schedule: '25:00'}]}", f"{S0}.schedule", '"25:00" is not a calendar event', SET),
    Bad('{sources: [{schedule: "daily\\nPersistent=no"}]}', f"{S0}.schedule", "the value is not", SET),
    Bad("{sources: [{randomizedDelay: soon}]}", f"{S0}.randomizedDelay", "time span", "30m --stack prod"),
    Bad("{sources: [{randomizedDelay: 48h}]}", f"{S0}.randomizedDelay", "up to a day", SET),
    Bad("{sources: [{preHook: /bin/dump --all}]}", f"{S0}.preHook", "without arguments", SET),
    Bad("{sources: [{postHook: after.sh}]}", f"{S0}.postHook", "absolute path", SET),
    Bad("{sources: [{from: [10.0.0.1/8]}]}", f"{S0}.from[0]", "without host bits", "203.0.113.7/32"),
    Bad("{sources: [{from: [0.0.0.0/0]}]}", f"{S0}.from[0]", "every address there is", RM),
    Bad("{sources: [{from: ['10.0.0.1\",command=\"sh']}]}", f"{S0}.from[0]", "is not a network", SET),
    Bad("{sources: [{generation: 0}]}", f"{S0}.generation", "is below 1", "1 --stack"),
    Bad("{sources: [{generation: 1.5}]}", f"{S0}.generation", "not a whole number", SET),
    Bad("{sources: [{password: short-Password}]}", f"{S0}.password", "too short", f"{SET_SECRET} 'lastcopy:sources[0].password' --stack prod"),
    Bad("{sources: [{password: aaaaaaaaaaaaaaaaaaaaaaaa}]}", f"{S0}.password", "could be guessed", SET_SECRET),
    Bad('{sources: [{password: "ends-with-a-line-break-1\\n"}]}', f"{S0}.password", "in one line", SET_SECRET),
    Bad("{sources: [{password: 12345678901234567890}]}", f"{S0}.password", "is not text", SET_SECRET),
    Bad("{sources: [{identity: {accessKeyId: a b}}]}", f"{S0}.identity.accessKeyId", "not an access key id", SET),
    Bad("{sources: [{identity: {secretAccessKey: 'with space'}}]}", f"{S0}.identity.secretAccessKey", "visible ASCII", SET_SECRET),
    Bad("{sources: [{identity: {secretAccessKey: REMOVED}}]}", f"{S0}.identity.secretAccessKey", "is missing", SET_SECRET),
    Bad("{sources: [{limits: {sessions: 0}}]}", f"{S0}.limits.sessions", "is below 1", "4 --stack"),
    Bad("{sources: [{limits: {memoryMiB: 64}}]}", f"{S0}.limits.memoryMiB", "is below 256", "memoryMiB' 1024 --stack"),
    Bad("{sources: [{limits: {uploadGiBPerDay: 0}}]}", f"{S0}.limits.uploadGiBPerDay", "is below 1", RM),
    Bad("{sources: [{limits: {memory: 512}}]}", f"{S0}.limits.memory", 'did you mean "memoryMiB"', RM),
    Bad("{sources: [{limits: {processes: 80}}]}", f"{S0}.limits.processes", "restic hangs", "processes' 96 --stack"),
    Bad("{sources: [{restic: {connections: 32}, limits: {openFiles: 256}}]}", f"{S0}.limits.openFiles", "at least 320", SET),
    Bad("{sources: [{restic: {connections: 33}}]}", f"{S0}.restic.connections", "is above 32", "8 --stack"),
    Bad("{sources: [{restic: {packSizeMiB: 2}}]}", f"{S0}.restic.packSizeMiB", "is below 4", "64 --stack"),
    Bad("{sources: [{restic: {compression: best}}]}", f"{S0}.restic.compression", "auto, off or max", "auto --stack"),
)

TOGETHER = (
    Bad("{sources: [{}, {name: web1}]}", "sources[1].name", "the same as in lastcopy:sources[0]", SET),
    Bad("{sources: [{password: oneTwoThree-FourFive-6}, {password: oneTwoThree-FourFive-6}]}", "sources[1].password", "the same", SET_SECRET),
    Bad("{sources: [{}, {host: {hostKey: WEB-KEY}}]}", "sources[1].host.hostKey", "the same", "ssh-keygen -A"),
    Bad("{sources: [{}, {host: {address: WEB1.example.com}}]}", "sources[1].host", "the same as in lastcopy:sources[0]", RM),
    Bad("{sources: [{}, {identity: {accessKeyId: EXAMPLE-WEB1}}]}", "sources[1].identity.accessKeyId", "the same", "another identity"),
    Bad(
        "{sources: [{host: REMOVED, publicKey: SOURCE-KEY}, {host: REMOVED, publicKey: SOURCE-KEY other}]}",
        "sources[1].publicKey", "the same", "ssh-keygen",
    ),
    Bad(
        "{admin: {people: [{name: al, publicKeys: [SOURCE-KEY]}]}, sources: [{host: REMOVED, publicKey: SOURCE-KEY}]}",
        "sources[0].publicKey", "could open tunnels to the relay", "ssh-keygen",
    ),
    Bad(
        "{storage: {s3: {identity: {accessKeyId: EXAMPLE-WEB1, secretAccessKey: another-secret-key}}}}",
        "sources[0].identity.accessKeyId", "the same as in lastcopy:storage.s3.identity", "another identity",
    ),
    Bad("{sources: [{identity: REMOVED}]}", S0, "has no storage identity", f"{SET_SECRET} 'lastcopy:sources[0].identity.secretAccessKey'"),
    Bad("{sources: [{identity: {accessKeyId: abc, secretAccessKey: abcdefgh}}]}", f"{S0}.identity", "rclone section holds", RM, RCLONE),
    Bad("{sources: [{identity: {accessKeyId: abc, secretAccessKey: abcdefgh}}]}", f"{S0}.identity", "makes its own", RM, SANDBOX),
    Bad("{sources: [{host: {address: relay.example.com}}]}", f"{S0}.host", "is the relay itself", RM),
    Bad("{sources: [{host: {hostKey: RELAY-KEY}}]}", f"{S0}.host.hostKey", "the relay's host key", "ssh-keygen -A"),
    Bad("{storage: {rclone: {path: x}}, sources: [{identity: REMOVED}]}", "storage", "s3 and rclone", f"{RM} --path 'lastcopy:storage.rclone'"),
    Bad("{intermediate: {sandbox: {}}}", "intermediate", "existing and sandbox", RM),
    Bad("{storage: {s3: REMOVED, sandbox: {}}, sources: [{identity: REMOVED}, {identity: REMOVED}]}", "storage", "but the relay is not", "s3:"),
    Bad(
        "{storage: {sandbox: REMOVED, s3: {endpoint: 'https://s3.example.com', region: auto, bucket: abc,"
        " identity: {accessKeyId: abc, secretAccessKey: abcdefgh}}}}",
        "storage", "is outside, but the relay is in the sandbox", "sandbox: {}", SANDBOX,
    ),
    Bad("{sources: [{host: REMOVED, sandbox: {}}]}", S0, "in the sandbox, but the relay is not", "address: web1.example.com"),
    Bad(
        "{sources: [{sandbox: REMOVED, host: {address: web1.example.com, hostKey: WEB-KEY}}]}",
        S0, "is outside, but the relay is in the sandbox", RM, SANDBOX,
    ),
    Bad("{admin: {agent: true}}", "admin.agent", "the sandbox makes its own user and key", RM, SANDBOX),
    Bad("{admin: {user: root}}", "admin.user", "people only", RM, SANDBOX),
    Bad("{sandbox: {driver: nspawn}}", "sandbox", "nothing here is in the sandbox", f"{RM} lastcopy:sandbox --stack prod"),
    Bad("{sandbox: {driver: qemu}}", "sandbox.driver", "auto, nspawn, podman or docker", "auto --stack", SANDBOX),
    Bad("{sandbox: {network: 8.8.8.0/24}}", "sandbox.network", "someone else's hosts", "198.51.100.0/24", SANDBOX),
    Bad("{sandbox: {network: 198.51.100.0/30}}", "sandbox.network", "right size", "198.51.100.0/24", SANDBOX),
    Bad("{sandbox: {network: '2001:db8::/64'}}", "sandbox.network", "IPv4 network of the right size", SET, SANDBOX),
    Bad("{storage: {sandbox: {lockMode: none}}}", "storage.sandbox.lockMode", "COMPLIANCE or GOVERNANCE", SET, SANDBOX),
)

JUMP = "{address: jump.example.com, hostKey: ADMIN-KEY}"
AT = "intermediate.existing.jumpHost"
JUMPS = (
    Bad("{sources: [{host: {jumpHost: jump.example.com}}]}", f"{S0}.host.jumpHost", "neither a jump host nor none", "none --stack prod"),
    Bad("{sources: [{host: {jumpHost: {hostKey: ADMIN-KEY}}}]}", f"{S0}.host.jumpHost.address", "is missing", "jump.example.com"),
    Bad("{sources: [{host: {jumpHost: {address: jump}}}]}", f"{S0}.host.jumpHost.hostKey", "is missing", "ssh-keyscan"),
    Bad("{admin: {jumpHost: {address: 'a b', hostKey: ADMIN-KEY}}}", "admin.jumpHost.address", "not a host name", SET),
    Bad("{admin: {jumpHost: {address: a, hostKey: ADMIN-KEY, user: ''}}}", "admin.jumpHost.user", "a Unix account", SET),
    Bad("{admin: {jumpHost: none}}", "admin.jumpHost", "is not a map", "address: jump.example.com"),
    Bad(f"{{admin: {{jumpHost: {JUMP}}}}}", "admin.jumpHost", "dialled directly", RM, SANDBOX),
    Bad("{admin: {jumpHost: {address: x, hostKey: RELAY-KEY}}}", "admin.jumpHost", "is the relay itself", RM),
    Bad(
        "{intermediate: {existing: {jumpHost: {address: RELAY.example.com, hostKey: ADMIN-KEY}}}}",
        AT, "whose sshd forwards nothing", f"{RM} --path 'lastcopy:{AT}'",
    ),
    Bad("{sources: [{host: {jumpHost: {address: x, hostKey: WEB-KEY}}}]}", f"{S0}.host.jumpHost", "the very host", RM),
    Bad("{admin: {jumpHost: {address: x, hostKey: WEB-KEY}}}", f"{S0}.host.jumpHost", "is this very host", "none --stack prod"),
    Bad(
        f"{{intermediate: {{existing: {{address: localhost, sourcesReachItAt: a.example.com, jumpHost: {JUMP}}}}}}}",
        AT, "would be the jump host's own", RM,
    ),
)
