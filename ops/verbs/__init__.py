"""The commands of day 2, one module for each verb: options in, numbered steps, words out. Nothing imports them but the command line."""
