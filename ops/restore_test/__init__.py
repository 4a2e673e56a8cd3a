"""`lastcopy restore-test`: from a trusted place, restores and verifies the newest snapshot of every source, and reports every failure."""
