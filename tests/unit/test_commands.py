"""What the built-in commands read from a workflow's variables, and what failures mean."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from taskloom.commands.create_tasks import CreateTasks, read_tasks
from taskloom.commands.end_task import EndTask
from taskloom.commands.http import read_answer
from taskloom.commands.registry import Registry
from taskloom.domain.commands import BpmnError, CommandResult
from taskloom.domain.egress import STANDALONE
from taskloom.domain.secret import Secret
from taskloom.domain.webhooks import Target
from taskloom.errors import Invalid, Permanent, Temporary
from taskloom.ports.engine import ExternalTask
from taskloom.ports.sender import Answer
from taskloom.testing.sender import FakeSender
from taskloom.worker.failures import report_failure

ONE = [{"key": "review", "name": "Review"}]
TARGET = Target(
    url=Secret("https://pack.example/"),
    headers={"authorization": Secret("Bearer s3cret-token"), "x-mode": Secret("fast")},
)
TASK_ID = UUID("0194a1b2-0000-7000-8000-000000000001")


def _external_task(**variables: Any) -> ExternalTask:
    return ExternalTask(
        id="e1",
        topic="t",
        element_id="el",
        instance_id="i1",
        root_instance_id="i1",
        workflow_key="w",
        business_key=None,
        variables=variables,
        retries=None,
    )


@pytest.mark.parametrize(
    "value",
    [
        ONE,
        json.dumps(ONE),
        {"values": ONE},
        {"values": json.dumps(ONE)},
        json.dumps({"values": ONE}),
        json.dumps({"values": json.dumps(ONE)}),
    ],
)
async def test_every_way_to_write_the_list_is_understood(value: Any) -> None:
    """A list, {"values": …}, and either of them as a JSON string, mean the same."""
    result = await CreateTasks().execute(_external_task(tasks=value))

    assert CommandResult(create_tasks=tuple(ONE)) == result


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, 'no variable "tasks"'),
        ({"tasks": "not json"}, "not JSON"),
        ({"tasks": 7}, "must be a list"),
        ({"tasks": None}, "must be a list"),
        ({"tasks": {"value": []}}, "must be a list"),
        ({"tasks": {"values": {}}}, "must be a list"),
        ({"tasks": ["review"]}, r"tasks\[0\] must be an object"),
        ({"tasks": [{}] * 10_001}, "more than 10000"),
    ],
)
def test_what_is_no_list_of_tasks_is_said(variables: dict[str, Any], said: str) -> None:
    """The error names what is wrong with the variable."""
    with pytest.raises(Invalid, match=said):
        read_tasks(variables)


async def test_end_task_completes_the_task_of_its_variable() -> None:
    """The variable taskId names the task."""
    result = await EndTask().execute(_external_task(taskId=str(TASK_ID)))

    assert CommandResult(complete_task=TASK_ID) == result


@pytest.mark.parametrize("value", [None, "banana", 7])
async def test_end_task_without_a_task_id_says_so(value: Any) -> None:
    """Anything but an id is refused with what to do."""
    with pytest.raises(Invalid, match="taskId"):
        await EndTask().execute(_external_task(taskId=value))


def test_the_first_failure_leaves_four_tries() -> None:
    """A first failure is put off for a second, and four tries are left."""
    report = report_failure(RuntimeError("x"), None)

    assert (4, timedelta(seconds=1), "RuntimeError: x") == (
        report.retries,
        report.retry_after,
        report.message,
    )


def test_pauses_double_until_the_incident() -> None:
    """1, 2, 4 and 8 seconds, then no try is left."""
    seen = []
    retries: int | None = None
    for _ in range(5):
        report = report_failure(RuntimeError("x"), retries)
        retries = report.retries
        seen.append((report.retries, report.retry_after.total_seconds()))

    assert [(4, 1.0), (3, 2.0), (2, 4.0), (1, 8.0), (0, 16.0)] == seen


@pytest.mark.parametrize("error", [Permanent("never"), Invalid("wrong")])
def test_what_can_never_work_is_an_incident_at_once(error: Exception) -> None:
    """No try is wasted on what cannot work."""
    assert 0 == report_failure(error, None).retries


def test_a_temporary_error_is_waited_for() -> None:
    """Its own delay counts when it is longer."""
    report = report_failure(Temporary("busy", delay=30), None)

    assert timedelta(seconds=30) == report.retry_after


def _answer(status: int, body: Any = None) -> Answer:
    text = b"" if body is None else json.dumps(body).encode()
    return Answer(status=status, headers={}, body=text, elapsed_ms=1)


@pytest.mark.parametrize(
    ("answer", "variables"),
    [
        (_answer(200, {"variables": {"a": 1}}), {"a": 1}),
        (_answer(200, {}), {}),
        (_answer(200), {}),
        (_answer(204), {}),
    ],
)
def test_a_services_answer_completes_its_task(answer: Answer, variables: dict[str, Any]) -> None:
    """200 gives variables, or none."""
    assert CommandResult(variables=variables) == read_answer(answer, TARGET)


def test_a_services_bpmn_error_is_raised_in_the_model() -> None:
    """409 with a bpmnError names a code that the model may catch."""
    with pytest.raises(BpmnError) as raised:
        read_answer(
            _answer(409, {"bpmnError": {"code": "NO_BUDGET", "message": "none left"}}), TARGET
        )

    assert ("NO_BUDGET", "none left") == (raised.value.error_code, raised.value.message)


@pytest.mark.parametrize("answer", [_answer(500), _answer(409, {}), _answer(302), _answer(404)])
def test_other_answers_are_tried_again(answer: Answer) -> None:
    """Any other status is a failure that may pass."""
    with pytest.raises(Temporary):
        read_answer(answer, TARGET)


def test_what_a_service_sends_back_is_told_without_its_credentials() -> None:
    """A failure's text goes into the database and to people; short words are no credentials."""
    answer = Answer(status=500, headers={}, body=b"fast: no s3cret-token here", elapsed_ms=1)

    with pytest.raises(Temporary, match=r"answered 500: fast: no \*\*\* here$"):
        read_answer(answer, TARGET)


@pytest.mark.parametrize(
    "answer",
    [
        _answer(200, [1]),
        _answer(200, {"variables": [1]}),
        Answer(status=200, headers={}, body=b"{", elapsed_ms=1),
        Answer(status=200, headers={}, body=b"[" * 16_000, elapsed_ms=1),
        Answer(status=200, headers={}, body=b"[" * 20_000, elapsed_ms=1),
    ],
)
def test_an_answer_that_cannot_be_read_is_an_incident(answer: Answer) -> None:
    """Calling again would give the same."""
    with pytest.raises(Permanent):
        read_answer(answer, TARGET)


def test_commands_that_say_what_they_read_are_given_no_more() -> None:
    """Our own two do; one that does not say is given all."""

    class Silent:
        topic = "silent"

        async def execute(self, task: ExternalTask) -> CommandResult:
            return CommandResult(variables=task.variables)

    registry = Registry(FakeSender(), STANDALONE, [CreateTasks(), EndTask(), Silent()])

    assert {"create-tasks": ("tasks",), "end-task": ("taskId",)} == registry.variables()
