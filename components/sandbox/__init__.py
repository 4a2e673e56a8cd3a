"""The local machines that act as relay, sources and storage."""
