"""The database goes away between two steps of a delivery: what is in hand is not dropped."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from taskloom.domain.deliveries import DeliveryState
from taskloom.errors import Unavailable
from taskloom.flow.publish import publish
from taskloom.store.deliveries import Deliveries
from taskloom.store.webhooks import Webhooks
from taskloom.testing.plant import LEASE, Plant


def failing_first(times: int, method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method of the store fail so often, as if the database were away, and then work."""
    left = [None] * times

    async def attempt(*arguments: Any) -> Any:
        if left:
            left.pop()
            raise Unavailable
        return await method(*arguments)

    return attempt


async def states(plant: Plant) -> Sequence[DeliveryState]:
    """List the states of all deliveries."""
    async with plant.services.tasks.begin() as tx:
        counts = await tx.deliveries.counts()
    return [state for each in counts.values() for state in each]


async def tell(plant: Plant) -> None:
    """Leave one delivery."""
    await plant.subscribe()
    async with plant.services.tasks.begin() as tx:
        await publish(plant.services, tx, "task-created", {})


async def test_what_was_claimed_is_kept_though_its_subscription_could_not_be_read(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next claim gives it, without waiting until its lease has run out."""
    await tell(plant)
    failing = failing_first(1, Webhooks.subscriptions_by_ids)
    monkeypatch.setattr(Webhooks, "subscriptions_by_ids", failing)
    with pytest.raises(Unavailable):
        await plant.deliveries.claim(10, LEASE)

    (kept,) = await plant.deliveries.claim(10, LEASE)
    await plant.dispatcher.run(kept)

    assert [DeliveryState.DELIVERED] == await states(plant)
    assert () == tuple(await plant.deliveries.claim(10, LEASE))


async def test_an_attempt_is_recorded_once_the_database_is_back(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The webhook is not sent again only because its success could not be written at once."""
    await tell(plant)
    monkeypatch.setattr(Deliveries, "settle", failing_first(3, Deliveries.settle))
    (delivery,) = await plant.deliveries.claim(10, LEASE)

    await plant.dispatcher.run(delivery)

    assert 1 == len(plant.sender.requests)
    assert [DeliveryState.DELIVERED] == await states(plant)
