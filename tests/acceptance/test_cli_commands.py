"""The commands that speak to a running server, against a real one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from taskloom.cli.app import app
from taskloom.testing.server import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
EVENT = EXAMPLES / "events" / "purchase-requested.json"
PAYLOAD = '{"item": "Desk", "amount": 480}'
SECONDS = 60
BAD = """\
apiVersion: taskloom.dev/v1alpha1
kind: EventMapping
metadata:
  name: astray
spec:
  eventKey: x
  workflowRef:
    name: nowhere
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server that runs, and where it keeps what."""

    url: str
    files: Path
    data_dir: Path
    process: subprocess.Popen[str]


@contextmanager
def _serving(files: Path, data_dir: Path, *arguments: str) -> Iterator[Served]:
    """Run a server; unless it was stopped meanwhile, stop it as a supervisor would."""
    command = [
        *(sys.executable, "-m", "taskloom", "serve", "--port", "0"),
        *("--files", str(files), "--data-dir", str(data_dir), *arguments),
    ]
    environment = {**os.environ, "TASKLOOM_LOG_LEVEL": "error"}
    log_path = data_dir.with_suffix(".log")
    with (
        log_path.open("w") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        ) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Taskloom serves at "), log_path.read_text()
        try:
            yield Served(url=line.split()[-1], files=files, data_dir=data_dir, process=process)
        finally:
            process.terminate()
            assert process.wait(SECONDS) == 0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve the quickstart and one resource that is wrong."""
    folder = tmp_path_factory.mktemp("served")
    files = folder / "files"
    files.mkdir()
    for file in (EXAMPLES / "quickstart").glob("*.yaml"):
        text = file.read_text().replace("127.0.0.1:8090", f"127.0.0.1:{free_port()}")
        (files / file.name).write_text(text)
    (files / "astray.yaml").write_text(BAD)
    with _serving(files, folder / "data") as server:
        yield server


def _run(served: Served, *arguments: str, stdin: str | None = None) -> tuple[int, str, str]:
    environment = {"TASKLOOM_URL": served.url, "TASKLOOM_DATA_DIR": str(served.data_dir)}
    done = CliRunner().invoke(app, list(arguments), input=stdin, env=environment)
    return done.exit_code, done.stdout, done.stderr


def _json(served: Served, *arguments: str) -> Any:
    _, out, _ = _run(served, *arguments, "-o", "json")
    return json.loads(out)


def test_get_shows_the_good_and_the_bad(served: Served) -> None:
    """All resources are listed; the wrong one with its reason and place, and exit code 1."""
    code, out, _ = _run(served, "get")

    assert code == 1
    assert 7 == len(out.splitlines()) - 1
    [line] = [line for line in out.splitlines() if "astray" in line]
    assert "WorkflowNotFound" in line
    assert "there is no Workflow default/nowhere (astray.yaml:1)" in line
    assert all(line == line.rstrip() for line in out.splitlines())


def test_get_of_what_is_well_is_exit_code_0(served: Served) -> None:
    """A kind by its short name, an object by its name."""
    assert _run(served, "get", "bpwf")[0] == 0

    code, out, _ = _run(served, "get", "workflow", "purchase-request", "-n", "default")

    assert code == 0
    assert out.splitlines()[0].split()[:4] == ["NAMESPACE", "NAME", "KEY", "VERSION"]


def test_get_gives_objects_as_kubectl_does(served: Served) -> None:
    """YAML of one object can be read back as a manifest."""
    _, out, _ = _run(served, "get", "evmap", "purchase-requested", "-o", "yaml")
    manifest = yaml.safe_load(out)

    assert "taskloom.dev/v1alpha1" == manifest["apiVersion"]
    assert "purchase-requested" == manifest["spec"]["eventKey"]
    assert "purchase-request" == manifest["status"]["workflowKey"]
    assert 2 == len(_json(served, "get", "Workflow")["items"])


def test_what_is_not_there_is_exit_code_1(served: Served) -> None:
    """An empty list is no error, a missing name is."""
    assert _run(served, "get", "tcmd")[0] == 0

    code, out, err = _run(served, "get", "tcmd", "nothing")

    assert (code, out) == (1, "")
    assert "There is no Command nothing" in err


def test_describe_tells_conditions_and_spec(served: Served) -> None:
    """Everything about one object, and exit code 1 if it is not ready."""
    code, out, _ = _run(served, "describe", "evmap", "astray")

    assert code == 1
    for text in ("Written at:   astray.yaml:1", "ResolvedRefs  False", "  eventKey: x"):
        assert text in out
    assert _run(served, "describe", "bpwf", "purchase-request")[0] == 0
    assert _run(served, "describe", "bpwf", "nothing")[0] == 1


def test_trigger_prints_an_id_that_can_be_traced(served: Served) -> None:
    """The id alone is on standard output; trace draws its way."""
    code, out, _ = _run(served, "trigger", "purchase-requested", "--payload", PAYLOAD)
    event_id = out.strip()

    assert code == 0
    code, out, _ = _run(served, "trace", event_id)
    assert code == 0
    assert f"event purchase-requested {event_id}" in out
    assert _json(served, "trace", event_id)["id"] == event_id


def test_the_same_key_counts_once(served: Served) -> None:
    """An idempotency key gives the same event again."""
    arguments = ("trigger", "nothing-maps-it", "--source", "shop", "--idempotency-key", "once")

    first, second = _run(served, *arguments), _run(served, *arguments)

    assert (first[0], second[0]) == (0, 0)
    assert first[1] == second[1]


def test_a_key_that_another_program_used_names_its_event(served: Served) -> None:
    """The duplicate has the id of what came first."""
    _, token, _ = _run(served, "token")
    headers = {"authorization": f"Bearer {token.strip()}", "idempotency-key": "theirs"}
    answer = httpx.post(f"{served.url}/events/trigger", json={"key": "k"}, headers=headers)

    code, out, _ = _run(served, "trigger", "k", "--idempotency-key", "theirs")

    assert code == 0
    assert answer.headers["taskloom-event-id"] == out.strip()


def test_waiting_ends_with_the_trace(served: Served) -> None:
    """With --wait it is waited for the tasks; a webhook that nobody takes is named as a failure."""
    code, out, err = _run(
        served, "trigger", "purchase-requested", "--payload", "-", "--wait", stdin=PAYLOAD
    )

    assert "user task “Check the budget” pending" in out
    assert code == 1
    assert "task-created was not delivered to 127.0.0.1" in err


def test_waiting_for_nothing_is_quick(served: Served) -> None:
    """An event that no mapping wants is settled at once, with exit code 0."""
    code, out, _ = _run(served, "trigger", "nothing-maps-it", "--wait")

    assert code == 0
    assert "no mapping has its key" in out


def test_a_filter_is_seen_in_the_trace(served: Served) -> None:
    """What a filter kept out says so."""
    _, out, _ = _run(served, "trigger", "purchase-requested", "-p", '{"amount": 1}', "--wait")

    assert "purchase-request not started" in out


def test_a_retry_says_how_much_it_took_up(served: Served) -> None:
    """Nothing failed: nothing is tried again; an event that is not there is exit code 1."""
    _, out, _ = _run(served, "trigger", "nothing-maps-it")

    code, told, _ = _run(served, "retry", out.strip())

    assert code == 0
    assert "0 starts and 0 incidents" in told
    assert _run(served, "retry", "00000000-0000-7000-8000-000000000000")[0] == 1


def test_explain_starts_nothing(served: Served) -> None:
    """The variables that a process would have are shown, and no event is stored."""
    before = _count(served)
    code, out, _ = _run(served, "explain", str(EVENT))

    assert code == 0
    assert "workflow purchase-request would start" in out
    assert "amount: 480" in out
    assert before == _count(served)


def test_explain_says_why_not(served: Served) -> None:
    """Exit code 1, with the filter that is false; from standard input as well."""
    event = '{"key": "purchase-requested", "payload": {"item": "Pen", "amount": 0}}'

    code, out, _ = _run(served, "explain", "-", stdin=event)

    assert code == 1
    assert "because: the filter is false" in out
    assert _run(served, "explain", "-", stdin='{"payload": {}}')[0] == 2
    assert _run(served, "explain", "-", stdin='{"key": ""}')[0] == 1


def _count(served: Served) -> int:
    _, token, _ = _run(served, "token")
    answer = httpx.get(
        f"{served.url}/events/count", headers={"authorization": f"Bearer {token.strip()}"}
    )
    count: int = answer.json()["count"]
    return count


def test_the_folder_in_force_has_no_differences(served: Served) -> None:
    """A dry run of what is served changes nothing, and still says what is wrong with it."""
    assert _run(served, "diff", str(served.files))[0] == 0

    code, out, _ = _run(served, "apply", "--dry-run", str(served.files))

    assert code == 1
    assert 7 == out.count("would be unchanged")
    assert "but: WorkflowNotFound: there is no Workflow default/nowhere" in out


def test_another_folder_shows_what_would_go_and_come(served: Served) -> None:
    """Against the running server's resources."""
    code, out, _ = _run(served, "diff", str(EXAMPLES / "command-http" / "resources"))

    assert code == 1
    assert "Command default/check-stock would be created" in out
    assert "ClientApp default/purchasing would be removed" in out


def test_the_doctor_finds_the_bad_resource(served: Served) -> None:
    """Beside a server that runs: its port, its database, and what is wrong with its resources."""
    port = served.url.rpartition(":")[2]

    findings = _json(served, "doctor", "--port", port)

    wrong = [finding for finding in findings if finding["level"] == "wrong"]
    assert ["resources"] == [finding["about"] for finding in wrong]
    assert "astray" in wrong[0]["message"]
    assert f"Taskloom answers on 127.0.0.1:{port}." in {each["message"] for each in findings}


@pytest.mark.parametrize(("permissions", "said"), [("16003", "16002"), ("16002", "ViewResource")])
def test_a_missing_permission_is_named(served: Served, permissions: str, said: str) -> None:
    """A token that may not is answered with the code that it lacks."""
    _, token, _ = _run(served, "token", "--permissions", permissions)
    command = ("explain", str(EVENT)) if said == "16002" else ("get",)

    code, _, err = _run(served, *command, "--token", token.strip())

    assert code == 1
    assert said in err


def test_a_wrong_token_is_refused(served: Served) -> None:
    """As the server says it."""
    code, _, err = _run(served, "get", "--token", "nonsense")

    assert code == 1
    assert "no JWT" in err


def test_the_data_folder_has_one_server(served: Served) -> None:
    """A second one is refused with the first one's pid, in one line."""
    second = subprocess.run(
        [
            *(sys.executable, "-m", "taskloom", "serve", "--port", "0"),
            *("--data-dir", str(served.data_dir)),
        ],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    assert second.returncode == 1
    assert f"Another taskloom (pid {served.process.pid})" in second.stderr
    assert len(second.stderr.splitlines()) == 1


def test_a_mended_folder_comes_into_force(served: Served) -> None:
    """The server follows its folder; what was wrong is well after an edit, without a restart."""
    extra = served.files / "later.yaml"
    extra.write_text(BAD.replace("astray", "later"))
    _await(lambda: _run(served, "get", "evmap", "later")[0] == 1)
    extra.write_text(BAD.replace("astray", "later").replace("nowhere", "purchase-request"))
    _await(lambda: _run(served, "get", "evmap", "later")[0] == 0)
    extra.unlink()
    _await(lambda: "There is no" in _run(served, "get", "evmap", "later")[2])


def _await(holds: Any) -> None:
    until = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_well(tmp_path: Path, number: signal.Signals) -> None:
    """What was accepted before the signal is there after the next start; the exit code is 0."""
    files = EXAMPLES / "quickstart"
    with _serving(files, tmp_path) as first:
        _, out, _ = _run(first, "trigger", "purchase-requested", "--payload", PAYLOAD)
        first.process.send_signal(number)
        assert first.process.wait(SECONDS) == 0
    with _serving(files, tmp_path) as second:
        code, _, _ = _run(second, "trace", out.strip())

        assert code == 0


def test_webhooks_can_be_left_out(tmp_path: Path) -> None:
    """Without webhooks there is no client app, and the mapping works all the same."""
    with _serving(EXAMPLES / "quickstart", tmp_path, "--without", "webhooks") as served:
        code, out, _ = _run(served, "get")
        assert code == 1
        assert 2 == out.count("False")

        code, out, _ = _run(served, "trigger", "purchase-requested", "-p", PAYLOAD, "--wait")
        assert code == 0
        assert "user task “Check the budget” pending" in out
