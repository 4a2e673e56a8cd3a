"""The policy pack: what must hold for whatever a stack is about to change, judged without trusting the code that wrote it."""
