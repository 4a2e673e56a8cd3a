"""What a source backs up, when, and the check that the backup contains it."""
