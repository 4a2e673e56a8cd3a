"""The append-only service that all sources share on the relay."""
