"""Kafka, by aiokafka.

Law: whatever the client does in silence (it retries a wrong password for ever) is found out here
and told by a reason.

::

    connection ─► reach (which reason, if none answers) ─► source: read, ingest, commit
                                                        └► sink: produce
"""
