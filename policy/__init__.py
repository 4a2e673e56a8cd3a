"""The policy pack: what must hold for everything that a stack is about to change, without trusting the code that declared it."""
