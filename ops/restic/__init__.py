"""Runs restic on a repository as it is, or on a view of it as it was."""
