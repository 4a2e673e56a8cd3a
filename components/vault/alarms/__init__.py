"""The alarms of a vault on AWS."""
