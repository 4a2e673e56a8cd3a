"""What one source has on the relay: account, key, storage identity and limits."""
