"""`python -m ops drill`: plays the attacker of each row of the threat model against a running stack, and judges by what is there afterwards.

A row is a module `rows/<id>.py` with one generator, `play(ground)`, that yields a Finding for each thing that it tried:

- `control(…)` first: what must work, works, through the very channel that the attempts use. An attack on a dead relay proves nothing.
- `judged(…)` for each attempt, by observation: objects, versions and settings in the storage, files and processes on the hosts, a known tree
  restored and compared. Never by an exit code or an answer alone.
- `not_played(…)` with the reason for what this stack, or what the drill may do on it, does not allow. `ground.may(level)` tells.

Levels: SAFE changes nothing of value even where it succeeds; THROWAWAY harms only the drill's own repository (`ground.throwaway()`); TRIAL could
harm the stack itself and is played on stacks that are made for trials only. Whatever a row changes on a host it undoes itself, in `finally`;
what a killed drill left is removed by the next one. A row takes seconds, not minutes: its variants go in one batch where they can.
"""
