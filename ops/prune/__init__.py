"""`lastcopy prune`: drop old snapshots from a trusted place, by the storage's own clock. Hides by delete markers; deletes no version."""
