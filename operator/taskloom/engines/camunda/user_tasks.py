"""User tasks: listed with one call for all, completed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from taskloom.engines.camunda.client import PAGE, Client, segment
from taskloom.engines.camunda.definitions import Definitions
from taskloom.engines.camunda.lineage import Lineage
from taskloom.engines.camunda.model_file import Candidates
from taskloom.engines.camunda.models import to_user_task
from taskloom.engines.camunda.refusals import Fate, fate, refusal
from taskloom.engines.camunda.variables import write_variables
from taskloom.ports.engine import EngineUserTask, Outcome


class UserTasks:
    """The engine's open user tasks."""

    def __init__(
        self, client: Client, definitions: Definitions, lineage: Lineage, *, spin: bool
    ) -> None:
        self._client = client
        self._definitions = definitions
        self._lineage = lineage
        self._spin = spin

    async def below(self, root_ids: Sequence[str]) -> list[EngineUserTask]:
        """List those of root instances and of what these called, oldest first."""
        if not root_ids:
            return []
        roots = await self._lineage.below(root_ids)
        entries: list[dict[str, Any]] = []
        ids = list(roots)
        for start in range(0, len(ids), PAGE):
            entries += await self._client.every(
                "/task",
                {
                    "processInstanceIdIn": ids[start : start + PAGE],
                    "sorting": [
                        {"sortBy": "created", "sortOrder": "asc"},
                        {"sortBy": "id", "sortOrder": "asc"},
                    ],
                },
            )
        return await self.read(entries, roots)

    async def read(
        self, entries: Iterable[Mapping[str, Any]], roots: Mapping[str, str]
    ) -> list[EngineUserTask]:
        """Make the engine's entries whole: who may do them, and their roots."""
        tasks = []
        for entry in entries:
            who = await self._candidates(entry)
            root = roots[entry["processInstanceId"]]
            tasks.append(to_user_task(entry, root, who.groups, who.users))
        return tasks

    async def complete(self, task_id: str, variables: Mapping[str, Any]) -> Outcome:
        """Finish one; if it is not there, the history proves that it was."""
        path = f"/task/{segment(task_id)}/complete"
        body = {"variables": write_variables(variables, spin=self._spin)} if variables else {}
        answer = await self._client.call("POST", path, json_body=body)
        match fate(answer):
            case Fate.DONE:
                return Outcome.DONE
            case Fate.GONE:
                return Outcome.GONE
        if answer.status >= 500 and await self._is_over(task_id):
            return Outcome.GONE
        raise refusal(answer)

    async def _is_over(self, task_id: str) -> bool:
        found = await self._client.ask("/history/task", {"taskId": task_id, "finished": True})
        return bool(found)

    async def _candidates(self, entry: Mapping[str, Any]) -> Candidates:
        """Tell who may do a task: by its model, or by asking where that does not tell."""
        file = await self._definitions.file_or_none(entry["processDefinitionId"])
        known = None if file is None else file.candidates(entry["taskDefinitionKey"])
        if known is not None:
            return known
        path = f"/task/{segment(entry['id'])}/identity-links"
        answer = await self._client.call("GET", path, query={"type": "candidate"})
        links = answer.body if answer.ok else ()  # it was completed meanwhile
        return Candidates(
            groups=tuple(sorted(link["groupId"] for link in links if link.get("groupId"))),
            users=tuple(sorted(link["userId"] for link in links if link.get("userId"))),
        )
