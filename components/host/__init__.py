"""Hosts: how to connect to a machine and change it, and the tools that it runs."""
