"""How a queue is connected to, and what is wrong when it is not."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.credentials import (
    AioAssumeRoleCredentialFetcher,
    AioCredentials,
    AioDeferredRefreshableCredentials,
)
from aiobotocore.session import AioSession
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError

from taskloom.domain.conditions import Reason
from taskloom.domain.secret import Secret
from taskloom.resources.broker import SqsQueue

REACH_SECONDS = 8.0
"""How long a queue has to answer before it counts as not there, logging in included."""

FAILURES = (ClientError, BotoCoreError, ResponseParserError, OSError)
"""What the client raises; a `TimeoutError` is an `OSError`, a page of a proxy cannot be parsed."""

_CONNECT_SECONDS, _READ_SECONDS = 3.0, 6.0
_REGION = re.compile(
    r"(?:^|\.)(?:sqs|sqs-fips)\.([a-z]{2,}-[a-z0-9-]+)\.|^([a-z0-9-]+)\.queue\.amazonaws\."
)
_ANY_REGION = "us-east-1"  # a server that is not AWS's takes any
_NO_QUEUE = ("QueueDoesNotExist", "NonExistentQueue", "QueueDeletedRecently")
_REFUSED = (
    "AccessDenied",
    "Expired",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidIdentityToken",
    "InvalidSecurity",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClient",
)
_NO_CREDENTIALS = (CredentialRetrievalError, NoCredentialsError, PartialCredentialsError)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a queue, in words that hold no secret."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """An open queue; `client` is aiobotocore's."""

    client: Any
    url: str

    @property
    def fifo(self) -> bool:
        """Whether it keeps an order; the name of one that does ends so."""
        return self.url.endswith(".fifo")

    async def attributes(self) -> Mapping[str, str]:
        """Read what the queue tells of itself; `TimeoutError` if that takes too long."""
        async with asyncio.timeout(REACH_SECONDS):
            answer = await self.client.get_queue_attributes(
                QueueUrl=self.url, AttributeNames=["All"]
            )
        found: Mapping[str, str] = answer.get("Attributes", {})
        return found


@asynccontextmanager
async def open_queue(
    spec: SqsQueue, secrets: Mapping[str, Secret], *, wait: float = 0.0
) -> AsyncIterator[Queue]:
    """Connect to a queue; an answer may take `wait` seconds longer than others do.

    Without keys in `secrets` the surroundings say who we are, as AWS's own tools find it out:
    the environment, a web identity (IRSA), a pod identity, the machine's role.
    """
    session = AioSession()
    region = region_of(spec)
    config = AioConfig(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS + wait,
        retries={"total_max_attempts": 2, "mode": "standard"},
        max_pool_connections=20,
    )
    await _log_in(session, spec, secrets, region)
    endpoint = spec.endpoint or "{0.scheme}://{0.netloc}".format(urlsplit(spec.queue_url))
    async with session.create_client(
        "sqs", region_name=region, endpoint_url=endpoint, config=config
    ) as client:
        yield Queue(client=client, url=spec.queue_url)


def region_of(spec: SqsQueue) -> str:
    """Give the region: the spec's, else that of the queue's URL."""
    if spec.region is not None:
        return spec.region
    found = _REGION.search(urlsplit(spec.queue_url).hostname or "")
    return next((group for group in found.groups() if group), _ANY_REGION) if found else _ANY_REGION


def trouble_of(error: BaseException) -> Trouble:
    """Find out what an error of the client's or of a socket means."""
    if isinstance(error, ClientError):
        return _refusal(error)
    if isinstance(error, _NO_CREDENTIALS):
        text = "no credentials were found: name keys in spec.sqs.auth, or give the pod an identity"
        return Trouble(Reason.AUTH_FAILED, text)
    if isinstance(error, TimeoutError):
        text = f"the queue did not answer within {REACH_SECONDS:.0f} seconds"
        return Trouble(Reason.CONNECT_FAILED, text)
    return Trouble(Reason.CONNECT_FAILED, f"the queue cannot be reached: {_kind(error)}")


def _refusal(error: ClientError) -> Trouble:
    # Only the code is told: AWS's texts repeat what it was sent.
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    word = code.rpartition(".")[2].rpartition("#")[2]
    if any(name in code for name in _NO_QUEUE):
        text = f"there is no such queue, or it is not to be seen by us ({word})"
        return Trouble(Reason.TOPIC_NOT_FOUND, text)
    if any(name in code for name in _REFUSED) or status in (401, 403):
        return Trouble(Reason.AUTH_FAILED, f"the queue does not let us in ({word})")
    return Trouble(Reason.CONNECT_FAILED, f"the queue does not serve us now ({word})")


def _kind(error: BaseException) -> str:
    cause = error.kwargs.get("error") if isinstance(error, BotoCoreError) else None
    return type(error).__name__ if cause is None else f"{type(error).__name__} ({cause})"


async def _log_in(
    session: AioSession, spec: SqsQueue, secrets: Mapping[str, Secret], region: str
) -> None:
    """Say who we are; a role is assumed when it is needed first, and again before it runs out."""
    if "accessKeyId" in secrets:
        token = secrets.get("sessionToken")
        session.set_credentials(
            secrets["accessKeyId"].reveal(),
            secrets["secretAccessKey"].reveal(),
            None if token is None else token.reveal(),
        )
    if spec.auth is None or spec.auth.role_arn is None:
        return
    own: AioCredentials | None = await session.get_credentials()
    if own is None:
        raise NoCredentialsError
    config = AioConfig(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"total_max_attempts": 1},
    )
    fetcher = AioAssumeRoleCredentialFetcher(
        partial(session.create_client, region_name=region, config=config),
        own,
        spec.auth.role_arn,
        extra_args={"RoleSessionName": "taskloom"},
    )
    # There is no public way to hand over credentials that renew themselves.
    session._credentials = AioDeferredRefreshableCredentials(  # noqa: SLF001
        refresh_using=fetcher.fetch_credentials, method="assume-role"
    )
