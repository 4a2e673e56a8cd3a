"""A source's repository and its password."""
