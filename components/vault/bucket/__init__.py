"""The locked bucket on AWS, and the policy that only break-glass can change."""
