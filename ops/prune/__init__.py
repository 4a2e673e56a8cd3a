"""`lastcopy prune`: drops old snapshots from a trusted place, by the storage's own clock. Hides with delete markers; deletes no version."""
