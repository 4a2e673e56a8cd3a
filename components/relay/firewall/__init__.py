"""The relay's firewall: which traffic may enter and leave it."""
