"""The append-only service: what all sources share on the relay."""
