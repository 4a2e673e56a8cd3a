"""Invalid configurations: a fragment that is merged into a good stack, the one problem that it must cause, and the fix that must be given.

Each entry: YAML fragment | where | words of what is wrong or allowed | words of the fix.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.unit.settings.support import GOOD, SANDBOX, locked_private_key

SET, SET_SECRET, RM = "pulumi config set", "pulumi config set --path --secret", "pulumi config rm"
PEM = locked_private_key().replace("\n", "\\n")  # as it is in a quoted YAML text
RCLONE = """
environment: prod
admin: {agent: true}
intermediate: {existing: {address: relay.example.com, hostKey: RELAY-KEY}}
storage:
  rclone: {section: "type = b2\\naccount = 12", path: backups, egress: ["api.example.com:443"], withoutObjectLock: accepted}
sources: [{name: web1, host: {address: web1.example.com, hostKey: WEB-KEY}, paths: [/srv]}]
"""


@dataclass(frozen=True)
class Bad:
    yaml: str
    where: str
    words: str
    fix: str
    base: str = GOOD


# fmt: off
TOP = (
    Bad("{environment: REMOVED}", "environment", "is missing", f"{SET} lastcopy:environment prod --stack prod"),
    Bad("{environment: Prod}", "environment", '"Prod" is not of the allowed form', f"{SET} lastcopy:environment"),
    Bad("{environment: 12}", "environment", "is not text", f"{SET} lastcopy:environment"),
    Bad('{environment: "prod\\n"}', "environment", "1 to 31 of a-z 0-9 -", f"{SET} lastcopy:environment"),
    Bad('{protect: "yes"}', "protect", "is not true or false", f"{SET} lastcopy:protect true"),
    Bad("{proetct: false}", "proetct", 'did you mean "protect"', f"{RM} lastcopy:proetct"),
    Bad("{intermediate: REMOVED}", "intermediate", "is missing", "lastcopy:intermediate:\n    existing:\n"),
    Bad("{intermediate: relay}", "intermediate", "is not a map", "address: relay.example.com"),
    Bad("{storage: {s3: REMOVED}}", "storage", "has none of s3, aws, rclone, sandbox", "endpoint: https://"),
    Bad("{storage: {gcs: {}, s3: REMOVED}}", "storage.gcs", "the keys s3, aws, rclone, sandbox", f"{RM} --path"),
    Bad("{sources: []}", "sources", "is empty", "- name: web1"),
    Bad("{sources: web1}", "sources", "is not a list", "lastcopy:sources:"),
    Bad("{sources: [web1]}", "sources[0]", "is not a map", "- # entry 1\n      name: web1"),
    Bad("{sources: REMOVED}", "sources", "is missing", "paths:"),
)

ADMIN = (
    Bad("{admin: REMOVED}", "admin", "none of privateKeyFile, privateKey, agent", "privateKeyFile: ~/.ssh"),
    Bad("{admin: {agent: true}}", "admin", "privateKeyFile and agent", f"{RM} --path 'lastcopy:admin.agent'"),
    Bad("{admin: {user: 'root -oX'}}", "admin.user", "a Unix account", f"{SET} --path 'lastcopy:admin.user' admin"),
    Bad("{admin: {user: bk-web1}}", "admin.user", "bk- belong to the sources", f"{SET} --path"),
    Bad("{admin: {privateKeyFile: id_ed25519}}", "admin.privateKeyFile", "begins with / or ~/", "~/.ssh/backup-admin"),
    Bad("{admin: {privateKeyFile: ~/.ssh/a.pub}}", "admin.privateKeyFile", "public half", "'~/.ssh/a' --stack prod"),
    Bad(f'{{admin: {{privateKeyFile: "{PEM}"}}}}', "admin.privateKeyFile", "a private key itself", RM),
    Bad(
        "{admin: {privateKeyFile: REMOVED, privateKey: SOURCE-KEY}}",
        "admin.privateKey", "is a public key", f"{SET_SECRET} 'lastcopy:admin.privateKey' --stack prod",
    ),
    Bad(f'{{admin: {{privateKeyFile: REMOVED, privateKey: "{PEM}"}}}}', "admin.privateKey", "passphrase", SET_SECRET),
    Bad("{admin: {agentKeys: [ADMIN-KEY]}}", "admin.agentKeys", "not used without agent", RM),
    Bad("{admin: {agentKeys: [CUT-KEY], agent: true, privateKeyFile: REMOVED}}", "admin.agentKeys[0]", "is cut off", SET),
    Bad("{admin: {secondFactor: sms}}", "admin.secondFactor", "none, fido2 or totp", f"{SET} --path"),
)

A0 = "admin.people[0]"
TUNNEL = "intermediate: {existing: {address: localhost, sourcesReachItAt: relay.example.com}}"


def alice(more: str = "", key: str = "ADMIN-KEY") -> str:
    """A stack with alice; ``more`` ends in a comma and is written before her."""
    return f"{{{TUNNEL}, admin: {{{more} people: [{{name: alice, publicKeys: [{key}]}}]}}}}"


PEOPLE = (
    Bad("{admin: {people: alice}}", "admin.people", "is not a list", "- name: alice"),
    Bad("{admin: {people: [alice]}}", A0, "is not a map", "- # entry 1\n        name: alice"),
    Bad("{admin: {people: [{publicKeys: [ADMIN-KEY]}]}}", f"{A0}.name", "is missing", "alice --stack"),
    Bad("{admin: {people: [{name: Alice, publicKeys: [ADMIN-KEY]}]}}", f"{A0}.name", "1 to 23 of a-z", "alice --stack"),
    Bad('{admin: {people: [{name: "al\\nroot", publicKeys: [ADMIN-KEY]}]}}', f"{A0}.name", "beginning with a letter", SET),
    Bad("{admin: {people: [{name: bk-web1, publicKeys: [ADMIN-KEY]}]}}", f"{A0}.name", "not bk-", SET),
    Bad("{admin: {people: [{name: root, publicKeys: [ADMIN-KEY]}]}}", f"{A0}.name", "another account", SET),
    Bad("{admin: {people: [{name: admin, publicKeys: [ADMIN-KEY]}]}}", f"{A0}.name", "is the admin's user", SET),
    Bad("{admin: {user: debian, people: [{name: debian, publicKeys: [ADMIN-KEY]}]}}", f"{A0}.name", "is the admin's user", SET),
    Bad(
        "{admin: {people: [{name: bob, publicKeys: [ADMIN-KEY]}, {name: bob, publicKeys: [SECURITY-KEY]}]}}",
        "admin.people[1].name", "twice", SET,
    ),
    Bad("{admin: {people: [{name: bob}]}}", f"{A0}.publicKeys", "is missing", "publicKeys[0]' 'sk-ssh"),
    Bad("{admin: {people: [{name: bob, publicKeys: []}]}}", f"{A0}.publicKeys", "is empty", "ssh-keygen -t ed25519-sk"),
    Bad("{admin: {people: [{name: bob, publicKeys: ADMIN-KEY}]}}", f"{A0}.publicKeys", "is not a list", SET),
    Bad("{admin: {people: [{name: bob, publicKeys: [CUT-KEY]}]}}", f"{A0}.publicKeys[0]", "is cut off", "ed25519-sk"),
    Bad("{admin: {people: [{name: bob, publicKeys: ['ssh-rsa AAAA']}]}}", f"{A0}.publicKeys[0]", "not of an allowed kind", SET),
    Bad("{admin: {people: [{name: bob, publicKeys: ['from=\"*\" ADMIN-KEY']}]}}", f"{A0}.publicKeys[0]", "words before", SET),
    Bad("{admin: {people: [{name: bob, publicKeys: [ADMIN-KEY a b]}]}}", f"{A0}.publicKeys[0]", "not one plain word", SET),
    Bad("{admin: {people: [{name: bob, publicKeys: [ADMIN-KEY, ADMIN-KEY b]}]}}", f"{A0}.publicKeys[1]", "twice", RM),
    Bad(
        "{admin: {people: [{name: al, publicKeys: [ADMIN-KEY]}, {name: bob, publicKeys: [ADMIN-KEY]}]}}",
        "admin.people[1].publicKeys[0]", "twice", RM,
    ),
    Bad(alice("secondFactor: fido2,"), f"{A0}.publicKeys[0]", "not the key of a security key", "-O verify-required"),
    Bad(f"{{{TUNNEL}, admin: {{secondFactor: fido2}}}}", "admin.people", "nobody could show", "publicKeys:"),
    Bad(f"{{{TUNNEL}, admin: {{secondFactor: totp, people: []}}}}", "admin.people", "nobody could show", "publicKeys:"),
    Bad(alice("secondFactor: totp,"), f"{A0}.totpSecret", "could never log in", "head -c 20 /dev/urandom | base32"),
    Bad(
        f"{{{TUNNEL}, admin: {{secondFactor: totp, people: [{{name: al, publicKeys: [ADMIN-KEY], totpSecret: TOTP-SECRET}},"
        " {name: bob, publicKeys: [SECURITY-KEY], totpSecret: totp-secret}]}}",
        "admin.people[1].totpSecret", "twice", SET_SECRET,
    ),
    Bad(
        "{admin: {people: [{name: al, publicKeys: [ADMIN-KEY], totpSecret: TOTP-SECRET}]}}",
        f"{A0}.totpSecret", "not used with secondFactor none", f"{RM} --path 'lastcopy:{A0}.totpSecret'",
    ),
    Bad(
        f"{{{TUNNEL}, admin: {{secondFactor: fido2, people: [{{name: al, publicKeys: [SECURITY-KEY], totpSecret: TOTP-SECRET}}]}}}}",
        f"{A0}.totpSecret", "not used with secondFactor fido2", RM,
    ),
    *(
        Bad(
            f"{{{TUNNEL}, admin: {{secondFactor: totp, people: [{{name: al, publicKeys: [ADMIN-KEY], totpSecret: {secret}}}]}}}}",
            f"{A0}.totpSecret", words, f"{SET_SECRET} 'lastcopy:{A0}.totpSecret'",
        )
        for secret, words in (
            ("JBSWY3DPEHPK3PXP", "right size"),  # 10 bytes, as many examples have it
            ("JBSWY3DPEHPK3PXPJBSWY3DP01", "right size"),
            ("'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'", "could be guessed"),
            ("12345678901234567890123456", "is not text"),
        )
    ),
    Bad("{admin: {additionalKeys: [ADMIN-KEY]}}", "admin.additionalKeys", "is not a setting", RM),
    Bad(
        "{admin: {secondFactor: fido2, people: [{name: al, publicKeys: [SECURITY-KEY]}]}}",
        "intermediate.existing", "is dialled directly", "ssh -N -L 2222:127.0.0.1:22 PERSON@relay.example.com",
    ),
    Bad(
        "{admin: {secondFactor: fido2, people: [{name: al, publicKeys: [SECURITY-KEY]}]}}",
        "admin.secondFactor", "the sandbox's relay is dialled directly", RM, SANDBOX,
    ),
)

RELAY = (
    Bad("{intermediate: {existing: {directory: [ldap.example.com:636]}}}", "intermediate.existing.directory[0]", "is a name", "10.0.0.3:636"),
    Bad("{intermediate: {existing: {vpnPorts: [70000]}}}", "intermediate.existing.vpnPorts[0]", "must be at most 65535", SET),
    Bad("{intermediate: {existing: {directory: [10.0.0.3]}}}", "intermediate.existing.directory[0]", "not an address with a port", SET),
    Bad(
        "{intermediate: {existing: {address: -oProxyCommand=reboot}}}",
        "intermediate.existing.address", "is not a host name or an IP address", "relay.example.com",
    ),
    Bad("{intermediate: {existing: {address: 'a b'}}}", "intermediate.existing.address", "without user, port", SET),
    Bad('{intermediate: {existing: {address: "a\\nb"}}}', "intermediate.existing.address", "(3 characters; character 2 is U+000A) is not", SET),
    Bad("{intermediate: {existing: {address: 10.0.0.256}}}", "intermediate.existing.address", "10.0.0.256", SET),
    Bad("{intermediate: {existing: {address: 0.0.0.0}}}", "intermediate.existing.address", "of one host", SET),
    Bad("{intermediate: {existing: {address: müller.de}}}", "intermediate.existing.address", "xn--", SET),
    Bad("{intermediate: {existing: {port: 70000}}}", "intermediate.existing.port", "must be at most 65535", "22 --stack"),
    Bad("{intermediate: {existing: {port: '22'}}}", "intermediate.existing.port", "quotes make text", "22 --stack"),
    Bad("{intermediate: {existing: {port: true}}}", "intermediate.existing.port", "not a whole number", SET),
    Bad("{intermediate: {existing: {port: 2022}}}", "intermediate.existing.sshPort", "port 2022 is dialled", "sshPort' 2022 --stack"),
    Bad(
        "{intermediate: {existing: {address: '::1', port: 2222, sourcesReachItAt: relay.example.com}}}",
        "intermediate.existing.sshPort", "a tunnel or a port mapping", "sshPort' 22 --stack",
    ),
    Bad("{intermediate: {existing: {sshPort: 0}}}", "intermediate.existing.sshPort", "must be at least 1", "22 --stack"),
    Bad("{intermediate: {existing: {sshPort: '22'}}}", "intermediate.existing.sshPort", "quotes make text", "22 --stack"),
    Bad("{intermediate: {existing: {address: 127.0.0.1}}}", "intermediate.existing.sourcesReachItAt", "no source can dial", "10.0.0.5:22"),
    Bad("{intermediate: {existing: {hostKey: REMOVED}}}", "intermediate.existing.hostKey", "is missing", "ssh-keyscan -t ed25519 HOST"),
    Bad("{intermediate: {existing: {hostKey: 'relay RELAY-KEY'}}}", "intermediate.existing.hostKey", "has words before the key", "without the host's name"),
    Bad("{intermediate: {existing: {hostKey: ssh-ed25519 AAAA…}}}", "intermediate.existing.hostKey", "template's placeholder", "ssh-keyscan"),
    Bad("{intermediate: {existing: {hostKey: CUT-KEY}}}", "intermediate.existing.hostKey", "cut off", "ssh-keyscan"),
    Bad('{intermediate: {existing: {hostKey: "RELAY-KEY\\nWEB-KEY"}}}', "intermediate.existing.hostKey", "not exactly one line", "console"),
    Bad(f'{{intermediate: {{existing: {{hostKey: "{PEM}"}}}}}}', "intermediate.existing.hostKey", "is a private key", "make a new key pair"),
    Bad("{intermediate: {existing: {sourcesReachItAt: 'host:0'}}}", "intermediate.existing.sourcesReachItAt", "is not an address with a port", "10.0.0.5:22"),
    Bad("{intermediate: {existing: {sourcesReachItAt: '2001:db8::1:22x'}}}", "intermediate.existing.sourcesReachItAt", "[IPv6]:port", SET),
)

STORAGE = (
    Bad("{storage: {s3: {endpoint: 'http://s3.example.com'}}}", "storage.s3.endpoint", "not encrypted", "https://"),
    Bad("{storage: {s3: {endpoint: s3.example.com}}}", "storage.s3.endpoint", "a plain https address", "https://"),
    Bad("{storage: {s3: {endpoint: 'https://a:b@s3.example.com'}}}", "storage.s3.endpoint", "without user", SET),
    Bad("{storage: {s3: {endpoint: 'https://s3.example.com/path'}}}", "storage.s3.endpoint", "path", SET),
    Bad("{storage: {s3: {region: REMOVED}}}", "storage.s3.region", "is missing", "us-east-1 --stack prod"),
    Bad("{storage: {s3: {region: 'us east'}}}", "storage.s3.region", "not of the allowed form", SET),
    Bad("{storage: {s3: {endpoint: 'https://s3.eu-central-1.amazonaws.com'}}}", "storage.s3.region", "endpoint of region eu-central-1", "eu-central-1 --stack"),
    Bad("{storage: {s3: {endpoint: 'https://s3.amazonaws.com', region: eu-west-1}}}", "storage.s3.region", "endpoint of region us-east-1", "us-east-1 --stack"),
    Bad("{storage: {s3: {bucket: My_Bucket}}}", "storage.s3.bucket", "3 to 63 of a-z", "example-backups"),
    Bad("{storage: {s3: {bucket: 192.0.2.1}}}", "storage.s3.bucket", "a bucket name that S3 allows", SET),
    Bad("{storage: {s3: {bucket: a..b}}}", "storage.s3.bucket", "a bucket name that S3 allows", SET),
    Bad("{storage: {s3: {prefix: /hosts}}}", "storage.s3.prefix", "without a leading slash", RM),
    Bad("{storage: {s3: {prefix: a/../b}}}", "storage.s3.prefix", "plain path inside the storage", RM),
    Bad("{storage: {s3: {provider: minio}}}", "storage.s3.provider", "Minio, Versity", "Other --stack prod"),
    Bad("{storage: {s3: {provider: Cloudflare}}}", "storage.s3.provider", "(rows R1, R2, R3 of docs/threat-model.md)", "Other --stack prod"),
    Bad("{storage: {s3: {provider: Google}}}", "storage.s3.provider", "(rows R1, R2 of docs/threat-model.md)", "Other --stack prod"),
    Bad("{storage: {s3: {caCertificate: none}}}", "storage.s3.caCertificate", "PEM form", "--stack prod < ca.pem"),
    Bad(f'{{storage: {{s3: {{caCertificate: "{PEM}"}}}}}}', "storage.s3.caCertificate", "holds a private key", RM),
    Bad("{storage: {s3: {lock: {mode: compliance}}}}", "storage.s3.lock.mode", "COMPLIANCE or GOVERNANCE", SET),
    Bad("{storage: {s3: {lock: {minimumDays: 0}}}}", "storage.s3.lock.minimumDays", "must be at least 1", "30 --stack prod"),
    Bad("{storage: {s3: {acceptedLosses: [R3]}}}", "storage.s3.acceptedLosses[0]", "R1, R2, R4 or S5", SET),
    Bad("{storage: {s3: {lock: {days: 30}}}}", "storage.s3.lock.days", "the keys mode, minimumDays", RM),
    Bad("{storage: {rclone: REMOVED, s3: {identity: {accessKeyId: abc}}}}", "storage.s3.identity.secretAccessKey", "missing", SET_SECRET),
    Bad("{storage: {rclone: {withoutObjectLock: REMOVED}}}", "storage.rclone.withoutObjectLock", "missing", "accepted", RCLONE),
    Bad("{storage: {rclone: {withoutObjectLock: true}}}", "storage.rclone.withoutObjectLock", "words allowed", "accepted", RCLONE),
    Bad("{storage: {rclone: {section: REMOVED}}}", "storage.rclone.section", "is missing", SET_SECRET, RCLONE),
    Bad("{storage: {rclone: {section: 'account = x'}}}", "storage.rclone.section", "no `type", "--stack prod < section.conf", RCLONE),
    Bad('{storage: {rclone: {section: "[b]\\ntype = b2"}}}', "storage.rclone.section", "header in line 1", SET_SECRET, RCLONE),
    Bad('{storage: {rclone: {section: "type = b2\\nkey"}}}', "storage.rclone.section", "not `key = value` in line 2", SET_SECRET, RCLONE),
    Bad('{storage: {rclone: {section: "type = b2\\ntype = s3"}}}', "storage.rclone.section", "one key twice", SET_SECRET, RCLONE),
    Bad("{storage: {rclone: {section: 'type = crypt'}}}", "storage.rclone.section", "wraps another remote", SET_SECRET, RCLONE),
    Bad("{storage: {rclone: {section: 'type = local'}}}", "storage.rclone.section", "relay's own disk", SET_SECRET, RCLONE),
    Bad("{storage: {rclone: {section: {type: b2}}}}", "storage.rclone.section", "is not text", SET_SECRET, RCLONE),
    Bad("{storage: {rclone: {egress: []}}}", "storage.rclone.egress", "is empty", "egress[0]' storage.example.com:443", RCLONE),
    Bad("{storage: {rclone: {egress: [api.example.com]}}}", "storage.rclone.egress[0]", "address with a port", SET, RCLONE),
    Bad("{storage: {rclone: {egress: ['169.254.169.254:80']}}}", "storage.rclone.egress[0]", "of one host", SET, RCLONE),
    Bad("{storage: {rclone: {path: '/'}}}", "storage.rclone.path", "is empty", "backups --stack", RCLONE),
    Bad("{storage: {sandbox: {lockDays: 99}}}", "storage.sandbox.lockDays", "must be at most 30", "1 --stack", SANDBOX),
)
