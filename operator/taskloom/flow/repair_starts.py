"""A start id that led to several instances is left with one: what a crash may have doubled."""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from taskloom.flow.services import Services
from taskloom.ports.engine import Instance

log = structlog.get_logger()

_WITHIN = timedelta(days=1)
_REASON = "Started twice by one start id: another instance goes on."


async def repair_starts(services: Services) -> int:
    """End the instances that were started besides the one that is recorded; return how many.

    An engine elsewhere knows no unique start ids: of two starts at once, as after a lease that ran
    out during a long silence, both may come true.  The recorded one stays, or else the oldest.
    """
    repeated = await services.engine.repeated_starts(_WITHIN)
    ended = 0
    for start_id, instances in repeated.items():
        ended += await _leave_one(services, start_id, instances)
    return ended


async def _leave_one(services: Services, start_id: str, instances: Sequence[Instance]) -> int:
    ids = [instance.id for instance in instances]
    async with services.tasks.begin() as tx:
        start = await tx.jobs.instance_of_start(start_id)
    if not start.is_known:
        return 0  # a business key of somebody else's, which need not be unique
    kept = start.instance_id if start.instance_id in ids else ids[0]
    surplus = [id_ for id_ in ids if id_ != kept]
    await services.engine.delete_instances(surplus, _REASON)
    log.warning("start.repeated", start_id=start_id, kept=kept, ended=surplus)
    return len(surplus)
