"""Ways in and ways out; the two are separate types, so any mixes with any.

Law: a connector moves bytes and confirms them; what an event means is the flow's business.

::

    turn: read the sources of the pool ─► renew and claim leases ─► plan (assignments)
                                                                      │
                                 stop, start one task for each source (running)
                                                                      │
                              connector.run(context) ─► ingest ─► events, durable

Connectors of sinks only open producers; what is produced, and when, is `taskloom.delivery`'s.
"""
