"""The language host: how a program and a policy pack run, fail and end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import wait_until

from .stack import Stack


def test_a_program_runs_in_its_virtualenv_with_its_configuration(stack: Stack) -> None:
    stack.pulumi("config", "set", "plain", "seen")
    stack.pulumi("config", "set", "--secret", "hidden", "swordfish")
    told = stack.up("""
    import os, sys
    config = pulumi.Config()
    pulumi.export("python", [sys.prefix, os.environ["VIRTUAL_ENV"], os.getcwd(), __name__])
    pulumi.export("stack", [pulumi.get_project(), pulumi.get_stack(), pulumi.get_organization()])
    pulumi.export("plain", config.require("plain"))
    pulumi.export("hidden", config.require_secret("hidden"))
    print("on stdout")
    print("on stderr", file=sys.stderr)
    """)
    assert stack.outputs() == {
        "python": [sys.prefix, sys.prefix, str(stack.folder), "__main__"],
        "stack": ["conformance", "test", "organization"],
        "plain": "seen",
        "hidden": "swordfish",
    }
    assert "swordfish" not in told + stack.state()
    assert "on stdout" in told
    assert "on stderr" in told
    for noise in ("from $PATH", "warning", "Traceback", "KeyboardInterrupt", "panic"):
        assert noise not in told
    stack.unchanged()


@pytest.mark.parametrize(
    ("program", "said", "unsaid"),
    [
        ("raise pulumi.RunError('no such source')", ["error: no such source"], ["Traceback", "__main__.py"]),
        (
            "def helper():\n    raise ValueError('broken')\nhelper()",
            ["Program failed with an unhandled exception", "in helper", "ValueError: broken"],
            ["runpy", "<string>", "non-zero exit code"],
        ),
        ("import sys\nsys.exit(7)", ["exit code: 7"], ["Traceback"]),
        ("import absent", ["ModuleNotFoundError: No module named 'absent'"], ["non-zero exit code"]),
    ],
    ids=["RunError", "exception", "exit", "import"],
)
def test_the_error_of_a_failing_program_is_shown_as_its_author_wrote_it(
    stack: Stack, program: str, said: list[str], unsaid: list[str]
) -> None:
    told = stack.fails(program)
    for text in said:
        assert text in told
    for text in unsaid:
        assert text not in told


def test_a_missing_virtualenv_is_named_in_the_error(stack: Stack) -> None:
    stack.virtualenv("no-such-venv")
    told = stack.fails("pass")
    assert "no-such-venv" in told
    assert "virtual environment" in told.lower().replace("virtualenv", "virtual environment")


POLICY = """
from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy

def no_echo(args, report):
    if args.resource_type == "command:local:Command" and "echo" in args.props.get("create", ""):
        report("echo is not allowed here")

PolicyPack("pack", [ResourceValidationPolicy(name="no-echo", description="No echo.", validate=no_echo,
                                             enforcement_level=EnforcementLevel.MANDATORY)])
"""


def test_a_policy_pack_runs(stack: Stack, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "__main__.py").write_text(POLICY)
    options = f"{{name: python, options: {{virtualenv: {sys.prefix!r}}}}}"
    (pack / "PulumiPolicy.yaml").write_text(f"runtime: {options}\nversion: 0.0.1\n")
    preview = ("preview", "--policy-pack", str(pack))

    stack.program("""local.Command("it", create="true")""", {})
    assert "no-echo" not in stack.pulumi(*preview).stdout
    stack.program("""local.Command("it", create="echo hello")""", {})
    done = stack.pulumi(*preview, check=False)
    assert done.returncode != 0
    assert "no-echo" in done.stdout
    assert "echo is not allowed here" in done.stdout


SLOW = """
local.Command("slow", create=f"touch {there}/slow; exec sleep 60")
step("far", connection(port=1, dial_error_limit=-1), create="true")
pathlib.Path(there, "program").touch()
given["hold"] and __import__("time").sleep(60)
"""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("hold", [True, False], ids=["in the program", "in the resources"])
def test_no_command_outlives_its_engine(
    stack: Stack, there: Path, ending: signal.Signals, hold: bool
) -> None:
    """Two engines must never change one host at the same time, and the next engine finishes what a killed one left unfinished (A7)."""
    stack.program(SLOW, {"hold": hold})
    engine = subprocess.Popen(
        ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive", "--color=never"],
        cwd=stack.folder,
        env=stack.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: (there / ("program" if hold else "slow")).exists())
        os.kill(engine.pid, ending)
        assert engine.wait(timeout=20) != 0
        assert stack.processes(patience=5) == []
    finally:
        with contextlib.suppress(ProcessLookupError):
            engine.kill()
        engine.wait()
    stack.pulumi("cancel", "test", "--yes", check=False)  # the lock of a killed engine, if there is one
    told = stack.up('pulumi.export("next", "ran")')
    assert stack.outputs() == {"next": "ran"}, told
