"""What SQS refuses, and how it is told: by the errors of AWS, from a server that answers so."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from taskloom.connectors.sqs.connection import open_queue, region_of, trouble_of
from taskloom.connectors.sqs.messages import attributes_of, batches, group_of
from taskloom.connectors.sqs.source import Sqs
from taskloom.domain.conditions import Reason
from taskloom.domain.secret import Secret
from taskloom.ports.connector import SourceFailed
from taskloom.resources.broker import SqsQueue
from taskloom.testing.connectors import FakeContext, source_row

KEYS = {"accessKeyId": Secret("AKIDHUNTER"), "secretAccessKey": Secret("hunter2")}


@asynccontextmanager
async def answering(status: int, error: str, text: str = "no hunter2") -> AsyncIterator[str]:
    """Answer every request with an error as SQS writes it; give the address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
            writer.write(reply())
            await writer.drain()
        finally:
            writer.close()

    def reply() -> bytes:
        body = json.dumps({"__type": error, "message": text}).encode()
        if "#" not in error:  # an older protocol, which the token service still speaks
            body = f"<E><Error><Code>{error}</Code></Error></E>".encode()
        answer_head = (
            f"HTTP/1.1 {status} X\r\nContent-Type: application/x-amz-json-1.0\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return answer_head.encode() + body

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (400, "com.amazonaws.sqs#QueueDoesNotExist", Reason.TOPIC_NOT_FOUND),
        (400, "com.amazonaws.sqs#InvalidAddress", Reason.CONNECT_FAILED),
        (403, "com.amazon.coral.service#InvalidClientTokenId", Reason.AUTH_FAILED),
        (403, "com.amazon.coral.service#SignatureDoesNotMatch", Reason.AUTH_FAILED),
        (400, "com.amazon.coral.service#AccessDeniedException", Reason.AUTH_FAILED),
        (400, "com.amazon.coral.service#ExpiredTokenException", Reason.AUTH_FAILED),
        (400, "com.amazon.coral.service#UnrecognizedClientException", Reason.AUTH_FAILED),
        (503, "com.amazonaws.sqs#ServiceUnavailable", Reason.CONNECT_FAILED),
    ],
)
async def test_an_error_of_aws_is_told_by_its_reason(
    status: int, error: str, reason: Reason
) -> None:
    """Without what AWS says beside it, which repeats what it was sent."""
    async with answering(status, error) as address:
        row = source_row({"sqs": {"queueUrl": f"{address}/0/q"}}, secrets=KEYS)
        async with asyncio.timeout(15):
            with pytest.raises(SourceFailed) as raised:
                await Sqs().run(FakeContext(row))

    assert reason == raised.value.reason
    assert "hunter" not in raised.value.message.lower()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NoCredentialsError(), Reason.AUTH_FAILED),
        (TimeoutError(), Reason.CONNECT_FAILED),
        (EndpointConnectionError(endpoint_url="http://x"), Reason.CONNECT_FAILED),
        (ClientError({"Error": {"Code": "RequestThrottled"}}, "X"), Reason.CONNECT_FAILED),
        (
            ClientError({"Error": {"Code": "AWS.SimpleQueueService.NonExistentQueue"}}, "X"),
            Reason.TOPIC_NOT_FOUND,
        ),
    ],
)
def test_an_error_of_the_client_has_a_reason(error: Exception, reason: Reason) -> None:
    """Those of older servers too."""
    assert reason == trouble_of(error).reason


async def test_a_page_of_a_proxy_is_no_answer() -> None:
    """It is told as a queue that cannot be reached."""
    async with answering(502, "gateway<") as address:
        row = source_row({"sqs": {"queueUrl": f"{address}/0/q"}}, secrets=KEYS)
        with pytest.raises(SourceFailed) as raised:
            await Sqs().run(FakeContext(row))

    assert Reason.CONNECT_FAILED == raised.value.reason


async def test_a_server_that_never_answers_is_told_within_seconds() -> None:
    """It takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/0/q"
        row = source_row({"sqs": {"queueUrl": url}}, secrets=KEYS)
        async with asyncio.timeout(15):
            with pytest.raises(SourceFailed) as raised:
                await Sqs().run(FakeContext(row))

    assert Reason.CONNECT_FAILED == raised.value.reason


async def test_a_role_is_assumed_before_the_queue_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the token service refuses is told as being refused."""
    async with answering(403, "AccessDenied") as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", address)
        spec = SqsQueue.model_validate(
            {"queueUrl": "http://127.0.0.1:9/0/q", "auth": {"roleArn": "arn:aws:iam::0:role/r"}}
        )
        async with open_queue(spec, KEYS) as queue:
            with pytest.raises(ClientError) as raised:
                await queue.attributes()

    assert Reason.AUTH_FAILED == trouble_of(raised.value).reason
    assert "AssumeRole" == raised.value.operation_name


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.eu-central-1.amazonaws.com/1/q", "eu-central-1"),
        ("https://vpce-1.sqs.us-gov-west-1.vpce.amazonaws.com/1/q", "us-gov-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", "cn-north-1"),
        ("https://eu-west-1.queue.amazonaws.com/1/q", "eu-west-1"),
        ("http://localhost:9324/1/q", "us-east-1"),
    ],
)
def test_the_region_is_that_of_the_url(url: str, region: str) -> None:
    """Unless another one is declared."""
    assert region == region_of(SqsQueue.model_validate({"queueUrl": url}))
    other: Mapping[str, Any] = {"queueUrl": url, "region": "x"}
    assert "x" == region_of(SqsQueue.model_validate(other))


def test_headers_are_attributes_as_sqs_takes_them() -> None:
    """Ten at most, by valid names, never empty."""
    headers = {"aws.x": "1", "a b": "1", "empty": "", "bad": "\x00"}
    headers |= {f"h{number}": "1" for number in range(12)}

    assert [f"h{number}" for number in range(10)] == list(attributes_of(headers))


def test_requests_are_as_large_as_sqs_takes_them() -> None:
    """Ten messages, and a megabyte."""
    small = [{"MessageBody": "x"} for _ in range(11)]
    large = [{"MessageBody": "x" * 600_000} for _ in range(3)]

    assert [10, 1] == [len(batch) for batch in batches(small)]
    assert [1, 1, 1] == [len(batch) for batch in batches(large)]


def test_a_group_is_the_key_where_sqs_takes_it() -> None:
    """Else its hash."""
    assert "order-1" == group_of("order-1")
    assert 64 == len(group_of("k" * 200)) == len(group_of("Schlüssel"))
