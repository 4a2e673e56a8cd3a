"""The vault: the locked bucket, its identities, policies and alarms."""
