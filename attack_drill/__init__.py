"""The attack drill: plays the attacker of each row of the threat model against a running stack.

How a row is played
    A row of docs/threat-model.md is one module, ``rows/<id>.py``, with one generator, ``play(drill)``. It yields a
    `RowFinding` for each thing that it tried (``findings.py``):

    - ``control(…)`` comes first: what must work does work, over the same channel that the attempts use. An attack on a
      relay that is down proves nothing.
    - ``judged(…)`` follows for each attempt. It is judged by observation: objects, versions and settings in the storage,
      files and processes on the hosts, a known tree that is restored and compared. An exit code or an answer alone is
      never enough.
    - ``not_played(…)`` gives the reason where this stack, or the level that the operator allowed, rules an attempt out.

Levels (``options.py``)
    SAFE changes nothing of value even if an attempt succeeds, so it may run on production. SCRATCH harms only
    repositories that the drill made itself. TRIAL could harm the stack and is refused on a stack that was not made for
    trials. A row asks ``drill.may(level)`` before it goes further.

Verdicts
    A row is proven only if a control worked and every attempt was made and held. An attempt that succeeded is BROKEN; a
    control that failed, or an exception, is an ERROR; both make the command fail.

Rules for a row
    It undoes whatever it changes on a host in ``finally``; what a killed drill left behind is removed by the next one
    (``scratch_repository.remove_leftovers``). It takes seconds, so its variants go in one batch where they can. It has a
    sabotage in tests/drill that takes the protection away and sees the row break.

Where to look
    ==================  ================================================================================================
    the command         ``cli.py``, ``options.py``, ``runner.py``, ``report.py``
    what a row gets     ``drill.py`` (stack, hosts, source, storage), ``scratch_repository.py``
    over SSH            ``attempts.py``, ``connections.py``, ``http2.py``, ``impostor.py``, ``second_factor.py``
    in the storage      ``storage_admin.py`` (judges), ``stolen_identity.py`` (attacks), ``weak_storage.py``
    on a host           ``scratch_folder.py``, ``exposed_secrets.py``, ``secret_search.py``, ``relay_steps.py``
    failures            ``interruptions.py``, ``storage_outage.py``, ``reboot.py``, ``old_versions.py``
    ==================  ================================================================================================
"""
