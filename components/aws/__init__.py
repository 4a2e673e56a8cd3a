"""A stack's resources on AWS: the provider's settings and the relay's machine."""
