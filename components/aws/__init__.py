"""What a stack has in AWS: the provider's settings and the relay's machine."""
