"""Hosts as the operator reaches them: by SSH, or from outside in the sandbox."""
