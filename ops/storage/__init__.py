"""The storage that holds the repositories: where it is, who may read it, its objects and their versions."""
