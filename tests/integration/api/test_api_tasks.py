"""Tasks over HTTP."""

import json
import uuid
from typing import Any, Protocol

import httpx
import pytest

from taskloom.store.database import Database

JSON = {"content-type": "application/json"}


class Rows(Protocol):
    """Makes rows for a test."""

    async def task(self, **values: Any) -> uuid.UUID:
        """Make a task."""
        ...

    async def user_task(self, task_id: uuid.UUID, **values: Any) -> uuid.UUID:
        """Make a user task."""
        ...


async def status_of(client: httpx.AsyncClient, path: str) -> str:
    """Read a status."""
    status: str = (await client.get(path)).json()["status"]
    return status


async def test_a_task_has_the_original_s_fields(client: httpx.AsyncClient, rows: Rows) -> None:
    """Names are in camelCase, dates in UTC with milliseconds, metadata is JSON."""
    task = await rows.task(metadata='{"a":[1]}')

    shown = (await client.get(f"/tasks/{task}")).json()

    assert shown["id"] == str(task)
    assert shown["metadata"] == {"a": [1]}
    assert shown["externalId"] == f"i-{task}"
    assert shown["createdOn"].endswith("Z")
    assert {"startDate", "dueDate", "endDate", "assigneeId", "createdBy", "deleted"} <= set(shown)


async def test_tasks_are_listed_with_their_user_tasks(
    client: httpx.AsyncClient, rows: Rows
) -> None:
    """`include` adds the relation, also where fields are chosen."""
    task = await rows.task(key="a")
    await rows.task(key="b")
    user_task = await rows.user_task(task)
    query = {"where": {"key": "a"}, "include": ["userTasks"], "fields": {"key": True}}

    listed = (await client.get("/tasks", params={"filter": json.dumps(query)})).json()

    assert [set(item) for item in listed] == [{"key", "userTasks"}]
    assert [item["id"] for item in listed[0]["userTasks"]] == [str(user_task)]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, 3),
        ({"status": "pending"}, 2),
        ({"status": {"neq": "pending"}}, 1),
        ({"name": None}, 1),
        ({"name": {"neq": None}}, 2),
        ({"name": {"like": "100\\%%"}}, 1),
        ({"name": {"nlike": "100%"}}, 1),
        ({"name": {"ilike": "ABC"}}, 1),
        ({"name": {"nilike": "ABC"}}, 1),
        ({"name": {"regexp": "^ab"}}, 1),
        ({"name": {"regexp": "/^AB/i"}}, 1),
        ({"name": {"inq": ["abc", None]}}, 2),
        ({"name": {"nin": ["abc"]}}, 1),
        ({"status": {"inq": []}}, 0),
        ({"priority": {"between": ["a", "z"]}}, None),
        ({"createdOn": {"gt": "2020-01-01"}}, 3),
        ({"createdOn": {"lt": "2020-01-01T00:00:00Z"}}, 0),
        ({"metadata": {"exists": True}}, 1),
        ({"metadata": None}, 2),
        ({"or": [{"name": "abc"}, {"status": "completed"}]}, 2),
        ({"and": [{"name": "abc"}, {"status": "completed"}]}, 0),
        ({"status": {"regexp": "^p"}}, 2),
    ],
)
async def test_where_finds_tasks(
    client: httpx.AsyncClient, rows: Rows, where: dict[str, Any], expected: int | None
) -> None:
    """Every operator asks the database what it says; the count agrees with the list."""
    await rows.task(name="abc")
    await rows.task(name="100% sure", metadata="{}")
    await rows.task(name=None, status="completed")
    params = {"filter": json.dumps({"where": where}), "where": json.dumps(where)}

    listed = await client.get("/tasks", params=params)
    counted = await client.get("/tasks/count", params=params)

    if expected is None:
        assert [listed.status_code, counted.status_code] == [400, 400]
    else:
        assert (expected, {"count": expected}) == (len(listed.json()), counted.json())


async def test_brackets_ask_the_same(client: httpx.AsyncClient, rows: Rows) -> None:
    """LoopBack's other style works on the wire."""
    await rows.task(key="a")
    await rows.task(key="b")

    listed = (await client.get("/tasks?filter[where][key]=b&filter[limit]=1")).json()

    assert [task["key"] for task in listed] == ["b"]


async def test_pages_do_not_overlap(client: httpx.AsyncClient, rows: Rows) -> None:
    """Rows that sort alike are still on one page only."""
    for _ in range(5):
        await rows.task()
    pages = [
        (
            await client.get(
                "/tasks", params={"filter": json.dumps({"order": "key", "limit": 2, "skip": skip})}
            )
        ).json()
        for skip in (0, 2, 4)
    ]

    assert len({task["id"] for page in pages for task in page}) == 5


async def test_a_regexp_that_postgresql_refuses_is_400(client: httpx.AsyncClient) -> None:
    """What only the database can find wrong is told as plainly."""
    answer = await client.get("/tasks", params={"filter": '{"where":{"name":{"regexp":"("}}}'})

    assert answer.status_code == 400
    assert "regular expression" in answer.json()["detail"]


async def test_a_task_is_changed_and_its_status_goes_to_its_user_tasks(
    client: httpx.AsyncClient, rows: Rows
) -> None:
    """Open user tasks take the task's new status; ended ones keep theirs."""
    task = await rows.task()
    open_one = await rows.user_task(task)
    ended = await rows.user_task(task, status="cancelled")
    change = {"status": "in progress", "dueDate": "2026-12-01", "metadata": {"x": "\ud800\x00"}}

    answer = await client.patch(f"/tasks/{task}", content=json.dumps(change), headers=JSON)

    shown = (await client.get(f"/tasks/{task}")).json()
    assert answer.status_code == 204
    assert shown["status"] == "in progress"
    assert shown["dueDate"] == "2026-12-01T00:00:00.000Z"
    assert shown["metadata"] == {"x": "\ud800\x00"}
    assert shown["modifiedBy"] == "ann"
    assert await status_of(client, f"/tasks/{task}/user-tasks/{open_one}") == "in progress"
    assert await status_of(client, f"/tasks/{task}/user-tasks/{ended}") == "cancelled"


async def test_a_completed_task_is_not_changed(client: httpx.AsyncClient, rows: Rows) -> None:
    """One completed task among those that match refuses the whole change."""
    done = await rows.task(status="completed")
    other = await rows.task()

    one = await client.patch(f"/tasks/{done}", json={"notes": "x"})
    many = await client.patch("/tasks", json={"notes": "x"})

    assert (one.status_code, many.status_code) == (400, 400)
    assert "completed" in one.json()["detail"]
    assert (await client.get(f"/tasks/{other}")).json()["notes"] is None


async def test_many_tasks_are_changed(client: httpx.AsyncClient, rows: Rows) -> None:
    """PATCH with where changes what matches and says how many."""
    await rows.task(key="a")
    await rows.task(key="a")
    other = await rows.task(key="b")

    answer = await client.patch(
        "/tasks?where=%7B%22key%22:%22a%22%7D", json={"status": "completed"}
    )

    assert (answer.status_code, answer.json()) == (200, {"count": 2})
    assert await status_of(client, f"/tasks/{other}") == "pending"


@pytest.mark.parametrize("cascade", [True, False])
async def test_a_task_is_deleted(
    client: httpx.AsyncClient, rows: Rows, database: Database, *, cascade: bool
) -> None:
    """With cascade its process instance is left to be ended as well."""
    task = await rows.task()
    await rows.user_task(task)

    answer = await client.delete(f"/tasks/{task}", params={"cascade": cascade})

    async with database.begin() as tx:
        jobs = await tx.jobs.count_by_state()
    assert answer.status_code == 204
    assert (await client.get(f"/tasks/{task}")).status_code == 404
    assert jobs == ({("delete-instances", "ready"): 1} if cascade else {})


async def test_many_tasks_are_deleted(client: httpx.AsyncClient, rows: Rows) -> None:
    """DELETE with where deletes what matches, and no more."""
    await rows.task(key="a")
    other = await rows.task(key="b")

    answer = await client.delete("/tasks", params={"where": '{"key":"a"}', "cascade": "true"})

    assert (answer.status_code, answer.json()) == (200, {"count": 1})
    assert [task["id"] for task in (await client.get("/tasks")).json()] == [str(other)]


async def test_a_malformed_where_deletes_nothing(client: httpx.AsyncClient, rows: Rows) -> None:
    """A where that cannot be read is not taken for one that matches everything."""
    await rows.task()
    for where in ("{", '{"colour":1}', "[]", '{"or":[]}'):
        answer = await client.delete("/tasks", params={"where": where})

        assert answer.status_code == 400
    assert (await client.get("/tasks/count")).json() == {"count": 1}


@pytest.mark.parametrize("task", [str(uuid.uuid4()), "banana", "1", "%00"])
@pytest.mark.parametrize(
    ("method", "ends"),
    [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/user-tasks"), ("DELETE", "/user-tasks")],
)
async def test_an_unknown_task_is_404(
    client: httpx.AsyncClient, task: str, method: str, ends: str
) -> None:
    """An id that nobody has, and one that is no UUID, are not found."""
    content = '{"notes":"x"}' if method == "PATCH" else None

    answer = await client.request(method, f"/tasks/{task}{ends}", content=content, headers=JSON)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
