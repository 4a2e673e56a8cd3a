"""Day 2: the command `lastcopy`, and the library below its verbs. It reads stack outputs, never state internals."""
