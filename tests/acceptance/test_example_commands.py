"""The examples of commands, connectors and formats of one's own, run as their pages say."""

import asyncio
import json
import os
import shutil
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from taskloom.testing.server import ServedTaskloom, free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 60


@asynccontextmanager
async def _serving(
    files: Path, data_dir: Path, **settings: str
) -> AsyncIterator[httpx.AsyncClient]:
    server = ServedTaskloom(files=files, data_dir=data_dir, port=free_port(), settings=settings)
    await server.start()
    try:
        async with httpx.AsyncClient(
            base_url=server.url, headers=server.authorization, timeout=30
        ) as client:
            await server.wait_until_ready(client)
            yield client
    finally:
        await server.stop()


async def _ends(client: httpx.AsyncClient, event: dict[str, Any]) -> dict[str, Any]:
    """Post an event and give the instance that it led to, once that has ended."""
    mark = event["payload"]["item"]
    await client.post("/events/trigger", json={**event, "description": mark})
    query = {"filter": json.dumps({"where": {"description": mark}})}
    [found] = (await client.get("/events", params=query)).json()
    async with asyncio.timeout(SECONDS):
        while True:
            trace = (await client.get(f"/events/{found['id']}/trace")).json()
            instance: dict[str, Any] | None = trace["routes"][0]["instance"]
            if instance is not None and instance["state"] == "completed":
                return instance
            await asyncio.sleep(0.1)


def _event(name: str, **payload: Any) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EXAMPLES / "events" / f"{name}.json").read_text())
    return event | {"payload": event["payload"] | payload}


def _last(instance: dict[str, Any]) -> str:
    element: str = instance["activities"][-1]["element"]
    return element


async def test_a_command_in_any_language(tmp_path: Path) -> None:
    """A service that is called over HTTP gives variables, or takes the model's error path."""
    files = tmp_path / "files"
    files.mkdir()
    port = free_port()
    text = (EXAMPLES / "command-http/resources/order.yaml").read_text()
    (files / "order.yaml").write_text(text.replace("8091", str(port)))
    service = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / "command-http/service.py"),
        str(port),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with _serving(files, tmp_path / "data") as client:
            packed = await _ends(client, _event("order-placed"))
            sold_out = await _ends(client, _event("order-placed", item="chair"))
    finally:
        service.terminate()
        await service.wait()

    assert ["Pack 2 from shelf A3"] == [task["name"] for task in packed["tasks"]]
    assert "End_Packed" == _last(packed)
    assert [] == sold_out["tasks"]
    assert "End_SoldOut" == _last(sold_out)


async def test_a_command_in_python(tmp_path: Path) -> None:
    """An installed package's command is found by its entry point, and its errors are caught."""
    packages = _as_installed("command-python", tmp_path / "packages")
    async with _serving(
        EXAMPLES / "command-python/resources", tmp_path / "data", PYTHONPATH=packages
    ) as client:
        chosen = await _ends(client, _event("purchase-planned"))
        refused = await _ends(client, _event("purchase-planned", item="Yacht", amount=100_001))

    assert ["board"] == [task["assigneeId"] for task in chosen["tasks"]]
    assert [] == refused["tasks"]
    assert "End_Refused" == _last(refused)


async def test_a_format_in_python(tmp_path: Path) -> None:
    """An installed package's adapter reads what is posted; what it refuses is told the sender."""
    packages = _as_installed("format-adapter", tmp_path / "packages")
    csv = {"content-type": "text/csv"}
    async with _serving(
        EXAMPLES / "format-adapter/resources", tmp_path / "data", PYTHONPATH=packages
    ) as client:
        answers = [
            await client.post("/sources/stock", content=row, headers=csv)
            for row in ("A7,desk,2", "A7,desk,many")
        ]
        async with asyncio.timeout(SECONDS):
            while not (tasks := (await client.get("/tasks")).json()):
                await asyncio.sleep(0.1)

    assert [204, 400] == [answer.status_code for answer in answers]
    assert "left, must be a whole number" in answers[1].json()["detail"]
    assert ["Order desk: 2 left"] == [task["name"] for task in tasks]


async def test_a_connector_in_python(tmp_path: Path) -> None:
    """An installed package's source and sink are found, and events go in and out by them."""
    packages = _as_installed("connector-python", tmp_path / "packages")
    files, lines = tmp_path / "files", tmp_path / "lines"
    shutil.copytree(EXAMPLES / "quickstart", files)
    lines.mkdir()
    text = (EXAMPLES / "connector-python/resources/lines.yaml").read_text()
    (files / "lines.yaml").write_text(text.replace("/tmp/example", str(lines)))
    event = json.loads((EXAMPLES / "events/purchase-requested.json").read_text())
    (lines / "in.jsonl").write_text(json.dumps(event) + "\n")
    async with _serving(files, tmp_path / "data", PYTHONPATH=packages):
        async with asyncio.timeout(SECONDS):
            while not (told := _told(lines / "out.jsonl")):
                await asyncio.sleep(0.1)

    assert "task-created" in told


async def test_the_connector_passes_the_public_suites(tmp_path: Path) -> None:
    """As its page says to run them."""
    example = EXAMPLES / "connector-python"
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *(f"--basetemp={tmp_path / 'suite'}", str(example)),
        env=os.environ | {"PYTHONPATH": str(example / "src")},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await run.communicate()

    assert 0 == run.returncode, said.decode()
    assert "20 passed" in said.decode()


def _told(path: Path) -> list[str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(json.loads(line)["body"])["key"] for line in lines]


def _as_installed(example: str, folder: Path) -> str:
    """Lay an example's package out as an installer does, and give the path to both parts."""
    source = EXAMPLES / example
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return f"{folder}:{source / 'src'}"
