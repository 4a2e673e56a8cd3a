"""Errors while a tool is found, downloaded or built."""


class ToolError(Exception):
    """What is wrong and which command fixes it. No other way to the tool is tried."""


class Closed(Exception):
    """One way to a tool is not possible, for the reason given; the next way is tried."""


def refused(tool: str, version: str, reason: str) -> ToolError:
    """The error for a release that could not be verified."""
    return ToolError(
        f"{tool} {version}: {reason}.\n"
        "Nothing was installed and no other way is tried: someone may have changed the release.\n"
        f"Run `python -m toolchain ensure {tool}` again; if it fails again, report it to the project."
    )
