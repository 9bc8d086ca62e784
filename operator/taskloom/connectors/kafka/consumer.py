"""What a source of Kafka asks its consumer for: group, topics, settings, and where to begin."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor

from taskloom.connectors.kafka.connection import client_settings
from taskloom.domain.sources import EventSource, object_of
from taskloom.errors import Invalid
from taskloom.resources.source_types import KafkaSource

PROPERTIES: Mapping[str, str] = {
    "client.id": "client_id",
    "connections.max.idle.ms": "connections_max_idle_ms",
    "fetch.max.bytes": "fetch_max_bytes",
    "fetch.max.wait.ms": "fetch_max_wait_ms",
    "fetch.min.bytes": "fetch_min_bytes",
    "heartbeat.interval.ms": "heartbeat_interval_ms",
    "isolation.level": "isolation_level",
    "max.partition.fetch.bytes": "max_partition_fetch_bytes",
    "max.poll.interval.ms": "max_poll_interval_ms",
    "metadata.max.age.ms": "metadata_max_age_ms",
    "request.timeout.ms": "request_timeout_ms",
    "retry.backoff.ms": "retry_backoff_ms",
    "session.timeout.ms": "session_timeout_ms",
}
"""The settings that `spec.kafka.properties` may hold, and what aiokafka calls them."""


def options_of(spec: KafkaSource, source: EventSource) -> dict[str, Any]:
    """Say how to read; a member of the group has no name that outlives it.

    This client does not ask for another assignment when a named member comes back (KIP-814): it
    would be given its old partitions, whatever was added to topics and partitions meanwhile.
    """
    return {
        "group_id": spec.consumer_group or group_of(source),
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",  # also if offsets are gone: rather all there is than none
        "partition_assignment_strategy": (RoundRobinPartitionAssignor,),
        "isolation_level": "read_committed",
        "session_timeout_ms": 10_000,
        "heartbeat_interval_ms": 2_000,
        "metadata_max_age_ms": 10_000,  # how soon new partitions, and topics of a pattern, are seen
        "max_partition_fetch_bytes": 1_048_576,  # a larger record comes alone
    } | client_settings(spec.properties, PROPERTIES)


def group_of(source: EventSource) -> str:
    """Name the consumer group of a source that names none."""
    home = object_of(source.managed_by)
    return f"taskloom.{source.id}" if home is None else f"taskloom.{home[0]}.{home[1]}"


def pattern_of(spec: KafkaSource) -> str | None:
    """Give the expression that names of topics must match whole; None if they are named."""
    if spec.topic_pattern is None:
        return None
    try:
        re.compile(spec.topic_pattern)
    except re.error as error:
        raise Invalid(f"spec.kafka.topicPattern is no regular expression: {error.msg}.") from error
    return f"^(?:{spec.topic_pattern})$"


async def begins(
    consumer: Any, source: EventSource, assigned: Collection[TopicPartition]
) -> dict[TopicPartition, int]:
    """Find where partitions without an offset begin: with what came since the source is there.

    A partition that is added later, or read for the first time after a while, misses nothing so.
    """
    new = [each for each in assigned if await consumer.committed(each) is None]
    if not new:
        return {}
    ends: dict[TopicPartition, int] = await consumer.end_offsets(new)
    if source.created_on is None:
        return ends
    since = int(source.created_on.timestamp() * 1000)
    found = await consumer.offsets_for_times(dict.fromkeys(new, since))
    return {
        partition: end if found.get(partition) is None else found[partition].offset
        for partition, end in ends.items()
    }
