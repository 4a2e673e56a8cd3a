"""`make bench`: every figure in the docs, measured on this machine against a running local stack's real parts.

Contenders alternate round by round in one run, so that a busy machine slows all of them alike; results are
ratios with their spread. No time ever passes or fails anything here: goals stand beside the figures.
"""
