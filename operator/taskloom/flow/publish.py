"""An outgoing event and its deliveries, written in the caller's transaction."""

import json
from typing import Any
from uuid import UUID

from taskloom.domain.events import OutgoingEvent
from taskloom.domain.webhooks import matches_key
from taskloom.flow.filters import reason_against
from taskloom.flow.services import SOURCE, Services
from taskloom.ids import derived_id, new_id
from taskloom.store.transaction import Transaction


async def publish(
    services: Services,
    tx: Transaction,
    key: str,
    payload: Any,
    *,
    event_id: UUID | None = None,
    task_id: UUID | None = None,
    root_instance_id: str | None = None,
) -> None:
    """Tell every subscription and sink that wants it; it is theirs once `tx` is committed.

    They are matched here and now: one made later is not told of what was before.
    """
    if not services.webhooks:
        return
    event = OutgoingEvent(
        id=new_id(),
        key=key,
        payload=json.dumps(payload, separators=(",", ":")),
        source=SOURCE,
        event_id=event_id,
        task_id=task_id,
        root_instance_id=root_instance_id,
        created_on=services.now(),
    )
    await tx.outgoing.add(event)
    sinks = await tx.sinks.interests()
    wanted = [
        id_
        for id_, globs, condition in (*await tx.webhooks.interests(), *sinks)
        if matches_key(globs, key)
        and reason_against(condition, key, event.payload, event.source) is None
    ]
    if wanted:
        await tx.deliveries.add(
            [(derived_id("delivery", event.id, id_), event.id, id_) for id_ in wanted],
            sinks={id_ for id_, _, _ in sinks},
        )
        tx.notify("deliveries")
