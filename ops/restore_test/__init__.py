"""`lastcopy restore-test`: from a trusted place, the newest snapshot of every source comes back and is what it must be, or somebody hears of it."""
