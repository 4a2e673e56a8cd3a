"""Which limits apply at which minute: run-backup decides as the settings say."""

from __future__ import annotations

import subprocess

from hypothesis import given
from hypothesis import strategies as st

from components.host.program_texts import COMPONENTS
from components.settings import Source
from components.source import step_values
from tests.examples import few
from tests.unit.recording import SAMPLE_KEY

SCRIPT = (COMPONENTS / "source" / "schedule" / "run-backup").read_text()
LIMITS = SCRIPT[SCRIPT.index("\nlimits() {") : SCRIPT.index("\n}", SCRIPT.index("\nlimits() {")) + 3]
TIMES = st.times().map(lambda time: time.strftime("%H:%M"))


def limits_at(conf: str, moments: list[str]) -> list[str]:
    """The function as it is in the script, asked at each of the moments."""
    asked = "".join(f"date() {{ echo {moment}; }}; limits\n" for moment in moments)
    script = f'setting() {{ printf "%s" "$CONF" | sed -n "s/^$1=//p"; }}\n{LIMITS}{asked}'
    done = subprocess.run(
        ["sh", "-eu", "-c", script],
        env={"CONF": conf, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@few
@given(
    first=st.tuples(TIMES, TIMES),
    second=st.tuples(TIMES, TIMES),
    moments=st.lists(TIMES, min_size=8, max_size=8),
)
def test_the_limits_of_each_hour_are_those_of_the_stack_file(
    first: tuple[str, str], second: tuple[str, str], moments: list[str]
) -> None:
    hours = [
        {"from": one[0], "to": one[1], "uploadKiBps": 100 + at}
        for at, one in enumerate((first, second))
        if one[0] != one[1]
    ]
    rate = {"uploadKiBps": 50, "downloadKiBps": 60, "hours": hours[:1]}
    raw = {"name": "web1", "publicKey": SAMPLE_KEY, "paths": ["/srv"]}
    try:
        source = Source.model_validate({**raw, "rate": {**rate, "hours": hours}})
    except ValueError:  # they overlap
        source = Source.model_validate({**raw, "rate": rate})
    moments = [*moments, *first, *second]
    expected = []
    for moment in moments:
        at = int(moment[:2]) * 60 + int(moment[3:])
        found = [one.upload_kibps for one in source.rate.hours if at in one.minutes()]
        expected.append(f"{found[0] if found else 50} 60")
    assert limits_at(step_values.schedule(source)["BACKUP_CONF"], moments) == expected


def test_without_any_limit_restic_gets_none() -> None:
    source = Source.model_validate({"name": "web1", "publicKey": SAMPLE_KEY, "paths": ["/srv"]})
    assert limits_at(step_values.schedule(source)["BACKUP_CONF"], ["00:00", "08:00", "23:59"]) == ["0 0"] * 3
