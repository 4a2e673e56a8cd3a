"""The relay's sshd: who may log in, and how."""
