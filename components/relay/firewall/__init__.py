"""What may come to the relay, and what may leave it."""
