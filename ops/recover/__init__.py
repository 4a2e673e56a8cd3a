"""`lastcopy recover`: shows what was done to a repository, restores from it as it was, and rebuilds it. Never deletes a version."""
