"""Stack configuration as frozen, typed settings: all rules with their error texts, no resources."""

from components.settings.admin import Admin
from components.settings.aws import AwsAccount
from components.settings.aws_bucket import Alarms, AwsBucket, DefaultRetention, StorageClassMove
from components.settings.ec2 import Ec2Vm
from components.settings.hosts import (
    ExistingHost,
    ManagedHost,
    SandboxSettings,
    SandboxSource,
    SandboxVm,
    UnmanagedSource,
)
from components.settings.jump import JumpHost
from components.settings.load import load_settings, parse_settings
from components.settings.people import Person
from components.settings.problems import Problem, SettingsError
from components.settings.sources import Limits, Restic, Source
from components.settings.stack import Settings
from components.settings.stack_warnings import list_warnings
from components.settings.storage import Identity, ObjectLock, RcloneRemoteSection, S3Bucket, SandboxVault
from components.settings.values import HostPort

__all__ = [
    "Admin",
    "Alarms",
    "AwsAccount",
    "AwsBucket",
    "DefaultRetention",
    "Ec2Vm",
    "ExistingHost",
    "HostPort",
    "Identity",
    "JumpHost",
    "Limits",
    "ManagedHost",
    "ObjectLock",
    "Person",
    "Problem",
    "RcloneRemoteSection",
    "Restic",
    "S3Bucket",
    "SandboxSettings",
    "SandboxSource",
    "SandboxVault",
    "SandboxVm",
    "Settings",
    "SettingsError",
    "Source",
    "StorageClassMove",
    "UnmanagedSource",
    "list_warnings",
    "load_settings",
    "parse_settings",
]
