"""Webhooks that come in: genuine ones, forged ones, and those that are waited for."""

import json
from collections.abc import Mapping

import pytest

from taskloom.cli.inbox import Inbox
from taskloom.cli.receiver import ReceiverSecrets, Webhook, read_webhook
from taskloom.domain.secret import Secret
from taskloom.domain.signing import (
    make_signing_secret,
    standard_webhooks_signature,
    task_signature,
)
from taskloom.errors import Permanent

NOW = 1_800_000_000
API_SECRET = Secret("api-secret")
SIGNING_SECRET = make_signing_secret(b"k" * 32)
BOTH = ReceiverSecrets(api_secret=API_SECRET, signing_secret=SIGNING_SECRET)
BODY = b'{"key":"task-completed","payload":{"taskId":"1"}}'


def _headers(body: bytes = BODY) -> dict[str, str]:
    return {
        "x-task-signature": task_signature(API_SECRET, body.decode(), NOW * 1000),
        "x-task-timestamp": str(NOW * 1000),
        "webhook-id": "w1",
        "webhook-timestamp": str(NOW),
        "webhook-signature": standard_webhooks_signature([SIGNING_SECRET], "w1", NOW, body),
    }


def _read(headers: Mapping[str, str], body: bytes = BODY, now: float = NOW) -> Webhook:
    return read_webhook(headers, body, BOTH, now=now)


def test_a_genuine_webhook_is_verified_both_ways() -> None:
    """Both signatures are checked, and the event is at hand."""
    webhook = _read(_headers())

    assert webhook.fault is None
    assert webhook.verified == ("x-task-signature", "webhook-signature")
    assert (webhook.id, webhook.key, webhook.payload) == ("w1", "task-completed", {"taskId": "1"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"x-task-signature": "0" * 64}, "x-task-signature"),
        ({"x-task-timestamp": str(NOW * 1000 - 400_000)}, "x-task-signature"),
        ({"webhook-signature": "v1,AAAA"}, "webhook-signature"),
        ({"webhook-id": "w2"}, "webhook-signature"),
        ({"webhook-timestamp": "soon"}, "webhook-signature"),
    ],
)
def test_a_forged_webhook_is_told_apart(changes: dict[str, str], said: str) -> None:
    """Each part that is signed counts; one wrong signature spoils the call."""
    webhook = _read(_headers() | changes)

    assert webhook.fault is not None
    assert said in webhook.fault


@pytest.mark.parametrize("body", [BODY.replace(b"1", b"2"), b"not json", b"[1]", b"\xff"])
def test_another_body_is_not_genuine(body: bytes) -> None:
    """Whatever was changed on the way, or is no event at all."""
    assert _read(_headers(), body).fault is not None


def test_no_signature_is_not_genuine() -> None:
    """A call without a signature is refused; so is an old one that is played again."""
    assert _read({"webhook-id": "w1"}).fault == "it carries no signature that could be verified"
    assert _read(_headers(), now=NOW + 301).fault is not None


def test_one_scheme_is_enough() -> None:
    """A subscription may sign in one way only."""
    headers = {name: value for name, value in _headers().items() if not name.startswith("x-")}

    webhook = _read(headers)

    assert (webhook.fault, webhook.verified) == (None, ("webhook-signature",))


def _webhook(
    id_: str, *, verified: tuple[str, ...] = ("x-task-signature", "webhook-signature")
) -> Webhook:
    return Webhook(
        id=id_, event=json.loads(BODY), verified=verified, fault=None if verified else "forged"
    )


async def test_a_webhook_that_comes_twice_counts_once() -> None:
    """Deliveries are at least once; the id tells them apart."""
    inbox = Inbox()
    for id_ in ("w1", "w1", "w2"):
        inbox.take(_webhook(id_))

    assert 2 == len(inbox.about("task-completed", lambda payload: payload["taskId"] == "1"))
    assert [] == inbox.about("task-completed", lambda payload: payload["taskId"] == "2")
    assert "w1" == (await inbox.find("task-completed", lambda _: True, 1.0)).id


async def test_what_does_not_come_is_said_with_what_was_wrong() -> None:
    """Waiting ends with the reasons why others did not count."""
    inbox = Inbox()
    inbox.take(_webhook("w1", verified=()))
    inbox.take(_webhook("w2", verified=("x-task-signature",)))

    with pytest.raises(Permanent, match=r"forged; task-completed carries only x-task-signature"):
        await inbox.find("task-completed", lambda _: True, 0.0)
