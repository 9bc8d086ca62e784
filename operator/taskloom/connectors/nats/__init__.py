"""NATS JetStream, by nats-py; the worked example of docs/how-to/write-a-connector.md.

Law: the client never connects again by itself, so whoever uses a connection hears of its end;
everything that is asked of the servers goes through `Servers.ask`, which has an end, too.

::

    credentials ─► connection: open, ask ─► source: fetch, ingest, acknowledge
                   (an end has a reason) └► sink: publish, and await what the stream says
"""
