"""Deliveries are claimed, sent, judged and recorded.

A queue of `taskloom.runtime.loop`.  Each subscription has places of its own, so a slow endpoint
fills its own and no other's; attempts and their consequences are written in one transaction,
those that end together in one.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from taskloom.delivery.answer import judge
from taskloom.delivery.request import Scheme, Signing, build_request
from taskloom.domain.deliveries import Attempt, ClaimedDelivery, DeliveryState, tally
from taskloom.domain.egress import EgressPolicy
from taskloom.domain.retry import (
    Action,
    RetryDecision,
    Schedule,
    Verdict,
    default_schedule_for,
    next_attempt,
)
from taskloom.domain.retry import Outcome as AttemptOutcome
from taskloom.domain.webhooks import ClientApp, Subscription
from taskloom.errors import Invalid, Temporary
from taskloom.ports.sender import Answer, ErrorClass, Failure, Sender, SendResult
from taskloom.runtime.batcher import Batcher
from taskloom.store.database import Database
from taskloom.store.transaction import Transaction

log = structlog.get_logger()

_MOST_KNOWN = 10_000
_RECORD_PAUSES = (0.1, 0.5, 1, 2, 3, 3, 3, 3, 3, 3, 3)  # seconds, about as long as a lease
_SPARED = timedelta(seconds=5)  # if the endpoint does not say for how long


@dataclass(frozen=True, slots=True, kw_only=True)
class Consignment:
    """A claimed delivery with all that is needed to send it."""

    delivery: ClaimedDelivery
    subscription: Subscription
    client: ClientApp


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settled:
    attempt: Attempt
    subscription_id: UUID
    decision: RetryDecision
    spared_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    stamp: datetime
    subscription: Subscription
    client: ClientApp


class DeliveryQueue:
    """The deliveries of the subscriptions in force, as a queue."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._in_flight: Counter[UUID] = Counter()
        self._known: dict[UUID, _Known] = {}
        self._claimed: Sequence[ClaimedDelivery] = ()  # whose subscriptions are not read yet

    async def claim(self, limit: int, lease: timedelta) -> Sequence[Consignment]:
        """Take due deliveries, as many of each subscription as it has free places."""
        async with self._database.at_once() as tx:
            # What was claimed just before the database went away is not left to its lease.
            if not self._claimed:
                self._claimed = await tx.deliveries.claim(limit, +self._in_flight, lease)
            await self._learn(tx, self._claimed)
        claimed, self._claimed = self._claimed, ()
        consignments = [
            Consignment(delivery=delivery, subscription=known.subscription, client=known.client)
            for delivery in claimed
            if (known := self._known.get(delivery.subscription_id)) is not None
        ]
        self._in_flight.update(item.delivery.subscription_id for item in consignments)
        return consignments

    async def renew(self, items: Sequence[Consignment], lease: timedelta) -> None:
        """Hold deliveries longer."""
        async with self._database.begin() as tx:
            await tx.deliveries.renew([item.delivery.id for item in items], lease)

    def release(self, subscription_id: UUID) -> None:
        """Give a subscription's place back."""
        self._in_flight[subscription_id] -= 1

    async def _learn(self, tx: Transaction, claimed: Sequence[ClaimedDelivery]) -> None:
        """Read the subscriptions that are new here or have changed; the rest is remembered."""
        stamps = {delivery.subscription_id: delivery.stamp for delivery in claimed}
        unknown = [
            id_
            for id_, stamp in stamps.items()
            if id_ not in self._known or self._known[id_].stamp != stamp
        ]
        if not unknown:
            return
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        read = await tx.webhooks.subscriptions_by_ids(list(stamps))
        for id_, (subscription, client) in read.items():
            self._known[id_] = _Known(stamp=stamps[id_], subscription=subscription, client=client)


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
            schedule = schedule_of(item.subscription)
            result, verdict = await self._attempt(item, started_at)
            decision = next_attempt(
                schedule,
                item.delivery.attempt,
                self._now(),
                verdict,
                random.random(),  # noqa: S311 - spreads retries, guards nothing
            )
            await self._record(
                _Settled(
                    attempt=_attempt_of(item, started_at, result),
                    subscription_id=item.subscription.id,
                    decision=decision,
                    spared_until=spared_until(verdict, self._now()),
                )
            )
            _log(item, result, decision)
        finally:
            self._queue.release(item.subscription.id)

    async def _record(self, settled: _Settled) -> None:
        """Record an attempt, tried again for a while: unrecorded, it would be made once more."""
        for pause in _RECORD_PAUSES:
            try:
                await self._settler.put(settled)
            except Temporary:
                await asyncio.sleep(pause)
            else:
                return
        log.warning("delivery.not-recorded", delivery=str(settled.attempt.delivery_id))

    async def _attempt(self, item: Consignment, now: datetime) -> tuple[SendResult, Verdict]:
        try:
            request = build_request(
                item.delivery.event,
                item.subscription.target,
                Signing(
                    scheme=Scheme(item.subscription.scheme),
                    api_secrets=item.client.api_secrets(now),
                    signing_secrets=item.client.signing_secrets(now),
                ),
                attempt=item.delivery.attempt,
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
            await tx.delivery_health.add(
                tally(
                    (settled.subscription_id, settled.attempt, _STATES[settled.decision.action])
                    for settled in batch
                )
            )
            for settled in batch:
                if settled.spared_until is not None:
                    await tx.webhooks.pause_subscription(
                        settled.subscription_id, settled.spared_until
                    )
                if settled.decision.disables_subscription:
                    await tx.webhooks.disable_subscription(
                        settled.subscription_id, settled.decision.reason
                    )
        return [None] * len(batch)


_STATES = {
    Action.FINISH: DeliveryState.DELIVERED,
    Action.RETRY: DeliveryState.PENDING,
    Action.GIVE_UP: DeliveryState.DEAD,
}


def spared_until(verdict: Verdict, now: datetime) -> datetime | None:
    """Give the moment until which an endpoint that is overloaded is sent nothing at all."""
    if verdict.outcome is not AttemptOutcome.THROTTLE:
        return None
    return now + (verdict.retry_after or _SPARED)


def schedule_of(subscription: Subscription) -> Schedule:
    """Give a subscription's own schedule, or the one for its kind of host."""
    delays = subscription.delivery.schedule
    if not delays:
        return default_schedule_for(subscription.host)
    return Schedule(delays=tuple(timedelta(seconds=delay) for delay in delays))


def _attempt_of(item: Consignment, started_at: datetime, result: SendResult) -> Attempt:
    answer = result if isinstance(result, Answer) else None
    failure = result if isinstance(result, Failure) else None
    withhold = item.subscription.target.withhold
    headers = {name: withhold(value) for name, value in answer.headers.items()} if answer else None
    return Attempt(
        delivery_id=item.delivery.id,
        number=item.delivery.attempt,
        started_at=started_at,
        milliseconds=result.elapsed_ms,
        status=answer.status if answer else None,
        error=f"{failure.error}: {failure.message}" if failure else None,
        response_headers=json.dumps(headers) if answer else None,
        response_body=withhold(answer.text) if answer else None,
    )


def _log(item: Consignment, result: SendResult, decision: RetryDecision) -> None:
    fields = {
        "delivery": str(item.delivery.id),
        "outgoing_event": str(item.delivery.event.id),
        "host": item.subscription.host,
        "attempt": item.delivery.attempt,
        "milliseconds": result.elapsed_ms,
        "reason": decision.reason,
    }
    if decision.action is Action.FINISH:
        log.debug("delivery.delivered", **fields)
    else:
        log.warning("delivery.failed", next_at=str(decision.at), **fields)
