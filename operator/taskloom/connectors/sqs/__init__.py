"""Amazon SQS and what speaks like it, by aiobotocore.

Law: a message is deleted after it is durable, and stays hidden from others until then.

::

    connection ─► reach (which reason, if not) ─► source: receive, ingest, delete
                                               └► sink: send in batches
"""
