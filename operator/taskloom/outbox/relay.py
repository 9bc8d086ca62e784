"""Carries out the jobs that transactions leave behind."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta

import structlog

from taskloom.domain.jobs import Job, JobKind, JobState
from taskloom.errors import Invalid, Permanent, Temporary
from taskloom.flow.complete_user_task import resume_completion
from taskloom.flow.delete_tasks import delete_instances
from taskloom.flow.services import Services
from taskloom.flow.start_children import start_children
from taskloom.flow.start_process import start_process
from taskloom.store.database import Database

log = structlog.get_logger()

_HANDLERS: Mapping[JobKind, Callable[[Services, Job], Awaitable[None]]] = {
    JobKind.START_PROCESS: start_process,
    JobKind.START_CHILDREN: start_children,
    JobKind.COMPLETE_USER_TASK: resume_completion,
    JobKind.DELETE_INSTANCES: delete_instances,
}


class JobQueue:
    """The jobs table as a queue of `taskloom.runtime.loop`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, limit: int, lease: timedelta) -> Sequence[Job]:
        """Take due jobs."""
        async with self._database.at_once() as tx:
            return await tx.jobs.claim(limit, lease)

    async def renew(self, items: Sequence[Job], lease: timedelta) -> None:
        """Hold jobs longer."""
        async with self._database.begin() as tx:
            await tx.jobs.renew([job.id for job in items], lease)


class Relay:
    """Carries out one job: done, put off, or given up with the reason kept."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def run(self, job: Job) -> None:
        """Do what the job says."""
        try:
            await _HANDLERS[job.kind](self._services, job)
        except (Permanent, Invalid) as exc:
            await self._settle(job, exc.message, give_up=True)
        except Exception as exc:  # noqa: BLE001 - whatever it is, the job is kept and tried again
            message = getattr(exc, "message", None) or f"{type(exc).__name__}: {exc}"
            delay = timedelta(seconds=exc.delay) if isinstance(exc, Temporary) else None
            await self._settle(job, message, delay=delay)

    async def _settle(
        self, job: Job, error: str, *, give_up: bool = False, delay: timedelta | None = None
    ) -> None:
        async with self._services.tasks.begin() as tx:
            if give_up:
                state = await tx.jobs.bury(job, error)
            else:
                state = await tx.jobs.retry(job, error, delay=delay)
        event = "job.given-up" if state is JobState.DEAD else "job.put-off"
        log.warning(event, job=str(job.id), kind=job.kind, attempts=job.attempts, error=error)
