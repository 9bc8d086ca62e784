"""Commands that need this machine's ports and databases, but no server."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from taskloom.cli.app import app
from taskloom.cli.findings import Level, port_finding
from taskloom.cli.receiver import HOST, ReceiverSecrets, Webhook, receiving
from taskloom.domain.secret import Secret
from taskloom.domain.signing import task_signature
from taskloom.errors import Permanent
from taskloom.store.embedded_postgres import EmbeddedPostgres
from taskloom.store.migrate import migrate

SECRET = Secret("a-secret")
BODY = '{"key":"task-completed","payload":{"taskId":"1"}}'


@contextmanager
def _occupied() -> Iterator[int]:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port: int = other.getsockname()[1]
        yield port


def _signed(secret: Secret) -> dict[str, str]:
    now = str(time.time_ns() // 1_000_000)
    return {"x-task-signature": task_signature(secret, BODY, now), "x-task-timestamp": now}


async def test_a_receiver_answers_by_the_signature() -> None:
    """Genuine calls are answered 204, forged ones 401, on any path."""
    came: list[Webhook] = []
    secrets = ReceiverSecrets(api_secret=SECRET)

    async with receiving(0, lambda: secrets, came.append) as url, httpx.AsyncClient() as client:
        genuine = await client.post(url, content=BODY, headers=_signed(SECRET))
        forged = await client.post(url + "/x", content=BODY, headers=_signed(Secret("other")))

    assert (204, 401) == (genuine.status_code, forged.status_code)
    assert [None, "x-task-signature is not by this secret, or is too old"] == [
        webhook.fault for webhook in came
    ]


async def test_a_receiver_whose_port_is_taken_says_so() -> None:
    """The message names the port and the option."""
    with _occupied() as port, pytest.raises(Permanent, match=rf"{port}.*--receiver-port"):
        async with receiving(port, ReceiverSecrets, lambda _: None, option="--receiver-port"):
            pass


def test_listen_prints_what_comes_and_ends(tmp_path: Path) -> None:
    """With --count it ends after so many genuine webhooks; forged ones are only shown."""
    (tmp_path / "apiSecret").write_text(SECRET.reveal() + "\n")
    (tmp_path / "signingSecret").write_text("whsec_" + "A" * 44)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "taskloom", "listen", "--port", "0", "--count", "1"),
            *("-o", "json", "--credentials", str(tmp_path)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    url = process.stderr.readline().split()[2]
    httpx.post(url, content=BODY, headers=_signed(Secret("other")))
    httpx.post(url, content=BODY, headers=_signed(SECRET))
    out, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    forged, genuine = (json.loads(line) for line in out.splitlines())
    assert (False, True) == (forged["genuine"], genuine["genuine"])
    assert {"taskId": "1"} == genuine["event"]["payload"]


def test_listen_ends_well_when_interrupted() -> None:
    """Ctrl-C is how it ends: exit code 0."""
    process = subprocess.Popen(
        [sys.executable, "-m", "taskloom", "listen", "--port", "0", "--secret", "x"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)

    assert process.returncode == 0


def test_the_port_is_free_or_taken() -> None:
    """A port that a stranger listens on is wrong, and the remedy names the option."""
    with _occupied() as port:
        taken = port_finding(HOST, port)

    assert taken.level is Level.WRONG
    assert "--port" in taken.remedy
    assert port_finding(HOST, 0).level is Level.OK


def test_a_fresh_machine_is_well(tmp_path: Path) -> None:
    """Before the first start nothing is wrong, and nothing is made by looking."""
    folder = tmp_path / "data"

    done = CliRunner().invoke(app, ["doctor", "--data-dir", str(folder), "--port", "0"])

    assert done.exit_code == 0, done.output
    assert "There is no database yet" in done.stdout
    assert not folder.exists()


def _doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> tuple[int, str]:
    monkeypatch.setenv("TASKLOOM_DATABASE_URL", url)
    arguments = ["doctor", "--data-dir", str(tmp_path), "--port", "0", "-o", "json"]
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.stdout


def test_a_database_that_is_not_migrated_is_wrong(
    tmp_path: Path, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The remedy is `taskloom migrate`."""
    code, out = _doctor(tmp_path, monkeypatch, postgres.url_of("postgres"))

    assert code == 1
    assert "taskloom migrate" in {finding["remedy"] for finding in json.loads(out)}


def test_a_database_that_does_not_answer_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable that names it is said, its password is not."""
    url = "postgresql+psycopg://me:hidden@127.0.0.1:1/none"

    code, out = _doctor(tmp_path, monkeypatch, url)

    assert code == 1
    assert "TASKLOOM_DATABASE_URL" in out
    assert "hidden" not in out


async def test_migrate_brings_a_database_up(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without its webhook tables; doctor then finds it in order, as it is asked."""
    await migrate(database_url, target="base")
    arguments = ["migrate", "--database-url", database_url, "--without", "webhooks"]

    done = await asyncio.to_thread(CliRunner().invoke, app, arguments)

    assert done.exit_code == 0, done.output
    assert "Migrated: tasks, workflows." in done.stdout
    code, _ = await asyncio.to_thread(_doctor, tmp_path, monkeypatch, database_url)
    assert code == 1
    monkeypatch.setenv("TASKLOOM_WEBHOOKS", "false")
    code, out = await asyncio.to_thread(_doctor, tmp_path, monkeypatch, database_url)
    assert code == 0, out


def test_migrate_says_what_cannot_be_reached() -> None:
    """No traceback, exit code 1."""
    url = "postgres://me@127.0.0.1:1/none"

    done = CliRunner().invoke(app, ["migrate", "--database-url", url])

    assert done.exit_code == 1
    assert "cannot be reached" in done.stderr
    assert len(done.stderr.splitlines()) == 1
