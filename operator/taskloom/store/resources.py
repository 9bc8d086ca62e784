"""Declared resources and their statuses, where no cluster keeps them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.store.driver import as_parameter, batches, read_rows, run
from taskloom.store.tables import resources

_SOME = """
SELECT r.* FROM resources AS r
JOIN jsonb_to_recordset(%s::jsonb) AS k (kind text, namespace text, name text)
    ON r.kind = k.kind AND r.namespace = k.namespace AND r.name = k.name
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResource:
    """A resource as it was last read, and its status; `place` is file and line."""

    kind: str
    namespace: str
    name: str
    generation: int
    digest: str  # of the spec
    spec: Mapping[str, Any]
    status: Mapping[str, Any]
    place: str | None
    created_on: datetime


class JsonObject(Mapping[str, Any]):
    """A JSON object kept as its text, and read whenever it is asked for something.

    Of many resources few are asked.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __getitem__(self, name: str) -> Any:
        return read(self)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(read(self))

    def __len__(self) -> int:
        return len(read(self))


def read(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give a JSON object as a dict, read once; what somebody overwrote by another kind is empty."""
    if not isinstance(value, JsonObject):
        return value
    made = msgspec.json.decode(value.text)
    if not isinstance(made, dict):
        return {}
    conditions = made.get("conditions", ())
    if not (isinstance(conditions, list) and all(isinstance(each, dict) for each in conditions)):
        made.pop("conditions", None)
    return made


class Resources:
    """The resources table."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> list[StoredResource]:
        """List them all, by kind, namespace and name."""
        statement = select(resources).order_by(
            resources.c.kind, resources.c.namespace, resources.c.name
        )
        return await read_rows(self._connection, statement, _row_to_resource)

    async def put(self, resource: StoredResource) -> None:
        """Insert or replace one; its first `created_on` stays."""
        await self.put_all([resource])

    async def put_all(self, found: Sequence[StoredResource]) -> None:
        """Insert or replace several, as `put` does one."""
        if not found:
            return
        statement = insert(resources)
        excluded = statement.excluded
        changes = {name: excluded[name] for name in _CHANGING}
        statement = statement.on_conflict_do_update(
            index_elements=["kind", "namespace", "name"],
            set_={**changes, "modified_on": func.now()},
        )
        for batch in batches(found):
            await self._connection.execute(statement, [_resource_to_row(item) for item in batch])

    async def some(self, keys: Iterable[tuple[str, str, str]]) -> list[StoredResource]:
        """List those of these kinds, namespaces and names."""
        rows = [dict(zip(("kind", "namespace", "name"), key, strict=True)) for key in keys]
        result = await run(self._connection, _SOME, (as_parameter(rows),))
        return [_row_to_resource(row) for row in result]

    async def remove(self, kind: str, namespace: str, name: str) -> None:
        """Delete one."""
        await self._connection.execute(
            delete(resources).where(
                resources.c.kind == kind,
                resources.c.namespace == namespace,
                resources.c.name == name,
            )
        )


_CHANGING = ("generation", "digest", "spec", "status", "place")


def _resource_to_row(resource: StoredResource) -> dict[str, Any]:
    return {
        "kind": resource.kind,
        "namespace": resource.namespace,
        "name": resource.name,
        "generation": resource.generation,
        "digest": resource.digest,
        "spec": _text(resource.spec),
        "status": _text(resource.status),
        "place": resource.place,
        "created_on": resource.created_on,
    }


def _text(value: Mapping[str, Any]) -> str:
    if isinstance(value, JsonObject):
        return value.text
    return msgspec.json.encode(value).decode()


def _row_to_resource(row: Any) -> StoredResource:
    return StoredResource(
        kind=row.kind,
        namespace=row.namespace,
        name=row.name,
        generation=row.generation,
        digest=row.digest,
        spec=JsonObject(row.spec),
        status=JsonObject(row.status),
        place=row.place,
        created_on=row.created_on,
    )
