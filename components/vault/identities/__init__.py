"""The identities of sources in the vault."""
