"""What stopped on an event's way is given another try, now that its cause has been mended."""

from dataclasses import dataclass
from uuid import UUID

from taskloom.errors import NotFound
from taskloom.flow.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """How many starts that had failed are due again, and how many incidents were given a try."""

    starts: int
    incidents: int


async def retry_event(services: Services, event_id: UUID) -> Retried:
    """Try again what failed; what is done stays done.  `NotFound` if there is no such event."""
    async with services.tasks.begin() as tx:
        if await tx.events.get(event_id) is None:
            raise NotFound(f"There is no event {event_id}.")
        starts = await tx.jobs.retry_of_event(event_id)
        if starts:
            tx.notify("jobs")
        roots = [job.instance_id for job in await tx.jobs.of_event(event_id)]
        roots += [task.external_id for task in await tx.tasks.of_event(event_id)]
    known = [root for root in roots if root is not None]
    incidents = await services.engine.incidents(known) if known else ()
    for incident in incidents:
        await services.engine.retry_incident(incident.id)
    return Retried(starts=starts, incidents=len(incidents))
