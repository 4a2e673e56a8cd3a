"""Who may log in at the relay, and how."""
