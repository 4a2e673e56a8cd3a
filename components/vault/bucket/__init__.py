"""The locked bucket on AWS, and the policy that nobody but break-glass changes."""
