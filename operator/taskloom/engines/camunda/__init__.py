"""Camunda 7 and its kin (Operaton, CIB seven), by their REST API.

::

    engine ──► definitions, starts, external, fetching, user_tasks, queries, feed, messages
                   │ say what to call                 ▲ models, variables, model_file: pure
                   └──► client ──► auth, refusals

Law: only ``client`` and ``auth`` speak HTTP; ``variables``, ``models``, ``model_file`` and
``refusals`` are pure.  An engine elsewhere takes part in no transaction of ours: each call either
may be repeated, or can be proved to have been carried out.
"""
