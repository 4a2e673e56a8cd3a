"""The `lastcopy` command and the library below its verbs. It reads stack outputs, never state internals."""
