"""The one error that the double raises on purpose."""


class Refused(Exception):
    """The double, or AWS's part that it plays, says no; the text is what the engine shows."""
