"""`lastcopy recover`: what was done to a repository, a look at it as it was, and the way back. Never deletes a version."""
