"""Which instance was called by which: found with as few calls as may be."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from taskloom.engines.camunda.client import PAGE, Client
from taskloom.engines.camunda.definitions import Definitions

_KEPT = 20_000


class Lineage:
    """Roots of instances, and what is below roots; what never changes is kept."""

    def __init__(self, client: Client, definitions: Definitions) -> None:
        self._client = client
        self._definitions = definitions
        self._roots: OrderedDict[str, str] = OrderedDict()
        self._definition_of: OrderedDict[str, str] = OrderedDict()

    def note(self, instance_id: str, root_id: str, definition_id: str) -> None:
        """Keep what is known of an instance."""
        for kept, value in ((self._roots, root_id), (self._definition_of, definition_id)):
            kept[instance_id] = value
            if len(kept) > _KEPT:
                kept.popitem(last=False)

    def note_entry(self, entry: Mapping[str, Any]) -> None:
        """Keep what an entry of the history tells."""
        root = entry.get("rootProcessInstanceId") or entry["id"]
        self.note(entry["id"], root, entry["processDefinitionId"])

    async def roots_of(self, instance_ids: Iterable[str]) -> Mapping[str, str]:
        """Give the root of each instance: itself where the engine knows of none."""
        ids = list(dict.fromkeys(instance_ids))
        unknown = [id_ for id_ in ids if id_ and id_ not in self._roots]
        await self._look_up(unknown)
        return {id_: self._roots.get(id_, id_) for id_ in ids}

    async def below(self, root_ids: Sequence[str]) -> Mapping[str, str]:
        """Give the roots and the running instances that they called, each with its root."""
        roots = list(dict.fromkeys(root_ids))
        await self._look_up([id_ for id_ in roots if id_ not in self._definition_of])
        found: dict[str, str] = {id_: id_ for id_ in roots}
        callers = [id_ for id_ in roots if await self.calls(id_)]
        while callers:
            caller = callers.pop()
            for called in await self._client.every("/process-instance", _called_by(caller)):
                found[called["id"]] = found[caller]
                self.note(called["id"], found[caller], called["definitionId"])
                if await self.calls(called["id"]):
                    callers.append(called["id"])
        return found

    async def calls(self, instance_id: str) -> bool:
        """Tell whether an instance that is known may have called others."""
        definition_id = self._definition_of.get(instance_id)
        if definition_id is None:
            return False
        file = await self._definitions.file_or_none(definition_id)
        return file is None or file.calls

    async def _look_up(self, instance_ids: Sequence[str]) -> None:
        for entry in await find_instances(self._client, instance_ids):
            self.note_entry(entry)


def _called_by(instance_id: str) -> Mapping[str, Any]:
    sorting = [{"sortBy": "instanceId", "sortOrder": "asc"}]
    return {"superProcessInstance": instance_id, "sorting": sorting}


async def find_instances(client: Client, instance_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Look running and ended instances up by id, those that there are."""
    found: list[dict[str, Any]] = []
    for start in range(0, len(instance_ids), PAGE):
        page = list(instance_ids[start : start + PAGE])
        query = {"processInstanceIds": page}
        found += await client.ask("/history/process-instance", query, maxResults=PAGE)
    return found
