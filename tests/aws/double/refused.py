"""The only error that the double raises deliberately."""


class Refused(Exception):
    """The double refuses, in the role of AWS; the engine shows the text."""
