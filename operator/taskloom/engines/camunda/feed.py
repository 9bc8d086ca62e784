"""What happens in the engine without us: read again and again from where it was read to.

The engine tells times to the millisecond and shows an entry when it commits, a little after its
time, so each reading begins somewhat earlier; what was confirmed before is left out of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from taskloom.engines.camunda.client import Client
from taskloom.engines.camunda.lineage import Lineage
from taskloom.engines.camunda.models import NO_INSTANCE, read_time, to_instance, write_time
from taskloom.engines.camunda.user_tasks import UserTasks
from taskloom.ports.engine import ChangeKind, EngineChange, InstanceState

_OVERLAP = timedelta(seconds=2)
_LONG_OVERLAP = timedelta(seconds=60)  # now and then, for what took long to commit
_LONG_EVERY = 12
_BEFORE_FIRST = timedelta(seconds=2)
_PAGE = 500

Json = Mapping[str, Any]


class Bookmark(Protocol):
    """Keeps to which moment each kind of change has been read, where a restart finds it."""

    async def read(self) -> Mapping[str, datetime]:
        """Give the moments, by kind; nothing before the first time."""
        ...

    async def keep(self, moments: Mapping[str, datetime]) -> None:
        """Keep moments; none goes back."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of change: where it is read, and by which filter and order of time."""

    kind: ChangeKind
    path: str
    since: str
    sort_by: str
    time: str  # the field of an entry
    posted: bool = True


KINDS = (
    Kind(
        kind=ChangeKind.USER_TASK_CREATED,
        path="/task",
        since="createdAfter",
        sort_by="created",
        time="created",
    ),
    Kind(
        kind=ChangeKind.USER_TASK_ENDED,
        path="/history/task",
        since="finishedAfter",
        sort_by="endTime",
        time="endTime",
    ),
    Kind(
        kind=ChangeKind.INSTANCE_ENDED,
        path="/history/process-instance",
        since="finishedAfter",
        sort_by="endTime",
        time="endTime",
    ),
    Kind(
        kind=ChangeKind.INCIDENT_CREATED,
        path="/incident",
        since="incidentTimestampAfter",
        sort_by="incidentTimestamp",
        time="incidentTimestamp",
        posted=False,
    ),
)


class Feed:
    """The changes since the bookmark, the oldest first; they stay until they are confirmed."""

    def __init__(
        self, client: Client, lineage: Lineage, user_tasks: UserTasks, bookmark: Bookmark
    ) -> None:
        self._client = client
        self._lineage = lineage
        self._user_tasks = user_tasks
        self._bookmark = bookmark
        self._moments: dict[str, datetime] = {}
        self._pending: dict[str, tuple[str, datetime]] = {}
        self._seen: dict[str, tuple[str, datetime]] = {}
        self._readings = 0

    async def changes(self, limit: int) -> list[EngineChange]:
        """Read the oldest that have not been confirmed."""
        moments = await self._begin()
        self._readings += 1
        overlap = _LONG_OVERLAP if self._readings % _LONG_EVERY == 0 else _OVERLAP
        found: list[tuple[datetime, int, str, Json]] = []
        for rank, kind in enumerate(KINDS):
            since = moments[kind.kind] - overlap
            for entry in await self._read(kind, since, limit):
                id_ = _id_of(kind, entry)
                found.append((read_time(entry[kind.time]), rank, id_, entry))
        found.sort(key=lambda each: each[:3])
        self._pending = {id_: (KINDS[rank].kind, moment) for moment, rank, id_, _ in found}
        return await self._described(found[:limit])

    async def confirm(self, change_ids: Sequence[str]) -> None:
        """Leave these out from now on, and move the bookmark on behind which nothing is open."""
        for id_ in change_ids:
            pending = self._pending.pop(id_, None)
            if pending is not None:
                kind, moment = pending
                self._seen[id_] = pending
                self._moments[kind] = max(self._moments.get(kind, moment), moment)
        open_since: dict[str, datetime] = {}
        for kind, moment in self._pending.values():
            open_since[kind] = min(open_since.get(kind, moment), moment)
        kept = {
            kind: min(moment, open_since.get(kind, moment))
            for kind, moment in self._moments.items()
        }
        self._moments = kept
        self._forget()
        await self._bookmark.keep(kept)

    async def _begin(self) -> Mapping[str, datetime]:
        """Give from when on to read; the first time that is the engine's present."""
        if not self._moments:
            kept = await self._bookmark.read()
            now = await self._now()
            self._moments = {kind.kind: kept.get(kind.kind, now) for kind in KINDS}
            await self._bookmark.keep(self._moments)
        return self._moments

    async def _now(self) -> datetime:
        await self._client.get("/version")
        return (self._client.now() or datetime.now(UTC)) - _BEFORE_FIRST

    async def _read(self, kind: Kind, since: datetime, limit: int) -> list[Json]:
        found: list[Json] = []
        first = 0
        while len(found) < limit:
            page = await self._page(kind, since, first)
            found += [entry for entry in page if _id_of(kind, entry) not in self._seen]
            if len(page) < _PAGE:
                break
            first += _PAGE
        return found

    async def _page(self, kind: Kind, since: datetime, first: int) -> Sequence[Json]:
        page: Sequence[Json]
        if not kind.posted:
            page = await self._client.get(
                kind.path,
                **{kind.since: write_time(since)},
                sortBy=kind.sort_by,
                sortOrder="asc",
                firstResult=first,
                maxResults=_PAGE,
                tenantIdIn=self._client.tenant,
            )
            return page
        query = self._client.of_tenant(
            {
                kind.since: write_time(since),
                "sorting": [{"sortBy": kind.sort_by, "sortOrder": "asc"}],
            }
        )
        page = await self._client.ask(kind.path, query, firstResult=first, maxResults=_PAGE)
        return page

    async def _described(
        self, found: Sequence[tuple[datetime, int, str, Json]]
    ) -> list[EngineChange]:
        ids = {_instance_of(KINDS[rank], entry) for _, rank, _, entry in found}
        roots = await self._lineage.roots_of(sorted(id_ for id_ in ids if id_ is not None))
        changes = []
        for _, rank, id_, entry in found:
            kind = KINDS[rank].kind
            instance_id = _instance_of(KINDS[rank], entry)
            if instance_id is None:  # of a case, which is none of ours
                await self.confirm([id_])
                continue
            task = None
            if kind is ChangeKind.USER_TASK_CREATED:
                [task] = await self._user_tasks.read([entry], roots)
            changes.append(
                EngineChange(
                    id=id_,
                    kind=kind,
                    root_instance_id=roots[instance_id],
                    instance_id=instance_id,
                    user_task=task,
                    user_task_id=entry["id"] if kind is ChangeKind.USER_TASK_ENDED else None,
                    completed=_is_completed(kind, entry),
                    message=entry.get("incidentMessage") or entry.get("deleteReason"),
                )
            )
        return changes

    def _forget(self) -> None:
        """Drop what no reading will bring again."""
        margin = _LONG_OVERLAP + _OVERLAP
        self._seen = {
            id_: (kind, moment)
            for id_, (kind, moment) in self._seen.items()
            if moment >= self._moments[kind] - margin
        }


def _id_of(kind: Kind, entry: Json) -> str:
    return f"{kind.kind}:{entry['id']}"


def _instance_of(kind: Kind, entry: Json) -> str | None:
    field = "id" if kind.kind is ChangeKind.INSTANCE_ENDED else "processInstanceId"
    instance_id: str | None = entry.get(field)
    if instance_id is None and kind.kind is ChangeKind.INCIDENT_CREATED:
        return NO_INSTANCE
    return instance_id


def _is_completed(kind: ChangeKind, entry: Json) -> bool:
    if kind is ChangeKind.INSTANCE_ENDED:
        return to_instance(entry).state is InstanceState.COMPLETED
    return kind is ChangeKind.USER_TASK_ENDED and entry.get("deleteReason") == "completed"
