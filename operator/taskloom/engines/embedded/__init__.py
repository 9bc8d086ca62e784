"""A small BPMN engine that lives in the task database.

::

    parse ──► model ──► execute (pure: state + trigger -> next state + effects)
                           ▲
    engine, jobs ──► drive ┘ ──► records ──► tables

Law: everything up to ``drive`` is pure; only ``records`` speaks SQL, only ``reading`` speaks XML.
No script is ever run, no ``eval``, no network; what is not supported is refused at deployment.
"""
