"""Each kind of stack becomes typed, frozen settings with safe defaults; weaknesses cause warnings."""

from __future__ import annotations

import base64

import pydantic
import pytest

from components.relay.sshd.sshd_config import people_keys
from components.settings import (
    ExistingHost,
    HostPort,
    ManagedHost,
    RcloneRemoteSection,
    S3Bucket,
    SandboxSource,
    SandboxVault,
    SandboxVm,
    Settings,
    UnmanagedSource,
    list_warnings,
)
from tests.unit.settings.bad import RCLONE
from tests.unit.settings.support import KEYS, SANDBOX, certificate, good, parse, private_key, refused, stack


def test_existing_hosts_with_a_bucket() -> None:
    settings = good()
    assert isinstance(settings.intermediate, ExistingHost)
    assert isinstance(settings.storage, S3Bucket)
    assert settings.intermediate.host_key == KEYS["RELAY-KEY"]
    web1 = settings.sources[0]
    assert isinstance(web1.host, ManagedHost)
    assert (web1.host.address, web1.host.port) == ("web1.example.com", 22)
    assert web1.identity is not None
    assert web1.identity.secret_access_key.get_secret_value() == "kW8-web1-secret-access-key"
    assert list_warnings(settings) == ()


def test_rclone_remote() -> None:
    storage = good(base=RCLONE).storage
    assert isinstance(storage, RcloneRemoteSection)
    assert storage.section.get_secret_value() == "type = b2\naccount = 12"
    assert (storage.path, storage.egress) == ("backups", ("api.example.com:443",))


def test_sandbox_needs_no_admin_and_has_its_own_network() -> None:
    settings = good(base=SANDBOX)
    assert isinstance(settings.intermediate, SandboxVm)
    assert settings.storage == SandboxVault()
    assert isinstance(settings.sources[0].host, SandboxSource)
    assert (settings.sandbox.network, settings.sandbox.driver) == ("198.51.100.0/24", "auto")
    assert settings.admin.second_factor == "none"


def test_tools_come_from_their_makers_unless_the_host_has_no_internet_access() -> None:
    relay = "intermediate: {existing: {toolsFrom: workstation}}"
    own = good(f"{{{relay}, sources: [{{}}, {{host: {{toolsFrom: workstation}}}}]}}")
    hosts = [own.intermediate, *(source.host for source in own.sources)]
    found = [host.tools_from for host in hosts if isinstance(host, ExistingHost | ManagedHost)]
    assert found == ["workstation", "makers", "workstation"]
    box = good("{sources: [{sandbox: {debian: 12, toolsFrom: workstation}}]}", SANDBOX)
    assert box.sources[0].host == SandboxSource.model_validate({"debian": 12, "toolsFrom": "workstation"})
    assert box.intermediate == SandboxVm()


def test_a_sandbox_accepts_an_unmanaged_source_and_people() -> None:
    settings = good(
        "{admin: {people: [{name: alice, publicKeys: [SECURITY-KEY alice]}]},"
        " sources: [{}, {name: cut1, publicKey: SOURCE-KEY root@cut1, paths: [/srv]}]}",
        SANDBOX,
    )
    host = settings.sources[1].host
    assert isinstance(host, UnmanagedSource)
    assert host.public_key == KEYS["SOURCE-KEY"], "the comment is dropped"
    assert settings.admin.people[0].public_keys == (f"{KEYS['SECURITY-KEY']} alice",)


TUNNEL = "intermediate: {existing: {address: 127.0.0.1, port: 2222, sshPort: 22, sourcesReachItAt: relay.example.com}}"


def test_security_keys_of_both_kinds_are_accepted_as_a_second_factor() -> None:
    people = "[{name: alice, publicKeys: [SECURITY-KEY]}, {name: bob, publicKeys: [OLD-SECURITY-KEY]}]"
    admin = good(f"{{{TUNNEL}, admin: {{secondFactor: fido2, people: {people}}}}}").admin
    assert [person.name for person in admin.people] == ["alice", "bob"]
    # The relay's step accepts them as well: what is accepted here never fails in the middle of a run.
    keys = people_keys({person.name: person.public_keys for person in admin.people}, "fido2")
    assert "verify-required" in keys["bob"]


@pytest.mark.parametrize("written", ["TOTP-SECRET", "totp-secret", "TOTP-SECRET======"])
def test_a_totp_secret_is_stored_in_the_form_that_the_relay_compares(written: str) -> None:
    people = f"[{{name: alice, publicKeys: [ADMIN-KEY], totpSecret: {written}}}]"
    admin = good(f"{{{TUNNEL}, admin: {{secondFactor: totp, people: {people}}}}}").admin
    secret = admin.people[0].totp_secret
    assert secret is not None
    assert secret.get_secret_value() == KEYS["TOTP-SECRET"]
    assert len(base64.b32decode(secret.get_secret_value())) == 20


def test_the_relays_own_port_differs_from_that_of_a_tunnel() -> None:
    tunnel, direct = good(f"{{{TUNNEL}}}").intermediate, good().intermediate
    moved = good("{intermediate: {existing: {port: 2022, sshPort: 2022}}}").intermediate
    assert isinstance(tunnel, ExistingHost)
    assert (tunnel.port, tunnel.ssh_port, tunnel.as_sources_see_it()) == (
        2222,
        22,
        HostPort("relay.example.com", 22),
    )
    assert isinstance(direct, ExistingHost)
    assert (direct.port, direct.ssh_port) == (22, 22)
    assert isinstance(moved, ExistingHost)
    assert (moved.ssh_port, moved.as_sources_see_it()) == (2022, HostPort("relay.example.com", 2022))


JUMP = "{address: jump.example.com, hostKey: ADMIN-KEY}"


def test_the_admins_jump_host_applies_to_hosts_without_their_own_except_ends_of_tunnels() -> None:
    other = "{address: other.example.com, hostKey: SOURCE-KEY, port: 2022, user: jumper, privateKeyFile: ~/.ssh/jump}"
    settings = good(f"{{admin: {{jumpHost: {JUMP}}}, sources: [{{host: {{jumpHost: {other}}}}}]}}")
    direct = good(f"{{admin: {{jumpHost: {JUMP}}}, sources: [{{host: {{jumpHost: none}}}}]}}")
    tunnelled = good(f"{{admin: {{jumpHost: {JUMP}}}, {TUNNEL}}}")

    def leads(stack: Settings) -> list[str | None]:
        hosts = [stack.intermediate, *(source.host for source in stack.sources)]
        found = [stack.jump_host(host) for host in hosts if isinstance(host, ExistingHost | ManagedHost)]
        return [None if jump is None else jump.address for jump in found]

    assert leads(good()) == [None, None, None]
    assert leads(settings) == ["jump.example.com", "other.example.com", "jump.example.com"]
    assert leads(direct) == ["jump.example.com", None, "jump.example.com"]
    assert leads(tunnelled) == [None, "jump.example.com", "jump.example.com"]
    assert list_warnings(settings) == ()


def test_a_source_as_the_relays_jump_host_causes_a_warning() -> None:
    web1 = "{address: web1.example.com, hostKey: WEB-KEY}"
    (said,) = list_warnings(good(f"{{admin: {{jumpHost: {web1}}}, sources: [{{host: {{jumpHost: none}}}}]}}"))
    assert "web1 is the jump host that leads to the relay" in said
    assert list_warnings(good(f"{{sources: [{{}}, {{host: {{jumpHost: {web1}}}}}]}}")) == ()


def test_the_defaults_are_safe() -> None:
    settings = good()
    assert settings.protect is True
    assert isinstance(settings.storage, S3Bucket)
    assert (settings.storage.lock.mode, settings.storage.lock.minimum_days) == ("COMPLIANCE", 30)
    source = settings.sources[0]
    assert (source.schedule, source.randomized_delay, source.generation) == ("*-*-* 04:00:00", "30m", 1)
    assert source.silent_hours == 28
    assert source.password is None
    limits, restic = source.limits, source.restic
    assert (limits.sessions, limits.processes, limits.memory_mib, limits.open_files, limits.hours) == (
        4,
        256,
        1024,
        1024,
        24,
    )
    assert limits.upload_gib_per_day is None, "nobody knows how large a first backup is"
    assert (restic.pack_size_mib, restic.connections, restic.read_concurrency, restic.compression) == (
        64,
        8,
        2,
        "auto",
    )


def test_default_limits_suffice_for_every_allowed_tuning() -> None:
    settings = good(
        "{sources: [{restic: {connections: 32, packSizeMiB: 128, readConcurrency: 64, compression: max}}]}"
    )
    assert settings.sources[0].restic.connections == 32


@pytest.mark.parametrize("way", ["{privateKeyFile: /home/me/key}", "{agent: true}", "{privateKey: PRIVATE}"])
def test_each_way_to_give_the_admins_key_is_enough(way: str) -> None:
    raw = stack("{admin: REMOVED}")
    raw["admin"] = {"privateKey": private_key()} if "PRIVATE" in way else stack(f"{{x: {way}}}")["x"]
    admin = parse(raw).admin
    ways = (admin.private_key_file, admin.private_key, admin.agent or None)
    assert len([one for one in ways if one is not None]) == 1


def test_a_managed_source_is_reached_as_the_admins_user_unless_it_names_one() -> None:
    settings = good("{admin: {user: debian}, sources: [{}, {host: {user: backup}}]}")
    hosts = [source.host for source in settings.sources]
    assert [host.user for host in hosts if isinstance(host, ManagedHost)] == ["debian", "backup"]


@pytest.mark.parametrize(
    ("written", "port", "seen"),
    [
        ("10.0.0.5", 2222, HostPort("10.0.0.5", 2222)),
        ("10.0.0.5:22", 2222, HostPort("10.0.0.5", 22)),
        ("relay.internal", 22, HostPort("relay.internal", 22)),
        ("2001:db8::5", 2222, HostPort("2001:db8::5", 2222)),
        ("[2001:db8::5]:22", 2222, HostPort("2001:db8::5", 22)),
    ],
)
def test_sources_may_reach_the_relay_at_another_address(written: str, port: int, seen: HostPort) -> None:
    relay = good(
        f"{{intermediate: {{existing: {{port: {port}, sshPort: {port}, sourcesReachItAt: '{written}'}}}}}}"
    ).intermediate
    assert isinstance(relay, ExistingHost)
    assert relay.as_sources_see_it() == seen
    assert str(HostPort("2001:db8::5", 22)) == "[2001:db8::5]:22"


def test_values_are_normalised() -> None:
    settings = good(
        "{storage: {s3: {endpoint: 'https://s3.example.com:9000/', prefix: a/b/}},"
        " sources: [{from: [10.0.0.1, '2001:db8::/64'], paths: ['/srv/my files', /], exclude: ['$RECYCLE.BIN']}]}"
    )
    assert isinstance(settings.storage, S3Bucket)
    assert (settings.storage.endpoint, settings.storage.prefix) == ("https://s3.example.com:9000", "a/b")
    assert settings.sources[0].from_ == ("10.0.0.1/32", "2001:db8::/64")
    assert settings.sources[0].paths == ("/srv/my files", "/")


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("s3.dualstack.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("s3-fips.us-east-2.amazonaws.com", "us-east-2"),
        ("bucket.vpce-0a1b-2c3d.s3.eu-west-1.vpce.amazonaws.com:443", "eu-west-1"),
        ("s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("s3.amazonaws.com", "us-east-1"),
    ],
)
def test_an_endpoint_of_amazon_is_accepted_only_with_its_own_region(host: str, region: str) -> None:
    def endpoint(of: str) -> str:
        return f"{{storage: {{s3: {{endpoint: 'https://{host}', region: {of}}}}}}}"

    assert isinstance(good(endpoint(region)).storage, S3Bucket)
    assert f"endpoint of region {region}" in str(refused(stack(endpoint("ap-south-1"))))


def test_a_certificate_is_kept_unchanged() -> None:
    raw = stack()
    raw["storage"]["s3"]["caCertificate"] = certificate() * 2
    storage = parse(raw).storage
    assert isinstance(storage, S3Bucket)
    assert storage.ca_certificate == certificate() * 2


@pytest.mark.parametrize(
    "schedule",
    [
        "02:00",
        "daily",
        "*-*-* 02:00:00",
        "Mon..Fri 22:30",
        "Mon,Thu *-*-* 01:15",
        "*-*-1,15 03:00 Europe/Berlin",
        "*:0/30",
        "Sat",
    ],
)
def test_usual_schedules_are_accepted(schedule: str) -> None:
    assert good(f"{{sources: [{{schedule: '{schedule}'}}]}}").sources[0].schedule == schedule


def test_settings_cannot_be_changed() -> None:
    settings = good()
    for model, field in (
        (settings, "protect"),
        (settings.sources[0].limits, "sessions"),
        (settings.storage, "bucket"),
    ):
        with pytest.raises(pydantic.ValidationError, match="frozen"):
            setattr(model, field, getattr(model, field))
    assert isinstance(settings.sources, tuple)
    assert isinstance(settings.sources[0].paths, tuple)


@pytest.mark.parametrize(
    ("fragment", "words"),
    [
        ("{protect: false}", "lastcopy:protect is false"),
        ("{sources: [{schedule: '*-*-* 02:00:00 Europe/Berlin'}]}", "NO BACKUP of web1 on 20"),
        (
            "{sources: [{schedule: 'Sun 03:30', host: REMOVED, publicKey: SOURCE-KEY}]}",
            "If its host is in such a zone: NO BACKUP of web1",
        ),
        ("{storage: {s3: {lock: {mode: GOVERNANCE}}}}", "GOVERNANCE lock"),
        ("{storage: {s3: {acceptedLosses: [R4, S5]}}}", "acceptedLosses: R4, S5"),
        ("{storage: {s3: {lock: {minimumDays: 1}}}}", "Lock of 1 day"),
        (
            "{storage: {s3: {provider: Backblaze}}}",
            "Backblaze B2 (lastcopy:storage.s3.provider) weakens S5 of docs/",
        ),
        ("{storage: {s3: {endpoint: 'https://relay.example.com:9000'}}}", "on the relay itself"),
        (
            f"{{{TUNNEL}, storage: {{s3: {{endpoint: 'https://relay.example.com:9000'}}}}}}",
            "on the relay itself",
        ),
        ("{storage: {s3: {endpoint: 'https://127.0.0.1:9000'}}}", "on the relay itself"),
        ("{storage: {s3: {endpoint: 'https://[::1]:9000'}}}", "on the relay itself"),
        (
            "{storage: {s3: {identity: {accessKeyId: SHARED, secretAccessKey: shared-secret}}}}",
            "used by no source",
        ),
        (
            "{storage: {s3: {identity: {accessKeyId: SHARED, secretAccessKey: shared-secret}}}, sources: [{identity: REMOVED}]}",
            "SHARED STORAGE IDENTITY (web1)",
        ),
    ],
)
def test_weaknesses_cause_warnings(fragment: str, words: str) -> None:
    (warning,) = list_warnings(good(fragment))
    assert words in warning


@pytest.mark.parametrize(
    ("provider", "rows"),
    [
        ("AWS", []),
        ("Minio", []),
        ("Ceph", ["S5", "R8", "R5"]),
        ("Versity", ["R1 and R2", "R3"]),
        ("Other", []),
    ],
)
def test_a_service_that_does_not_meet_a_row_causes_a_warning_with_its_name(
    provider: str, rows: list[str]
) -> None:
    told = list_warnings(good(f"{{storage: {{s3: {{provider: {provider}}}}}}}"))
    assert [warning.split(" weakens ")[1].split(" of docs/")[0] for warning in told] == rows


@pytest.mark.parametrize(
    "schedule", ["*-*-* 02:00:00 UTC", "hourly Europe/Berlin", "*-*-* 04:00:00", "22:30 Europe/Berlin"]
)
@pytest.mark.parametrize("host", ["", ", host: REMOVED, publicKey: SOURCE-KEY"])
def test_a_schedule_that_no_clock_skips_causes_no_warning(schedule: str, host: str) -> None:
    assert list_warnings(good(f"{{sources: [{{schedule: '{schedule}'{host}}}]}}")) == ()


def test_a_managed_hosts_time_zone_is_reported_by_the_host() -> None:
    assert list_warnings(good("{sources: [{schedule: '*-*-* 02:00:00'}]}")) == ()


def test_the_silence_limit_can_be_set_for_one_source() -> None:
    first, second = good("{sources: [{silentAfterHours: 400}, {schedule: monthly}]}").sources
    assert (first.silent_hours, second.silent_hours) == (400, 748)


def test_a_missing_object_lock_causes_a_clear_warning() -> None:
    (warning,) = list_warnings(good(base=RCLONE))
    assert "NO OBJECT LOCK" in warning


def test_temporary_stacks_cause_no_warning() -> None:
    assert list_warnings(good("{protect: false}", SANDBOX)) == ()
    assert list_warnings(good("{protect: false, environment: test}")) == ()
