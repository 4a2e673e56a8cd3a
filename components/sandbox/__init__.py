"""The local machines that stand in for a relay, its sources and their storage."""
