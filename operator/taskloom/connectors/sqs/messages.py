"""What a message of a queue is to us, and an outgoing event to a queue: decided, not done."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from taskloom.ports.connector import Incoming
from taskloom.ports.sink import Record

MOST_ENTRIES = 10
"""How many messages one request holds."""
MOST_BYTES = 1_048_576
"""How large a message, and a request, may be, attributes included."""
_MOST_ATTRIBUTES = 10
_NAME = re.compile(r"(?!(?:aws|amazon)\.)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*", re.IGNORECASE)
_GROUP = re.compile(r"[!-~]{1,128}")
_NOT_ALLOWED = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SYSTEM = {
    "SentTimestamp": "sqs-sent-timestamp",
    "ApproximateReceiveCount": "sqs-receive-count",
    "MessageGroupId": "sqs-message-group-id",
    "MessageDeduplicationId": "sqs-message-deduplication-id",
    "SequenceNumber": "sqs-sequence-number",
}


def incoming(message: Mapping[str, Any]) -> Incoming:
    """Read a received message; its id names it, as SQS gives the same one at each delivery.

    A deduplication id would not: equal contents have the same one, however far apart.  A lane is
    a message group; a message without one has a lane of its own, as nothing is kept in order.
    """
    system = message.get("Attributes", {})
    headers = {
        name.lower(): value["StringValue"]
        for name, value in message.get("MessageAttributes", {}).items()
        if "StringValue" in value
    }
    headers |= {ours: system[name] for name, ours in _SYSTEM.items() if name in system}
    headers["sqs-message-id"] = message["MessageId"]
    return Incoming(
        body=message.get("Body", "").encode(),
        headers=headers,
        idempotency_key=message["MessageId"],
        lane=system.get("MessageGroupId", message["MessageId"]),
    )


def entry_of(record: Record, at: int, *, fifo: bool) -> dict[str, Any]:
    """Write the entry of a record, named by its place; `ValueError` if it cannot be a message."""
    text = record.body.decode()  # a UnicodeDecodeError is a ValueError
    if not text or _NOT_ALLOWED.search(text):
        raise ValueError("the record holds characters that SQS does not take, or is empty")
    entry: dict[str, Any] = {"Id": str(at), "MessageBody": text}
    attributes = attributes_of(record.headers)
    if attributes:
        entry["MessageAttributes"] = attributes
    if fifo:
        entry |= {
            "MessageGroupId": group_of(record.key),
            "MessageDeduplicationId": str(record.id),
        }
    if size_of(entry) > MOST_BYTES:
        raise ValueError("the record is larger than SQS takes")
    return entry


def attributes_of(headers: Mapping[str, str]) -> dict[str, Any]:
    """Write headers as attributes: the first ten whose names and values SQS takes."""
    fit = [
        (name, value)
        for name, value in headers.items()
        if len(name) <= 256 and _NAME.fullmatch(name) and value and not _NOT_ALLOWED.search(value)
    ]
    return {
        name: {"DataType": "String", "StringValue": value} for name, value in fit[:_MOST_ATTRIBUTES]
    }


def group_of(key: str) -> str:
    """Name the message group of a key: the key, or its hash where SQS would not take it."""
    return key if _GROUP.fullmatch(key) else hashlib.sha256(key.encode()).hexdigest()


def size_of(entry: Mapping[str, Any]) -> int:
    """Count the bytes of an entry as SQS does."""
    attributes = entry.get("MessageAttributes", {})
    return len(entry["MessageBody"].encode()) + sum(
        len(name) + len(value["DataType"]) + len(value["StringValue"].encode())
        for name, value in attributes.items()
    )


def batches(entries: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Divide entries into requests, in their order."""
    batch: list[dict[str, Any]] = []
    size = 0
    for entry in entries:
        own = size_of(entry)
        if batch and (len(batch) == MOST_ENTRIES or size + own > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += own
    if batch:
        yield batch
