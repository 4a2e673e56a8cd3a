"""A source's key, how it dials the relay, and the script for a source that is not reached."""
