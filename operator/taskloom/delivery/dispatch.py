"""Deliveries are claimed, sent, judged and recorded.

A queue of `taskloom.runtime.loop`.  Each subscription has places of its own, so a slow endpoint
fills its own and no other's; attempts and their consequences are written in one transaction,
those that end together in one.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from taskloom.delivery.answer import judge
from taskloom.delivery.request import Scheme, Signing, build_request
from taskloom.domain.deliveries import Attempt, Delivery, DeliveryState
from taskloom.domain.egress import EgressPolicy
from taskloom.domain.events import OutgoingEvent
from taskloom.domain.retry import (
    Action,
    RetryDecision,
    Schedule,
    Verdict,
    custom_schedule,
    default_schedule_for,
    next_attempt,
)
from taskloom.domain.retry import Outcome as AttemptOutcome
from taskloom.domain.webhooks import ClientApp, Subscription
from taskloom.errors import Invalid
from taskloom.ports.sender import Answer, ErrorClass, Failure, Sender, SendResult
from taskloom.runtime.batcher import Batcher
from taskloom.store.database import Database

log = structlog.get_logger()

_REFRESH_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Consignment:
    """A claimed delivery with all that is needed to send it."""

    delivery: Delivery
    event: OutgoingEvent
    subscription: Subscription
    client: ClientApp


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settled:
    attempt: Attempt
    subscription_id: UUID
    decision: RetryDecision


class DeliveryQueue:
    """The deliveries of the subscriptions in force, as a queue."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._in_flight: Counter[UUID] = Counter()
        self._subscriptions: dict[UUID, tuple[Subscription, ClientApp]] = {}
        self._read_at = float("-inf")

    async def claim(self, limit: int, lease: timedelta) -> Sequence[Consignment]:
        """Take due deliveries, as many of each subscription as it has free places."""
        async with self._database.begin() as tx:
            now = asyncio.get_running_loop().time()
            if now - self._read_at >= _REFRESH_SECONDS:
                clients = {client.id: client for client in await tx.webhooks.client_apps()}
                self._subscriptions = {
                    subscription.id: (subscription, clients[subscription.client_id])
                    for subscription in await tx.webhooks.subscriptions()
                }
                self._read_at = now
            places = self._places(limit)
            if not places:
                return ()
            claimed = await tx.deliveries.claim(places, lease)
            if not claimed:
                return ()
            events = await tx.outgoing.by_ids({d.outgoing_event_id for d in claimed})
        self._in_flight.update(delivery.subscription_id for delivery in claimed)
        return [self._consign(delivery, events) for delivery in claimed]

    async def renew(self, items: Sequence[Consignment], lease: timedelta) -> None:
        """Hold deliveries longer."""
        async with self._database.begin() as tx:
            await tx.deliveries.renew([item.delivery.id for item in items], lease)

    def release(self, subscription_id: UUID) -> None:
        """Give a subscription's place back."""
        self._in_flight[subscription_id] -= 1

    def forget(self) -> None:
        """Read the subscriptions anew at the next claim."""
        self._read_at = float("-inf")

    def _places(self, limit: int) -> dict[UUID, int]:
        places: dict[UUID, int] = {}
        for id_, (subscription, client) in self._subscriptions.items():
            if subscription.suspended or subscription.disabled_at or client.suspended:
                continue
            free = subscription.delivery.max_in_flight - self._in_flight[id_]
            if free > 0:
                places[id_] = min(free, limit)
        return places

    def _consign(self, delivery: Delivery, events: Mapping[UUID, OutgoingEvent]) -> Consignment:
        subscription, client = self._subscriptions[delivery.subscription_id]
        return Consignment(
            delivery=delivery,
            event=events[delivery.outgoing_event_id],
            subscription=subscription,
            client=client,
        )


class Dispatcher:
    """Sends one delivery and settles what follows."""

    def __init__(
        self,
        database: Database,
        queue: DeliveryQueue,
        sender: Sender,
        policy: EgressPolicy,
        *,
        now: Callable[[], datetime],
        version: str,
    ) -> None:
        self._database = database
        self._queue = queue
        self._sender = sender
        self._policy = policy
        self._now = now
        self._version = version
        self._settler: Batcher[_Settled, None] = Batcher(self._settle)

    async def run(self, item: Consignment) -> None:
        """Make one attempt, and record it with its consequence."""
        try:
            started_at = self._now()
            result, verdict = await self._attempt(item, started_at)
            decision = next_attempt(
                schedule_of(item.subscription),
                item.delivery.attempts,
                self._now(),
                verdict,
                random.random(),  # noqa: S311 - spreads retries, guards nothing
            )
            await self._settler.put(
                _Settled(
                    attempt=_attempt_of(item, started_at, result),
                    subscription_id=item.subscription.id,
                    decision=decision,
                )
            )
            _log(item, result, decision)
        finally:
            self._queue.release(item.subscription.id)

    async def _attempt(self, item: Consignment, now: datetime) -> tuple[SendResult, Verdict]:
        try:
            request = build_request(
                item.event,
                item.subscription.target,
                Signing(
                    scheme=Scheme(item.subscription.scheme),
                    api_secret=item.client.api_secret,
                    signing_secrets=(item.client.signing_secret,),
                ),
                attempt=item.delivery.attempts,
                now=now,
                version=self._version,
                policy=self._policy,
                timeout_seconds=item.subscription.delivery.timeout_seconds,
            )
        except Invalid as exc:
            # It cannot be sent as it is, but the subscription may be mended: tried again.
            failure = Failure(error=ErrorClass.PROTOCOL, message=exc.message, elapsed_ms=0)
            return failure, Verdict(outcome=AttemptOutcome.RETRY, reason=exc.message)
        result = await self._sender.send(request)
        return result, judge(result, self._now())

    async def _settle(self, batch: Sequence[_Settled]) -> Sequence[None]:
        async with self._database.begin() as tx:
            await tx.deliveries.settle(
                [
                    (settled.attempt, _STATES[settled.decision.action], settled.decision.at)
                    for settled in batch
                ]
            )
            for settled in batch:
                if settled.decision.disables_subscription:
                    await tx.webhooks.disable_subscription(
                        settled.subscription_id, settled.decision.reason
                    )
                    await tx.deliveries.bury_pending(settled.subscription_id)
                    self._queue.forget()
        return [None] * len(batch)


_STATES = {
    Action.FINISH: DeliveryState.DELIVERED,
    Action.RETRY: DeliveryState.PENDING,
    Action.GIVE_UP: DeliveryState.DEAD,
}


def schedule_of(subscription: Subscription) -> Schedule:
    """Give a subscription's own schedule, or the one for its kind of host."""
    delays = subscription.delivery.schedule
    if delays is None:
        return default_schedule_for(subscription.host)
    return custom_schedule([timedelta(seconds=delay) for delay in delays])


def _attempt_of(item: Consignment, started_at: datetime, result: SendResult) -> Attempt:
    answer = result if isinstance(result, Answer) else None
    failure = result if isinstance(result, Failure) else None
    return Attempt(
        delivery_id=item.delivery.id,
        number=item.delivery.attempts,
        started_at=started_at,
        milliseconds=result.elapsed_ms,
        status=answer.status if answer else None,
        error=f"{failure.error}: {failure.message}" if failure else None,
        response_headers=json.dumps(dict(answer.headers)) if answer else None,
        response_body=answer.text if answer else None,
    )


def _log(item: Consignment, result: SendResult, decision: RetryDecision) -> None:
    fields = {
        "delivery": str(item.delivery.id),
        "outgoing_event": str(item.event.id),
        "host": item.subscription.host,
        "attempt": item.delivery.attempts,
        "milliseconds": result.elapsed_ms,
        "reason": decision.reason,
    }
    if decision.action is Action.FINISH:
        log.debug("delivery.delivered", **fields)
    else:
        log.warning("delivery.failed", next_at=str(decision.at), **fields)
