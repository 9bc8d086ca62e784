"""What the engine's refusals mean: texts as Camunda 7.23 and Operaton 1.0 give them."""

from typing import Any

import pytest

from taskloom.engines.camunda.refusals import (
    Answer,
    Fate,
    fate,
    is_collision,
    may_be_duplicate,
    parsing_refusal,
    refusal,
)
from taskloom.errors import Invalid, NotFound, Temporary, Unprocessable


def said(status: int, message: str, **more: Any) -> Answer:
    """Make an answer of the engine's."""
    return Answer(status=status, body={"type": "RestException", "message": message, **more})


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (Answer(status=204), Fate.DONE),
        (said(404, "External task with id 1 does not exist"), Fate.GONE),
        (said(500, "Cannot complete task 1: Cannot find task with id 1: task is null"), Fate.GONE),
        (
            said(
                400,
                "External Task 1 cannot be completed by worker 'a'. It is locked by worker 'b'.",
            ),
            Fate.NOT_HELD,
        ),
        (
            said(
                400,
                "The lock of the External Task 1 cannot be extended by worker 'a''. "
                "It is locked by worker 'b'.",
            ),
            Fate.NOT_HELD,
        ),
        (said(500, "Unknown property used in expression: ${n}."), Fate.REFUSED),
        (said(400, "Unsupported value type 'Json'"), Fate.REFUSED),
    ],
)
def test_fate_of_a_call_about_a_task(answer: Answer, what: Fate) -> None:
    """Done, done before, another's, or refused: whatever the status."""
    assert what is fate(answer)


@pytest.mark.parametrize(
    "message",
    [
        "Unknown property used in expression: ${n > 1}. Cause: Cannot resolve identifier 'n'",
        "Error while evaluating expression: ${n > 1}. Cause: Cannot coerce from class x to y",
        "ENGINE-02004 No outgoing sequence flow for the element with id 'x' could be selected",
        "ENGINE-02005 Default sequence flow 'a_j' for element with id 'a' could not be not found.",
        "no processes deployed with key 'nope' and tenant-id 'null': processDefinition is null",
        "condition expression returns non-Boolean: result has class java.lang.Integer",
        "Process 'null' has no default start activity (e.g. none start event), hence you cannot",
        "ENGINE-01011 Cannot deploy process definition 'x': there already is a message event",
    ],
)
def test_what_a_model_leads_to_comes_again_each_time(message: str) -> None:
    """It is no matter of trying again."""
    assert isinstance(refusal(said(500, message)), Unprocessable)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (said(404, "No matching incident with id none"), NotFound),
        (said(400, "Query parameter firstResult must be a number"), Invalid),
        (said(500, "An exception occurred in the persistence layer."), Temporary),
        (said(500, "Could not open JDBC Connection for transaction"), Temporary),
        (Answer(status=500), Temporary),
    ],
)
def test_what_may_go_well_the_next_time_is_temporary(
    answer: Answer, error: type[Exception]
) -> None:
    """A database that is away is nobody's mistake."""
    assert type(refusal(answer)) is error


def test_collision_is_told_by_its_code() -> None:
    """Another call came between, and the engine rolled back."""
    assert is_collision(said(500, "x", type="OptimisticLockingException"))
    assert is_collision(said(500, "x", code=1))
    assert not is_collision(said(500, "x", code=0))
    assert not is_collision(said(400, "x", code=1))
    assert may_be_duplicate(said(500, "An exception occurred in the persistence layer."))


@pytest.mark.parametrize("ids", ["elementIds", "еlementIds"])  # noqa: RUF001 - Camunda's own typo
def test_model_that_is_refused_names_its_elements(ids: str) -> None:
    """Each element once, with the first line of what is wrong; a place where there is none."""
    errors = [
        {"message": "a topic is missing\nand more", "line": 3, "mainElementId": "a", ids: ["a"]},
        {"message": "a topic is missing", "line": 3, "mainElementId": "a", ids: ["a"]},
        {"message": "no binding", "line": 7, "mainElementId": None, ids: []},
    ]
    answer = said(400, "could not parse", details={"x.bpmn": {"errors": errors, "warnings": []}})
    error = parsing_refusal(answer)

    assert isinstance(error, Unprocessable)
    assert (
        "The engine does not take the BPMN:\na: a topic is missing\nline 7: no binding"
        == error.message
    )
    assert "bpmn" == error.field
