"""User tasks over HTTP."""

import uuid
from typing import Any, Protocol

import httpx
import pytest


class Rows(Protocol):
    """Makes rows for a test."""

    async def task(self, **values: Any) -> uuid.UUID:
        """Make a task."""
        ...

    async def user_task(self, task_id: uuid.UUID, **values: Any) -> uuid.UUID:
        """Make a user task."""
        ...


class Engine(Protocol):
    """What a test asks of the engine."""

    completed: list[tuple[str, Any]]


async def test_user_tasks_are_listed_counted_and_shown(
    client: httpx.AsyncClient, rows: Rows
) -> None:
    """A task's path shows its own user tasks only."""
    task, other = await rows.task(), await rows.task()
    mine = await rows.user_task(task)
    await rows.user_task(other)

    listed = (await client.get(f"/tasks/{task}/user-tasks")).json()
    counted = (await client.get(f"/tasks/{task}/user-tasks/count")).json()
    shown = (await client.get(f"/tasks/{task}/user-tasks/{mine}")).json()

    assert [item["id"] for item in listed] == [str(mine)]
    assert counted == {"count": 1}
    assert (shown["id"], shown["taskId"]) == (str(mine), str(task))


async def test_a_user_task_is_completed(
    client: httpx.AsyncClient, rows: Rows, engine: Engine
) -> None:
    """It is completed in the engine and in its row, with the variables given."""
    task = await rows.task()
    user_task = await rows.user_task(task)

    answer = await client.patch(
        f"/tasks/{task}/user-tasks/{user_task}/complete", json={"approved": True}
    )

    shown = (await client.get(f"/tasks/{task}/user-tasks/{user_task}")).json()
    assert answer.status_code == 204
    assert engine.completed == [(f"e-{user_task}", {"approved": True})]
    assert (shown["status"], shown["modifiedBy"]) == ("completed", "ann")


async def test_no_body_is_needed_to_complete(client: httpx.AsyncClient, rows: Rows) -> None:
    """The original's clients send none."""
    task = await rows.task()
    user_task = await rows.user_task(task)

    answer = await client.patch(f"/tasks/{task}/user-tasks/{user_task}/complete")

    assert answer.status_code == 204


async def test_a_user_task_is_completed_once(
    client: httpx.AsyncClient, rows: Rows, engine: Engine
) -> None:
    """A second time is 409, and the engine is not asked again."""
    task = await rows.task()
    user_task = await rows.user_task(task)
    path = f"/tasks/{task}/user-tasks/{user_task}/complete"

    statuses = [(await client.patch(path)).status_code for _ in range(2)]

    assert statuses == [204, 409]
    assert len(engine.completed) == 1


async def test_another_task_s_path_does_not_lead_to_a_user_task(
    client: httpx.AsyncClient, rows: Rows, engine: Engine
) -> None:
    """Through a foreign task nothing is shown, completed or deleted."""
    task, other = await rows.task(), await rows.task()
    user_task = await rows.user_task(task)
    path = f"/tasks/{other}/user-tasks/{user_task}"

    statuses = [
        (await client.get(path)).status_code,
        (await client.patch(f"{path}/complete")).status_code,
        (await client.delete(path)).status_code,
    ]

    assert statuses == [404, 404, 404]
    assert engine.completed == []
    assert (await client.get(f"/tasks/{task}/user-tasks/{user_task}")).status_code == 200


async def test_deleting_a_task_s_user_tasks_leaves_all_others(
    client: httpx.AsyncClient, rows: Rows
) -> None:
    """DELETE on the list deletes the user tasks of this task, and of no other."""
    task, other = await rows.task(), await rows.task()
    await rows.user_task(task)
    await rows.user_task(task)
    kept = await rows.user_task(other)

    answer = await client.delete(f"/tasks/{task}/user-tasks")

    assert (answer.status_code, answer.json()) == (200, {"count": 2})
    assert (await client.get(f"/tasks/{task}/user-tasks")).json() == []
    assert [u["id"] for u in (await client.get(f"/tasks/{other}/user-tasks")).json()] == [str(kept)]


async def test_one_user_task_is_deleted(client: httpx.AsyncClient, rows: Rows) -> None:
    """The second time there is nothing to delete."""
    task = await rows.task()
    user_task = await rows.user_task(task)
    path = f"/tasks/{task}/user-tasks/{user_task}"

    statuses = [(await client.delete(path)).status_code for _ in range(2)]

    assert statuses == [204, 404]


@pytest.mark.parametrize("ends", ["banana", "banana/complete", "count/complete"])
async def test_ids_that_are_no_uuids_are_404(
    client: httpx.AsyncClient, rows: Rows, ends: str
) -> None:
    """They are not found, rather than an error."""
    task = await rows.task()

    answer = await client.patch(f"/tasks/{task}/user-tasks/{ends}")

    assert answer.status_code == 404


@pytest.mark.parametrize("content", ["[]", '"x"', "3", '{"a":1,"a":2}'])
async def test_variables_must_be_an_object(
    client: httpx.AsyncClient, rows: Rows, engine: Engine, content: str
) -> None:
    """Anything else is 400 and completes nothing."""
    task = await rows.task()
    user_task = await rows.user_task(task)

    answer = await client.patch(
        f"/tasks/{task}/user-tasks/{user_task}/complete",
        content=content,
        headers={"content-type": "application/json"},
    )

    assert answer.status_code == 400
    assert engine.completed == []
