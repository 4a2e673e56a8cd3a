"""command:local:Command and command:local:run."""

from __future__ import annotations

from pathlib import Path

from .stack import Stack

LIFE = """
it = local.Command("it", dir=there, interpreter=["/bin/sh", "-e", "-c"], stdin="from stdin",
                   environment={"NAME": given["name"]}, triggers=[given.get("trigger", 1)],
                   create='touch a.txt skip.txt b; echo "create $NAME $(cat) after $PULUMI_COMMAND_STDOUT"',
                   update='echo "update $NAME after $PULUMI_COMMAND_STDOUT"',
                   delete="echo delete >> log", asset_paths=["*.txt", "!skip.txt"])
pulumi.export("it", it.stdout)
pulumi.export("assets", it.assets.apply(lambda assets: sorted(assets or {})))
pulumi.export("run", local.run_output(command="cat; pwd", stdin="x ", dir=there).stdout)
"""


def test_a_local_command_is_created_updated_replaced_and_deleted(stack: Stack, there: Path) -> None:
    assert "+ 2 to create" in stack.preview(LIFE, {"name": "a"})
    assert list(there.iterdir()) == [], "only the function runs in a preview"
    stack.up(LIFE, {"name": "a"})
    assert stack.outputs() == {
        "it": "create a from stdin after ",
        "assets": ["a.txt"],
        "run": f"x {there}",
    }
    stack.unchanged()
    stack.up(LIFE, {"name": "b"})
    assert stack.outputs()["it"] == "update b after create a from stdin after "
    stack.up(LIFE, {"name": "b", "trigger": 2})
    assert stack.outputs()["it"] == "create b from stdin after ", (
        "a replacement does not know the output of its predecessor"
    )
    assert (there / "log").read_text() == "delete\n"
    stack.pulumi("destroy", "--yes")
    assert (there / "log").read_text() == "delete\ndelete\n"


def test_a_failure_shows_command_status_and_output_but_not_stdin(stack: Stack) -> None:
    told = stack.fails("""
    local.Command("it", create="cat >/dev/null; echo said; exit 4", stdin=pulumi.Output.secret("swordfish"))
    """)
    assert 'exit status 4: running "cat >/dev/null; echo said; exit 4"' in told
    assert "said" in told.split("running", 1)[1]
    assert "swordfish" not in told
