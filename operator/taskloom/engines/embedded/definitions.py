"""Deployed definitions: their rows, and their parsed processes kept in memory."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.engines.embedded.instances import Definition, Live
from taskloom.engines.embedded.model import Binding, Process
from taskloom.engines.embedded.parse import parse_bpmn
from taskloom.engines.embedded.start_events import (
    claim_messages,
    drop_start_events,
    refuse_held,
    replace_start_events,
    start_timers,
)
from taskloom.engines.embedded.state import NewCall
from taskloom.errors import Conflict, NotFound, Unprocessable
from taskloom.ids import new_id
from taskloom.ports.engine import Deployment
from taskloom.store.driver import run

_KEPT = 256

# KEY SHARE keeps a definition from being undeployed before the instance that begins is seen
_LATEST = """
SELECT id, workflow_key, version FROM engine_definitions
WHERE workflow_key = %s ORDER BY version DESC LIMIT 1 FOR KEY SHARE"""
_NAMED = """
SELECT id, workflow_key, version FROM engine_definitions
WHERE id = %s AND workflow_key = %s FOR KEY SHARE"""
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('engine_definitions:' || %s, 0))"
_CALLED = """
SELECT id, workflow_key, version FROM engine_definitions
WHERE {key} = %s AND (%s::int IS NULL OR version = %s) ORDER BY {order} LIMIT 1 FOR KEY SHARE"""


class Definitions:
    """The engine_definitions table; what is parsed never changes, so it is kept."""

    def __init__(self) -> None:
        self._processes: OrderedDict[str, Process] = OrderedDict()

    async def process(self, connection: AsyncConnection, definition_id: str) -> Process:
        """Give a definition's process."""
        process = self._processes.get(definition_id)
        if process is not None:
            self._processes.move_to_end(definition_id)
            return process
        found = await run(
            connection, "SELECT bpmn FROM engine_definitions WHERE id = %s", (definition_id,)
        )
        bpmn = found.scalar()
        if bpmn is None:
            raise NotFound(f"There is no process definition {definition_id}.")
        process = parse_bpmn(bytes(bpmn))
        self._keep(definition_id, process)
        return process

    async def deploy(
        self, connection: AsyncConnection, workflow_key: str, bpmn: bytes, now: datetime
    ) -> Deployment:
        """Make a new version that begins by its start events, or give the latest of these bytes."""
        digest = hashlib.sha256(bpmn).hexdigest()
        process = parse_bpmn(bpmn)
        # one deployment of a workflow at a time, so that versions follow each other
        await run(connection, _LOCK, (workflow_key,))
        found = await run(
            connection,
            "SELECT id, version, digest FROM engine_definitions"
            " WHERE workflow_key = %s ORDER BY version DESC LIMIT 1",
            (workflow_key,),
        )
        latest = found.first()
        if latest is not None and latest.digest == digest:
            definition_id, version = latest.id, latest.version
        else:
            definition_id = str(new_id())
            start_timers(process, definition_id, now)  # fails before anything is written
            refuse_held(process, await claim_messages(connection, workflow_key, process))
            version = 1 if latest is None else latest.version + 1
            await run(
                connection,
                "INSERT INTO engine_definitions"
                " (id, workflow_key, version, process_id, digest, topics, bpmn)"
                " VALUES (%s, %s, %s, %s, %s, %s::json, %s)",
                (
                    definition_id,
                    workflow_key,
                    version,
                    process.id,
                    digest,
                    json.dumps(sorted(process.topics)),
                    bpmn,
                ),
            )
            await replace_start_events(connection, workflow_key, definition_id, process, now)
        return Deployment(
            workflow_key=workflow_key,
            version=version,
            definition_id=definition_id,
            digest=digest,
            topics=process.topics,
        )

    async def undeploy(
        self, connection: AsyncConnection, definition_ids: Sequence[str], now: datetime
    ) -> None:
        """Remove definitions; raises `Conflict` while instances of them run.

        As on Camunda, the version before begins by its start events again.
        """
        ids = list(definition_ids)
        workflows = await run(
            connection,
            "SELECT DISTINCT workflow_key FROM engine_definitions WHERE id = ANY(%s) ORDER BY 1",
            (ids,),
        )
        keys = [row.workflow_key for row in workflows]
        for key in keys:
            await run(connection, _LOCK, (key,))
        await run(
            connection,
            "SELECT FROM engine_definitions WHERE id = ANY(%s) ORDER BY seq FOR UPDATE",
            (ids,),
        )
        running = await run(
            connection,
            "SELECT workflow_key, version, count(*) FROM engine_instances"
            " WHERE definition_id = ANY(%s) AND state = 'active'"
            " GROUP BY workflow_key, version ORDER BY workflow_key, version",
            (ids,),
        )
        row = running.first()
        if row is not None:
            raise Conflict(
                f"{row.count} instances of {row.workflow_key} version {row.version} are running:"
                " let them end, or delete their tasks first."
            )
        latest = [await _first(connection, _LATEST, key) for key in keys]
        await drop_start_events(connection, ids)
        await run(connection, "DELETE FROM engine_definitions WHERE id = ANY(%s)", (ids,))
        for key, former in zip(keys, latest, strict=True):
            if former is None or former.id not in ids:
                continue
            now_latest = await _first(connection, _LATEST, key)
            if now_latest is not None:
                process = await self.process(connection, now_latest.id)
                held = await claim_messages(connection, key, process)
                await replace_start_events(
                    connection, key, now_latest.id, process, now, but_for=held
                )

    async def find(
        self, connection: AsyncConnection, workflow_key: str, definition_id: str | None
    ) -> Definition:
        """Find what a start names; raises `NotFound`."""
        if definition_id is not None:
            row = await _first(connection, _NAMED, definition_id, workflow_key)
        else:
            row = await _first(connection, _LATEST, workflow_key)
            if row is None:  # it may have been replaced while we waited for its lock
                row = await _first(connection, _LATEST, workflow_key)
        if row is None:
            raise NotFound(
                f"There is no workflow {workflow_key}"
                + (f" with the definition {definition_id}." if definition_id else ".")
            )
        return _row_to_definition(row)

    async def named(self, connection: AsyncConnection, definition_id: str) -> Definition | None:
        """Give a definition by its id, None if it is gone; it stays until the transaction ends."""
        row = await _first(
            connection,
            "SELECT id, workflow_key, version FROM engine_definitions WHERE id = %s FOR KEY SHARE",
            definition_id,
        )
        return None if row is None else _row_to_definition(row)

    async def resolve(self, connection: AsyncConnection, call: NewCall, caller: Live) -> Definition:
        """Find what a call activity calls: a workflow by its key, else by its process's id.

        Bound to the deployment, a process that calls itself calls its own version; another one
        cannot be in the same deployment here, so that its latest version is meant.
        """
        process = await self.process(connection, caller.definition_id)
        if call.call.binding is Binding.DEPLOYMENT and call.called in {
            process.id,
            caller.workflow_key,
        }:
            return await self.find(connection, caller.workflow_key, caller.definition_id)
        version = call.version if call.call.binding is Binding.VERSION else None
        for key, order in (("workflow_key", "version DESC"), ("process_id", "seq DESC")):
            row = await _first(
                connection, _CALLED.format(key=key, order=order), call.called, version, version
            )
            if row is not None:
                return _row_to_definition(row)
        raise Unprocessable(
            f"{call.element}: it calls {call.called!r}"
            + ("" if version is None else f" version {version}")
            + ", which is not deployed: deploy it first.",
            field=call.element,
        )

    def _keep(self, definition_id: str, process: Process) -> None:
        self._processes[definition_id] = process
        if len(self._processes) > _KEPT:
            self._processes.popitem(last=False)


async def _first(connection: AsyncConnection, statement: str, *parameters: object) -> Any | None:
    return (await run(connection, statement, parameters)).first()


def _row_to_definition(row: Any) -> Definition:
    return Definition(id=row.id, workflow_key=row.workflow_key, version=row.version)
