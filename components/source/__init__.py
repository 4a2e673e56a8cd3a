"""A source: its key, client, repository and backup schedule."""
