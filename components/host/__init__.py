"""Hosts: how a machine is reached and changed, and the tools that it runs."""
