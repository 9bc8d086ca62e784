"""A record of Kafka's as a message of a source."""

from typing import Any

from taskloom.ports.connector import Incoming


def incoming(record: Any) -> Incoming:
    """Turn a record into a message; it is named by topic, partition and offset, in this order.

    Its headers are in lower case, the last of equal ones; beside them stand ``kafka-key``,
    ``kafka-topic``, ``kafka-partition``, ``kafka-offset`` and ``kafka-timestamp`` (milliseconds).
    Bytes that are not UTF-8 are told by replacement characters.
    """
    lane = f"{record.topic}/{record.partition}"
    headers = {name.lower(): _text(value) for name, value in record.headers}
    headers |= {
        "kafka-topic": record.topic,
        "kafka-partition": str(record.partition),
        "kafka-offset": str(record.offset),
        "kafka-timestamp": str(record.timestamp),
    }
    if record.key is not None:
        headers["kafka-key"] = _text(record.key)
    return Incoming(
        body=record.value,
        headers=headers,
        idempotency_key=f"{lane}/{record.offset}",
        lane=lane,
    )


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "replace")
