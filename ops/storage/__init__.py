"""The storage that holds the repositories: its location, its access keys, its objects and their versions."""
