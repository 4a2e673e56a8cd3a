"""What a source backs up, when, and whether the backup holds it."""
