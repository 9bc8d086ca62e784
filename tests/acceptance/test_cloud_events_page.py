"""The page about http sources: its CloudEvents are sent as it says, to a server as it is run."""

import asyncio
import os
import re
import shutil
from pathlib import Path

import httpx
import yaml

from taskloom.testing.server import ServedTaskloom, free_port

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "http-event-source.md"
SECTION = re.compile(r"## CloudEvents\n.*?```yaml\n(.*?)```.*?```sh\n(.*?)```", re.DOTALL)


async def _run(script: str, url: str) -> str:
    """Run the page's commands; give the statuses that were answered."""
    asking = script.replace("curl ", "curl -sS -o /dev/null -w '%{http_code} ' ")
    process = await asyncio.create_subprocess_exec(
        str(shutil.which("bash")),
        "-euo",
        "pipefail",
        "-c",
        asking,
        env={**os.environ, "URL": url},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().strip()


async def test_the_pages_cloud_events_are_one_event(tmp_path: Path) -> None:
    """In three forms; a sender that asks before is let."""
    found = SECTION.search(PAGE.read_text())
    assert found is not None
    spec = yaml.safe_load(found[1])["spec"]
    spec["http"]["auth"] = {"anonymous": True}
    document = {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": "EventSource",
        "metadata": {"name": "orders"},
        "spec": spec,
    }
    files = tmp_path / "files"
    files.mkdir()
    (files / "orders.yaml").write_text(yaml.safe_dump(document))
    server = ServedTaskloom(files=files, data_dir=tmp_path / "data", port=free_port())
    await server.start()
    try:
        async with httpx.AsyncClient(
            base_url=server.url, headers=server.authorization, timeout=30
        ) as client:
            await server.wait_until_ready(client)
            url = f"{server.url}/sources/orders"
            asked = await client.options(url, headers={"WebHook-Request-Origin": "shop.example"})
            statuses = await _run(found[2], url)
            events = (await client.get("/events")).json()
    finally:
        await server.stop()

    assert (200, "shop.example") == (asked.status_code, asked.headers["WebHook-Allowed-Origin"])
    assert "204 204 204" == statuses
    assert [("order.placed", "/shop", {"item": "desk"})] == [
        (event["key"], event["source"], event["payload"]) for event in events
    ]
