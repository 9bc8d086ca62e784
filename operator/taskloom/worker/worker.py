"""Fetches external tasks by topic and runs their commands.

A queue of `taskloom.runtime.loop`: the engine's locks are its leases.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from taskloom.commands.registry import Registry
from taskloom.domain.commands import BpmnError
from taskloom.errors import TaskloomError, Temporary
from taskloom.flow.apply_command import LockLost, apply_command
from taskloom.flow.services import Services
from taskloom.ports.command import Command
from taskloom.ports.engine import ExternalTask
from taskloom.store.ledger import LedgerEntry
from taskloom.worker.failures import FailureReport, report_failure

log = structlog.get_logger()


class ExternalTaskQueue:
    """The engine's external tasks of every served topic, as a queue."""

    def __init__(
        self,
        services: Services,
        registry: Registry,
        worker_id: str,
        *,
        wait: timedelta = timedelta(0),
    ) -> None:
        self._engine = services.engine
        self._registry = registry
        self._worker_id = worker_id
        self._wait = wait

    async def claim(self, limit: int, lease: timedelta) -> Sequence[ExternalTask]:
        """Fetch and lock; an engine elsewhere waits for the first to come."""
        return await self._engine.fetch_and_lock(
            sorted(self._registry.topics()),
            self._worker_id,
            max_tasks=limit,
            lock=lease,
            wait=self._wait,
            only=self._registry.variables(),
        )

    async def renew(self, items: Sequence[ExternalTask], lease: timedelta) -> None:
        """Extend the locks."""
        extensions = (self._engine.extend_lock(task.id, self._worker_id, lease) for task in items)
        await asyncio.gather(*extensions)


class Worker:
    """Runs one external task to its outcome."""

    def __init__(self, services: Services, registry: Registry, worker_id: str) -> None:
        self._services = services
        self._registry = registry
        self._worker_id = worker_id

    async def recover(self) -> None:
        """Free what a former life of this worker still holds."""
        freed = await self._services.engine.unlock_all(self._worker_id)
        if freed:
            log.info("worker.recovered", locks=freed)

    async def run(self, task: ExternalTask) -> None:
        """Execute the task's command, and complete the task or report what went wrong."""
        started_at = self._services.now()
        try:
            result = await self._command(task.topic).execute(task)
            await apply_command(
                self._services, task, result, worker_id=self._worker_id, started_at=started_at
            )
        except LockLost:
            log.info("worker.lock-lost", external_task=task.id, topic=task.topic)
        except BpmnError as exc:
            await self._note(task, "error", f"{exc.error_code}: {exc.message}", started_at)
            await self._raise_in_model(task, exc)
        except Exception as exc:  # noqa: BLE001 - whatever a command raises is its task's failure
            report = report_failure(exc, task.retries)
            await self._note(task, "failed", report.message, started_at)
            await self._report(task, exc, report)

    def _command(self, topic: str) -> Command:
        command = self._registry.find(topic)
        if command is None:
            raise Temporary(f"No command serves the topic {topic} any more.")
        return command

    async def _raise_in_model(self, task: ExternalTask, error: BpmnError) -> None:
        await self._services.engine.bpmn_error(
            task.id, self._worker_id, error.error_code, error.message, error.variables
        )

    async def _note(self, task: ExternalTask, state: str, error: str, started_at: datetime) -> None:
        """Keep for the trace what went wrong; the engine is told all the same if this fails."""
        entry = LedgerEntry(
            external_task_id=task.id,
            topic=task.topic,
            root_instance_id=task.root_instance_id,
            state=state,
            variables={},
            error=error.replace("\x00", "\ufffd")[:2000],
            attempts=1,
            started_at=started_at,
            finished_at=self._services.now(),
        )
        try:
            async with self._services.tasks.begin() as tx:
                await tx.ledger.put(entry)
        except Exception as exc:  # noqa: BLE001 - only the trace is the poorer for it
            log.warning("command.not-noted", external_task=task.id, error=str(exc))

    async def _report(self, task: ExternalTask, error: Exception, report: FailureReport) -> None:
        log.warning(
            "command.failed",
            topic=task.topic,
            external_task=task.id,
            retries=report.retries,
            error=report.message,
            exc_info=None if isinstance(error, TaskloomError) else error,
        )
        await self._services.engine.fail(
            task.id,
            self._worker_id,
            report.message,
            retries=report.retries,
            retry_after=report.retry_after,
        )
