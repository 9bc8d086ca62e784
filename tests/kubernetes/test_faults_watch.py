"""Connections that are silently cut: nothing arrives any more, and nobody says so."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pytest
from kubernetes.aio.client import Configuration

from taskloom.providers.kubernetes.feed import Event, Feed
from taskloom.providers.kubernetes.mirror import key_of
from taskloom.providers.kubernetes.scope import Scope
from taskloom.providers.kubernetes.watch import watching
from tests.real.kubernetes.api import Api, Json, Refusal
from tests.real.kubernetes.operator import Operator, condition, until


class Proxy:
    """Passes connections on to `target`, until `cut`: what is open then stays so, and is silent.

    Connections that are made later work.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._cut: set[asyncio.Event] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *raised: object) -> None:
        """End all."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> int:
        """Cut all connections that are open; give how many."""
        for event in self._cut:
            event.set()
        return len(self._cut)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        cut = asyncio.Event()
        self._cut.add(cut)
        there, back = await asyncio.open_connection(*self._target)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, back, cut))
                group.create_task(_copy(there, writer, cut))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._cut.discard(cut)
            self._tasks.discard(task)
            back.close()
            writer.close()


async def _copy(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, cut: asyncio.Event
) -> None:
    while data := await source.read(65536):
        if not cut.is_set():
            target.write(data)
            await target.drain()
    if not cut.is_set():
        target.close()


@pytest.fixture
async def proxy(cluster: Api) -> AsyncIterator[Proxy]:
    """Stand before the API server."""
    there = urlsplit(cluster.url)
    assert there.hostname is not None
    assert there.port is not None
    async with Proxy((there.hostname, there.port)) as proxy:
        yield proxy


@pytest.fixture
def kubeconfig_of_proxy(proxy: Proxy, tmp_path: Path) -> Path:
    """Write a kubeconfig that goes by the proxy."""
    path = tmp_path / "kubeconfig"
    context = {"cluster": "test", "user": "test"}
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "clusters": [{"name": "test", "cluster": {"server": proxy.url}}],
                "users": [{"name": "test", "user": {}}],
                "contexts": [{"name": "test", "context": context}],
            }
        )
    )
    return path


@pytest.fixture
async def by_proxy(
    kubeconfig_of_proxy: Path, namespace: str, database_url: str, key: str
) -> AsyncIterator[Operator]:
    """Make an operator that goes by the proxy."""
    operator = Operator(
        kubeconfig=kubeconfig_of_proxy,
        namespace=namespace,
        database_url=database_url,
        key=key,
        folder=kubeconfig_of_proxy.with_name("operator"),
        roles="controller",
    )
    yield operator
    await operator.stop()


def command(name: str, namespace: str) -> Json:
    """Write a Command of its own topic."""
    return {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": "Command",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"topic": name, "http": {"url": "http://127.0.0.1:9/"}},
    }


async def _next(feed: Feed, name: str) -> Event:
    async with asyncio.timeout(20):
        while True:
            await feed.wait(1)
            for event in feed.drain()[0]:
                if key_of(event.body)[2] == name:
                    return event


async def test_a_watch_that_is_silent_is_begun_anew(
    cluster: Api,
    namespace: str,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was missed meanwhile is told, within the silence that is allowed."""

    async def configure() -> Configuration:
        configuration = Configuration()
        configuration.host = proxy.url
        return configuration

    monkeypatch.setattr("taskloom.providers.kubernetes.watch.load_configuration", configure)
    feed = Feed()
    async with watching(Scope(namespaces=(namespace,)), feed, frozenset, silence=2.0):
        assert not isinstance(cluster.apply(command("one", namespace)), Refusal)
        await _next(feed, "one")
        await asyncio.to_thread(cluster.delete, command("one", namespace))
        await _next(feed, "one")
        assert proxy.cut() > 0
        assert not isinstance(cluster.apply(command("two", namespace)), Refusal)

        assert not (await _next(feed, "two")).deleted


async def test_an_operator_that_is_cut_off_in_silence_goes_on(
    cluster: Api, namespace: str, proxy: Proxy, by_proxy: Operator
) -> None:
    """All its connections are dead at once: it makes new ones, and what was declared is done."""
    one, two = command("one", namespace), command("two", namespace)
    assert not isinstance(cluster.apply(one), Refusal)
    await by_proxy.start()
    await until(lambda: condition(cluster, one) is not None)
    assert proxy.cut() > 0
    cluster.delete(one)
    assert not isinstance(cluster.apply(two), Refusal)

    await until(lambda: condition(cluster, two) == ("True", "Reconciled", 1), seconds=45)
