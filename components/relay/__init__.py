"""The relay: sshd, firewall, the append-only service, and one source account for each source."""
