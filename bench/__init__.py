"""`make bench`: measures every figure in the docs on this machine, against the real parts of a running local stack.

Contenders alternate round by round in one run, so that a busy machine slows all of them equally. Results are ratios with their spread.
No measured time makes anything fail: goals are printed beside the figures.
"""
