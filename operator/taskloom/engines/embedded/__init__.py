"""A small BPMN engine that lives in the task database.

::

    parse ──► model ──► execute (pure: state + trigger -> next state + effects)
                           ▲
    engine, jobs ──► drive ┘ ──► records ──► tables
    correlating, signals: who waits for a message or signal ──► a trigger, or a row for a job

Law: everything up to ``drive`` is pure; SQL is in what is named for its rows, XML in ``reading``.
No script is ever run, no ``eval``, no network; what is not supported is refused at deployment.
"""
