"""The part of Camunda 7's REST API that external-task clients use, on the engine hosted here.

::

    entry ──► app ──► routes (external_tasks, definitions, …) ──► flow, ports
                          │
             parameters, variables, dates, shapes: pure, between Camunda's JSON and our values

Law: paths, shapes, statuses and errors are Camunda's, held by tests to what real engines answer;
the deeds are the flow's.  Nothing outside of this package speaks Camunda's language.
"""
