"""Day-2 verbs: `python -m ops …`. They read stack outputs, never state internals."""
