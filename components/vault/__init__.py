"""The vault: how it is reached, and on AWS its bucket, its identities and its alarms."""
