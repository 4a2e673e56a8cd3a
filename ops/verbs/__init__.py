"""The verbs of `lastcopy`, one module each: options in, numbered steps, messages out. Only the command line imports them."""
