"""Every kind of source to every kind of sink: all at once on one machine, on real brokers."""

import asyncio
import contextlib
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from aiokafka import AIOKafkaConsumer

from taskloom.testing.receiver import Receiver
from taskloom.testing.server import ServedTaskloom, free_port
from tests.real.kafka.broker import RealKafka
from tests.real.nats.server import RealNats
from tests.real.sqs.server import RealSqs

ROOT = Path(__file__).parents[2]
EACH = 3
"""How many events come by each source; one by the clock."""
CRON = "cron"
SECONDS = 120.0
Told = Mapping[str, Counter[str]]
"""By sink: the sources whose tasks were told there, and how often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brokers:
    """What runs beside Taskloom."""

    kafka: RealKafka
    nats: RealNats
    sqs: RealSqs
    receiver: Receiver
    api: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A kind of source: its declaration, and how an event is sent to it."""

    spec: Callable[[Brokers], dict[str, Any]]
    send: Callable[[Brokers, dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """A kind of sink: its declaration, and a look at all that came there."""

    spec: Callable[[Brokers], dict[str, Any]]
    read: Callable[[Brokers], Awaitable[list[dict[str, Any]]]]


def task_event(payload: dict[str, Any]) -> bytes:
    """Write an event as Taskloom's own form has it."""
    return json.dumps({"key": "mixed", "payload": payload}).encode()


def cloud_event(payload: dict[str, Any]) -> bytes:
    """Write a CloudEvent in structured mode."""
    attributes = {"specversion": "1.0", "id": f"{payload}", "source": "/test", "type": "mixed"}
    return json.dumps(attributes | {"data": payload}).encode()


def _kafka_source(topic: str, **format_: Any) -> Callable[[Brokers], dict[str, Any]]:
    return lambda on: {
        "kafka": {
            "bootstrapServers": [on.kafka.plaintext],
            "topics": [topic],
            "initialOffset": "Earliest",
        },
        "format": format_ or {"type": "TaskEvent"},
    }


def _http_source(path: str, **format_: Any) -> Callable[[Brokers], dict[str, Any]]:
    return lambda _: {
        "http": {"path": path, "auth": {"anonymous": True}},
        "format": format_ or {"type": "TaskEvent"},
    }


async def _post(on: Brokers, path: str, body: bytes, content_type: str) -> None:
    async with httpx.AsyncClient(base_url=on.api, trust_env=False) as client:
        headers = {"content-type": content_type}
        answer = await client.post(f"/sources{path}", content=body, headers=headers)
        assert 204 == answer.status_code, answer.text


async def _nothing(_on: Brokers, _payload: dict[str, Any]) -> None:
    """Leave it to the clock."""


SOURCES: dict[str, Source] = {
    "http": Source(
        spec=_http_source("/mixed"),
        send=lambda on, payload: _post(on, "/mixed", task_event(payload), "application/json"),
    ),
    "http-cloudevents": Source(
        spec=_http_source("/cloud", type="CloudEvents"),
        send=lambda on, payload: _post(
            on, "/cloud", cloud_event(payload), "application/cloudevents+json"
        ),
    ),
    "kafka": Source(
        spec=_kafka_source("in-events"),
        send=lambda on, payload: on.kafka.produce("in-events", task_event(payload)),
    ),
    "kafka-cloudevents": Source(
        spec=_kafka_source("in-cloud", type="CloudEvents"),
        send=lambda on, payload: on.kafka.produce("in-cloud", cloud_event(payload)),
    ),
    "kafka-json": Source(
        spec=_kafka_source("in-json", type="JSON", key={"literal": "mixed"}),
        send=lambda on, payload: on.kafka.produce("in-json", json.dumps(payload).encode()),
    ),
    "nats": Source(
        spec=lambda on: {
            "nats": {"servers": [on.nats.url], "stream": "IN", "initialPosition": "All"}
        },
        send=lambda on, payload: on.nats.publish("in.mixed", task_event(payload)),
    ),
    "sqs": Source(
        spec=lambda on: {"sqs": _queue(on, "in")},
        send=lambda on, payload: on.sqs.send(on.sqs.url("in"), task_event(payload).decode()),
    ),
    CRON: Source(
        spec=lambda _: {
            "cron": {"schedule": "* * * * *", "payload": {"origin": CRON}},
            "format": {"key": {"literal": "mixed"}},
        },
        send=_nothing,
    ),
}


def _kafka_sink(topic: str, **more: Any) -> Callable[[Brokers], dict[str, Any]]:
    return lambda on: {
        "kafka": {"bootstrapServers": [on.kafka.plaintext], "topic": topic},
        "eventKeys": ["task-created"],
        **more,
    }


def _read_kafka(topic: str, payload: str) -> Callable[[Brokers], Awaitable[list[dict[str, Any]]]]:
    async def read(on: Brokers) -> list[dict[str, Any]]:
        async with AIOKafkaConsumer(
            topic, bootstrap_servers=on.kafka.plaintext, auto_offset_reset="earliest"
        ) as consumer:
            batches = await consumer.getmany(timeout_ms=2000)
        return [json.loads(r.value)[payload] for batch in batches.values() for r in batch]

    return read


async def _read_nats(on: Brokers) -> list[dict[str, Any]]:
    return [json.loads(each.data)["payload"] for each in await on.nats.messages("OUT")]


async def _read_sqs(on: Brokers) -> list[dict[str, Any]]:
    """Read the queue again and again: what was read is hidden for a second."""
    bodies: dict[str, dict[str, Any]] = {}
    async with on.sqs.client() as client:
        for _ in range(20):
            answer = await client.receive_message(
                QueueUrl=on.sqs.url("out"), MaxNumberOfMessages=10, VisibilityTimeout=1
            )
            found = answer.get("Messages", ())
            if not found:
                break
            bodies |= {each["MessageId"]: json.loads(each["Body"]) for each in found}
    return [body["payload"] for body in bodies.values()]


def _queue(on: Brokers, name: str) -> dict[str, Any]:
    ref = {"name": "aws", "key": "key"}
    return {
        "queueUrl": on.sqs.url(name),
        "region": "elasticmq",
        "endpoint": on.sqs.endpoint,
        "auth": {"accessKeyIdRef": ref, "secretAccessKeyRef": ref},
    }


async def _read_webhooks(on: Brokers) -> list[dict[str, Any]]:
    return [body["payload"] for body in on.receiver.webhooks.values()]


SINKS: dict[str, Sink] = {
    "kafka": Sink(spec=_kafka_sink("out-events"), read=_read_kafka("out-events", "payload")),
    "kafka-cloudevents": Sink(
        spec=_kafka_sink("out-cloud", format={"type": "CloudEvents"}),
        read=_read_kafka("out-cloud", "data"),
    ),
    "nats": Sink(
        spec=lambda on: {
            "nats": {"servers": [on.nats.url], "subject": "out.told"},
            "eventKeys": ["task-created"],
        },
        read=_read_nats,
    ),
    "sqs": Sink(
        spec=lambda on: {"sqs": _queue(on, "out"), "eventKeys": ["task-created"]},
        read=_read_sqs,
    ),
}
FILTERED = "kafka-filtered"
WEBHOOK = "webhook"
WORKFLOW = """
<bpmn:definitions xmlns:bpmn="http://www.omg.org/spec/BPMN/20100524/MODEL"
    xmlns:camunda="http://camunda.org/schema/1.0/bpmn" targetNamespace="mixed">
  <bpmn:process id="mixed" isExecutable="true" camunda:historyTimeToLive="1">
    <bpmn:startEvent id="s"/>
    <bpmn:serviceTask id="t" camunda:type="external" camunda:topic="create-tasks">
      <bpmn:extensionElements><camunda:inputOutput>
        <camunda:inputParameter
            name="tasks">[{"key": "mixed", "name": "${origin}"}]</camunda:inputParameter>
      </camunda:inputOutput></bpmn:extensionElements>
    </bpmn:serviceTask>
    <bpmn:endEvent id="e"/>
    <bpmn:sequenceFlow id="f" sourceRef="s" targetRef="t"/>
    <bpmn:sequenceFlow id="g" sourceRef="t" targetRef="e"/>
  </bpmn:process>
</bpmn:definitions>
"""


def _resources(on: Brokers) -> Iterator[dict[str, Any]]:
    """Declare all sources and sinks, and between them a mapping and a workflow."""
    yield {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "aws"},
        "stringData": {"key": "x"},
    }
    filter_ = "event.payload.createdTasks.exists(t, t.name == 'nats')"
    sinks = {name: sink.spec(on) for name, sink in SINKS.items()}
    sinks[FILTERED] = _kafka_sink("out-filtered", filter=filter_)(on)
    declared = [
        *(("EventSource", name, source.spec(on)) for name, source in SOURCES.items()),
        *(("EventSink", name, spec) for name, spec in sinks.items()),
        ("ClientApp", "receiver", {"displayName": "Receiver"}),
        (
            "WebhookSubscription",
            "told",
            {
                "clientAppRef": {"name": "receiver"},
                "eventKeys": ["task-created"],
                "url": on.receiver.url,
            },
        ),
        ("Workflow", "mixed", {"bpmn": {"inline": WORKFLOW}}),
        (
            "EventMapping",
            "mixed",
            {
                "eventKey": "mixed",
                "workflowRef": {"name": "mixed"},
                "filter": "event.payload.origin != 'nobody'",
                "variables": "{'origin': event.payload.origin}",
            },
        ),
    ]
    for kind, name, spec in declared:
        yield {
            "apiVersion": "taskloom.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        }


@contextlib.asynccontextmanager
async def _brokers(folder: Path) -> AsyncIterator[Brokers]:
    async with (
        RealKafka(folder / "kafka") as kafka,
        RealNats(folder / "nats") as nats,
        RealSqs(folder / "sqs") as sqs,
        Receiver() as receiver,
    ):
        topics = ("in-events", "in-cloud", "in-json", "out-events", "out-cloud", "out-filtered")
        for topic in topics:
            await kafka.create_topic(topic, partitions=2)
        await nats.add_stream("IN", "in.>")
        await nats.add_stream("OUT", "out.>")
        port = free_port()
        for queue in ("in", "out"):
            await sqs.create(queue)
        yield Brokers(
            kafka=kafka, nats=nats, sqs=sqs, receiver=receiver, api=f"http://127.0.0.1:{port}"
        )


async def _mix(folder: Path) -> Told:
    """Send events by every source, and see what comes at every sink."""
    files = folder / "files"
    files.mkdir()
    async with _brokers(folder) as on:
        (files / "all.yaml").write_text(yaml.safe_dump_all(_resources(on)))
        port = int(on.api.rpartition(":")[2])
        server = ServedTaskloom(files=files, data_dir=folder / "data", port=port)
        await server.start()
        try:
            async with httpx.AsyncClient(base_url=on.api, headers=server.authorization) as client:
                await server.wait_until_ready(client)
            for name, source in SOURCES.items():
                for number in range(EACH):
                    await source.send(on, {"origin": name, "number": number})
                await source.send(on, {"origin": "nobody"})
            return await _told(on)
        finally:
            await server.stop()


async def _told(on: Brokers) -> Told:
    """Wait until all have come everywhere."""
    readers = {name: sink.read for name, sink in SINKS.items()}
    readers |= {FILTERED: _read_kafka("out-filtered", "payload"), WEBHOOK: _read_webhooks}
    told: dict[str, Counter[str]] = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            while not all(_is_complete(told.get(name)) for name in (*SINKS, WEBHOOK)):
                for name, read in readers.items():
                    tasks = [task for each in await read(on) for task in each["createdTasks"]]
                    told[name] = Counter(task["name"] for task in tasks)
                await asyncio.sleep(0.5)
    return told


def _is_complete(found: Counter[str] | None) -> bool:
    return found is not None and all(
        found[name] >= (1 if name == CRON else EACH) for name in SOURCES
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Mix all at once, for all the tests."""
    return asyncio.run(_mix(tmp_path_factory.mktemp("mixing")))


@pytest.mark.slow
@pytest.mark.parametrize(("source", "sink"), list(itertools.product(SOURCES, [*SINKS, WEBHOOK])))
def test_what_comes_by_a_source_is_told_at_a_sink(told: Told, source: str, sink: str) -> None:
    """Each event once."""
    found = told[sink][source]

    assert found >= 1 if source == CRON else found == EACH


@pytest.mark.slow
def test_filters_hold_between_them(told: Told) -> None:
    """A sink's, and a mapping's."""
    assert {"nats": EACH} == told[FILTERED]
    assert {0} == {found["nobody"] for found in told.values()}
