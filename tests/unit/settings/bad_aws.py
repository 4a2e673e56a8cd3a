"""Invalid configurations of a stack on AWS. See bad.py for the form."""

from __future__ import annotations

from tests.unit.settings.bad import RM, SET, Bad
from tests.unit.settings.support import GOOD

AWS = """
environment: prod
admin: {privateKeyFile: ~/.ssh/backup-admin}
aws: {region: eu-central-1, account: "123456789012"}
intermediate: {ec2: {adminPublicKey: ADMIN-KEY, adminsFrom: [203.0.113.0/24], sourcesFrom: [198.51.100.0/24]}}
storage: {aws: {bucket: example-backups-prod, breakGlass: "arn:aws:iam::123456789012:role/break-glass"}}
sources:
  - {name: web1, host: {address: web1.example.com, hostKey: WEB-KEY}, paths: [/srv]}
  - {name: cut1, publicKey: SOURCE-KEY, paths: [/srv]}
"""
TEST = """
environment: test
protect: false
admin: {privateKeyFile: ~/.ssh/backup-admin}
aws: {region: eu-central-1, account: "123456789012", assumeRole: "arn:aws:iam::123456789012:role/break-glass"}
intermediate: {existing: {address: relay.example.com, hostKey: RELAY-KEY}}
storage:
  aws:
    bucket: example-backups-test
    breakGlass: arn:aws:iam::123456789012:role/break-glass
    purpose: test
    lock: {mode: GOVERNANCE, days: 1}
sources: [{name: web1, host: {address: web1.example.com, hostKey: WEB-KEY}, paths: [/srv]}]
"""
V, E = "storage.aws", "intermediate.ec2"
OTHER = "210987654321"
KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"


def vault(more: str) -> str:
    return f"{{storage: {{aws: {{{more}}}}}}}"


def vm(more: str) -> str:
    return f"{{intermediate: {{ec2: {{{more}}}}}}}"


def aws(yaml: str, where: str, words: str, fix: str, base: str = AWS) -> Bad:
    return Bad(yaml, where, words, fix, base)


# fmt: off
ACCOUNT = (
    aws("{aws: REMOVED}", "aws", "intermediate.ec2 and storage.aws are in AWS", "region: eu-central-1"),
    aws(
        "{intermediate: {existing: {address: relay.example.com, hostKey: RELAY-KEY}, ec2: REMOVED}, aws: REMOVED}",
        "aws", "but storage.aws is in AWS", "account:",
    ),
    aws("{aws: aws}", "aws", "is not a map", "region: eu-central-1"),
    Bad("{aws: {region: eu-central-1, account: '123456789012'}}", "aws", "nothing of this stack is made in AWS", f"{RM} lastcopy:aws --stack", GOOD),
    aws("{aws: {region: REMOVED}}", "aws.region", "is missing", "eu-central-1 --stack prod"),
    aws("{aws: {region: Frankfurt}}", "aws.region", "a region of AWS", SET),
    aws("{aws: {region: eu-central-1a}}", "aws.region", "a region of AWS", SET),
    aws("{aws: {region: cn-north-1}}", "aws.region", "another partition", SET),
    aws("{aws: {region: us-gov-west-1}}", "aws.region", "another partition", SET),
    aws("{aws: {account: REMOVED}}", "aws.account", "is missing", "123456789012 --stack prod"),
    aws("{aws: {account: 12345678901}}", "aws.account", "12 digits", SET),
    aws("{aws: {account: '1234-5678-9012'}}", "aws.account", "12 digits", SET),
    aws("{aws: {account: true}}", "aws.account", "is not text", SET),
    aws("{aws: {profile: 'a b'}}", "aws.profile", "the name of a profile", "backup --stack"),
    aws("{aws: {assumeRole: deploy}}", "aws.assumeRole", "is not the ARN of a role", "role/deploy --stack"),
    aws("{aws: {assumeRole: 'arn:aws:iam::123456789012:user/deploy'}}", "aws.assumeRole", "is not the ARN of a role", SET),
    aws(f"{{aws: {{assumeRole: 'arn:aws:iam::{OTHER}:role/deploy'}}}}", "aws.assumeRole", f"is of account {OTHER}", "123456789012:role/deploy"),
    aws("{aws: {accessKey: x}}", "aws.accessKey", "is not a setting", RM),
)
VAULT = (
    aws(vault("bucket: REMOVED"), f"{V}.bucket", "is missing", "example-backups-prod --stack"),
    aws(vault("bucket: My_Bucket"), f"{V}.bucket", "3 to 63 of a-z", SET),
    aws(vault("bucket: ab"), f"{V}.bucket", "3 to 63 of a-z", SET),
    aws(vault("bucket: backups-s3alias"), f"{V}.bucket", "a bucket name that S3 allows", SET),
    aws(vault("bucket: backups.example.com"), f"{V}.bucket", "holds a dot", SET),
    aws(vault("origin: existing"), f"{V}.origin", "new or adopted", SET),
    aws(vault("prefix: /hosts"), f"{V}.prefix", "without a leading slash", RM),
    aws(vault("prefix: offsite/locks"), f"{V}.prefix", "no backup would be safe", "hosts --stack"),
    aws(vault(f"prefix: {'p' * 41}"), f"{V}.prefix", "has 41 characters", "hosts --stack"),
    aws("{sources: [{name: locks}]}", "sources[0].name", "no backup would be safe", "locks1 --stack"),
    aws(vault("lock: {mode: compliance}"), f"{V}.lock.mode", "COMPLIANCE or GOVERNANCE", SET),
    aws(vault("lock: {days: 0}"), f"{V}.lock.days", "must be at least 1", "30 --stack"),
    aws(vault("lock: {days: '30'}"), f"{V}.lock.days", "quotes make text", SET),
    aws(vault("lock: {minimumDays: 30}"), f"{V}.lock.minimumDays", "the keys mode, days, maximumDays", RM),
    aws(vault("lock: {days: 30, maximumDays: 29}"), f"{V}.lock.maximumDays", "29 is below lock.days, 30", "30 --stack"),
    aws(vault("lock: {maximumDays: 29}"), f"{V}.lock.maximumDays", "29 is below lock.days, 30", "30 --stack"),
    aws(vault("lock: {maximumDays: 0}"), f"{V}.lock.maximumDays", "must be at least 1", "60 --stack"),
    aws(vault("breakGlass: REMOVED"), f"{V}.breakGlass", "is missing", "role/break-glass --stack"),
    aws(vault("breakGlass: 'arn:aws:iam::123456789012:root'"), f"{V}.breakGlass", "is not the ARN of a role", SET),
    aws(vault("breakGlass: 'arn:aws:iam::123456789012:role/*'"), f"{V}.breakGlass", "is not the ARN of a role", SET),
    aws(vault("breakGlass: 'arn:aws:iam::123456789012:role/'"), f"{V}.breakGlass", "is not the ARN of a role", SET),
    aws(vault(f"breakGlass: 'arn:aws:iam::{OTHER}:role/break-glass'"), f"{V}.breakGlass", f"is of account {OTHER}", "123456789012:role/break-glass"),
    aws(vault("kmsKey: alias/backups"), f"{V}.kmsKey", "not an alias", SET),
    aws(vault(f"kmsKey: 'arn:aws:kms:eu-central-1:{OTHER}:key/{KEY}'"), f"{V}.kmsKey", f"is of account {OTHER}", "123456789012:key"),
    aws(vault(f"kmsKey: 'arn:aws:kms:us-east-1:123456789012:key/{KEY}'"), f"{V}.kmsKey", "is of region us-east-1", "name one of that region"),
    aws(vault("storageClasses: [{afterDays: 30, class: DEEP_ARCHIVE}]"), f"{V}.storageClasses[0].class", "STANDARD_IA or GLACIER_IR", SET),
    aws(vault("storageClasses: [{afterDays: 30, class: GLACIER}]"), f"{V}.storageClasses[0].class", "STANDARD_IA or GLACIER_IR", SET),
    aws(vault("storageClasses: [{class: GLACIER_IR}]"), f"{V}.storageClasses[0].afterDays", "is missing", SET),
    aws(vault("storageClasses: [{afterDays: 29, class: STANDARD_IA}]"), f"{V}.storageClasses[0].afterDays", "29 is too early", "30 --stack"),
    aws(vault("storageClasses: [{afterDays: 40, class: GLACIER_IR}, {afterDays: 90, class: GLACIER_IR}]"), f"{V}.storageClasses[1]", "twice", RM),
    aws(vault("storageClasses: [{afterDays: 30, class: STANDARD_IA}, {afterDays: 59, class: GLACIER_IR}]"), f"{V}.storageClasses", "30 days between", RM),
    aws(vault("storageClasses: [{afterDays: 60, class: STANDARD_IA}, {afterDays: 30, class: GLACIER_IR}]"), f"{V}.storageClasses", "30 days between", RM),
    aws(vault("purpose: prod"), f"{V}.purpose", "production or test", SET),
    aws(vault("alarms: {}"), f"{V}.alarms", "nobody would be notified", "email: ops@example.com"),
    aws(vault("alarms: {email: a@example.com, topic: 'arn:aws:sns:eu-central-1:123456789012:ops'}"), f"{V}.alarms", "exclude each other", RM),
    aws(vault("alarms: {email: 'Ops <ops@example.com>'}"), f"{V}.alarms.email", "one e-mail address", SET),
    aws(vault("alarms: {topic: ops}"), f"{V}.alarms.topic", "is not the ARN of an SNS topic", SET),
    aws(vault("alarms: {topic: 'arn:aws:sns:us-east-1:123456789012:ops'}"), f"{V}.alarms.topic", "is of region us-east-1", SET),
    aws(vault("alarms: {email: ops@example.com, silentHours: 169}"), f"{V}.alarms.silentHours", "must be at most 168", "28 --stack"),
    aws(vault("alarms: {email: ops@example.com, growthGiBPerDay: 0}"), f"{V}.alarms.growthGiBPerDay", "must be at least 1", "100 --stack"),
    aws(vault("identity: {}"), f"{V}.identity", "is not a setting", RM),
)
PURPOSE = (
    aws("{protect: false}", "protect", "purpose is production", "lastcopy:protect true"),
    aws("{protect: true}", "protect", "purpose is test", "lastcopy:protect false", TEST),
    aws(vault("lock: {mode: REMOVED}"), f"{V}.lock.mode", "nobody lifts", "GOVERNANCE --stack", TEST),
    aws(vault("lock: {days: 8}"), f"{V}.lock.days", "is 8, but", "7 --stack", TEST),
    aws(vault("lock: {days: REMOVED}"), f"{V}.lock.days", "is 30, but", "7 --stack", TEST),
    aws(vault("origin: adopted"), f"{V}.origin", "never destroyed", "new --stack", TEST),
    aws(vault("alarms: {email: ops@example.com}"), f"{V}.lock.days", "silence is reported after 28 hours", "2 --stack", TEST),
    aws("{sources: [{limits: {hours: 25}}]}", "sources[0].limits.hours", "longer than the lock of 1 day", "24 --stack", TEST),
    aws(vault("lock: {days: 6}") [:-1] + ", sources: [{limits: {hours: 168}}]}", "sources[0].limits.hours", "at most 144", "144 --stack"),
)
MACHINE = (
    aws(vm("adminPublicKey: REMOVED"), f"{E}.adminPublicKey", "is missing", "ssh-keygen -t ed25519"),
    aws(vm("adminPublicKey: SECURITY-KEY"), f"{E}.adminPublicKey", "not of an allowed kind", SET),
    aws(vm("instanceType: small"), f"{E}.instanceType", "FAMILY.SIZE", "t4g.small --stack"),
    aws(vm("instanceType: mac2.metal"), f"{E}.instanceType", "cannot run Debian", SET),
    aws(vm("ami: debian-13"), f"{E}.ami", "ami- and 8 or 17", SET),
    aws(vm("diskGiB: 4"), f"{E}.diskGiB", "must be at least 8", "16 --stack"),
    aws(vm("generation: 0"), f"{E}.generation", "must be at least 1", "1 --stack"),
    aws(vm("network: 10.77.0.1/24"), f"{E}.network", "without host bits", "10.77.0.0/24 --stack"),
    aws(vm("network: 10.0.0.0/8"), f"{E}.network", "of the right size", SET),
    aws(vm("network: 8.8.8.0/24"), f"{E}.network", "is not a private IPv4 network", SET),
    aws(vm("network: 'fd00::/64'"), f"{E}.network", "is not a private IPv4 network", SET),
    aws(vm("subnet: vpc-01234567"), f"{E}.subnet", "subnet- and 8 or 17", SET),
    aws(vm("network: 10.77.0.0/24, subnet: subnet-01234567"), E, "network and subnet", f"{RM} --path 'lastcopy:{E}.subnet'"),
    aws(vm("adminsFrom: REMOVED"), f"{E}.adminsFrom", "no operator could log in", "adminsFrom[0]' 203.0.113.0/24"),
    aws(vm("adminsFrom: []"), f"{E}.adminsFrom", "no operator could log in", "adminsFrom[0]'"),
    aws(vm("adminsFrom: 203.0.113.0/24"), f"{E}.adminsFrom", "is not a list", SET),
    aws(vm("adminsFrom: [203.0.113.7/24]"), f"{E}.adminsFrom[0]", "has host bits", "203.0.113.0/24 --stack"),
    aws(vm("adminsFrom: ['2001:db8::/32']"), f"{E}.adminsFrom[0]", "is IPv6", SET),
    aws(vm("adminsFrom: [office]"), f"{E}.adminsFrom[0]", "is not a network", SET),
    aws(vm("adminsFrom: [203.0.113.0/33]"), f"{E}.adminsFrom[0]", "is not a network", SET),
    aws(vm("door: ssm"), f"{E}.adminsFrom", "is not used with door ssm", RM),
    aws(vm("door: telnet"), f"{E}.door", "ssh or ssm", SET),
    aws(vm("sourcesFrom: REMOVED"), f"{E}.sourcesFrom", "is missing", "sourcesFrom[0]'"),
    aws(vm("sourcesFrom: []"), f"{E}.sourcesFrom", "is empty", "sourcesFrom[0]'"),
    aws(vm("sourcesFrom: [0.0.0.0/0]"), f"{E}.openToAllBecause", "0.0.0.0/0 in sourcesFrom lets everybody", SET),
    aws(vm("sourcesFrom: [0.0.0.0/1, 128.0.0.0/1]"), f"{E}.openToAllBecause", "128.0.0.0/1 in sourcesFrom", SET),
    aws(vm("adminsFrom: [0.0.0.0/0]"), f"{E}.openToAllBecause", "0.0.0.0/0 in adminsFrom", SET),
    aws(vm("sourcesFrom: [0.0.0.0/0], openToAllBecause: 'yes'"), f"{E}.openToAllBecause", "10 to 200", SET),
    aws(vm("openToAllBecause: sources roam the world"), f"{E}.openToAllBecause", "gives a reason, but no network", RM),
    aws(vm("alarmEmail: ops"), f"{E}.alarmEmail", "one e-mail address", SET),
    aws("{admin: {user: debian}}", "admin.user", "not the account of Debian's images", "admin --stack"),
    aws("{admin: REMOVED}", "admin", "none of privateKeyFile, privateKey, agent", "privateKeyFile: ~/.ssh"),
    aws("{sources: [{}, {publicKey: ADMIN-KEY}]}", "sources[1].publicKey", "is root of the relay", "ssh-keygen"),
    aws("{admin: {people: [{name: bob, publicKeys: [ADMIN-KEY]}]}}", "admin.people[0].publicKeys[0]", "is root of the relay", SET),
    aws(
        "{admin: {secondFactor: fido2, people: [{name: al, publicKeys: [SECURITY-KEY]}]}}",
        f"{E}.door", "is dialled directly", f"{SET} --path 'lastcopy:{E}.door' ssm",
    ),
    aws("{storage: {aws: REMOVED, sandbox: {}}}", "storage", "is in the sandbox, but the relay is not", RM),
    aws("{sources: [{host: REMOVED, sandbox: {}}]}", "sources[0]", "is in the sandbox, but the relay is not", RM),
)
IDENTITY = (
    Bad("{sources: [{identityGeneration: 2}]}", "sources[0].identityGeneration", "only with storage.aws", RM),
    aws("{sources: [{identityGeneration: 0}]}", "sources[0].identityGeneration", "must be at least 1", "1 --stack"),
    aws(
        "{sources: [{identityGeneration: 2, identity: {accessKeyId: EXAMPLE-WEB1, secretAccessKey: kW8-web1-secret-access-key}}]}",
        "sources[0].identityGeneration", "was made elsewhere", RM,
    ),
)
EVERY = (*ACCOUNT, *VAULT, *PURPOSE, *MACHINE, *IDENTITY)
