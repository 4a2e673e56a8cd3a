"""A source's key, its connection to the relay, and the script for a source without SSH access."""
