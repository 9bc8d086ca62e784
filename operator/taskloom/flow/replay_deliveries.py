"""Deliveries that were given up are due once more, now that the receiver has been mended."""

from datetime import datetime
from uuid import UUID

from taskloom.errors import NotFound
from taskloom.flow.services import Services


async def replay_deliveries(
    services: Services,
    to: UUID,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    dry_run: bool = False,
) -> int:
    """Make the dead deliveries of a subscription or sink due now; give how many, or only count.

    `since` and `until` bound when they were made.  Their attempts are kept, and counted on from.
    Raises `NotFound` if there is no such subscription or sink.
    """
    async with services.tasks.begin() as tx:
        known = {each.id for each in await tx.webhooks.subscriptions()}
        known |= {each.id for each in await tx.sinks.all()}
        if to not in known:
            raise NotFound(f"There is no subscription and no sink {to}.")
        if dry_run:
            return await tx.deliveries.count_dead(to, since, until)
        count = await tx.deliveries.revive(to, since, until)
        if count:
            tx.notify("deliveries")
        return count
