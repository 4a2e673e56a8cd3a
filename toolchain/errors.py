"""What can go wrong while a tool is found or got."""


class ToolError(Exception):
    """Says what is wrong and which command fixes it; never answered by trying another way."""


class Closed(Exception):
    """One way to a tool is not open, with the reason in a line; the next way is tried."""


def refused(tool: str, version: str, reason: str) -> ToolError:
    """The error for a release that is not proven to be the project's own."""
    return ToolError(
        f"{tool} {version}: {reason}.\n"
        "Nothing was installed and no other way is tried: someone may have changed the release.\n"
        f"Run `python -m toolchain ensure {tool}` again; if this stays, report it to the project."
    )
