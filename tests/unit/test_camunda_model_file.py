"""What a BPMN file says of itself, and the file that the engine is given."""

import pytest

from taskloom.engines.camunda.model_file import Candidates, ModelFile
from taskloom.errors import Unprocessable
from taskloom.testing.bpmn import bpmn, external, path

START = '<startEvent id="s"/>'
TOPIC_C = 'camunda:type="external" camunda:topic="c"'
LISTENER = '<camunda:taskListener event="create" class="x.Y"/>'
LIMITED = b'camunda:historyTimeToLive="P1D"'


def limited(model: bytes) -> bytes:
    """Say in a model how long its history is kept."""
    return model.replace(b'isExecutable="true"', b'isExecutable="true" ' + LIMITED)


def test_file_that_says_all_is_given_as_it_is() -> None:
    """The engine's copy is then byte for byte the user's."""
    model = limited(bpmn(START, process_id="order"))

    assert model == ModelFile(model).for_engine("order", history_days=180)


def test_history_is_limited_where_the_file_does_not_say() -> None:
    """Engines of today refuse a process that does not."""
    given = ModelFile(bpmn(START, process_id="order")).for_engine("order", history_days=30)

    assert b'historyTimeToLive="P30D"' in given
    assert given == ModelFile(bpmn(START, process_id="order")).for_engine("order", history_days=30)


def test_process_is_named_for_its_workflow() -> None:
    """With all that refers to it: participants, the diagram, calls of itself."""
    model = limited(
        bpmn(START, '<callActivity id="c" calledElement="P"/>').replace(
            b"</definitions>",
            b'<collaboration id="k"><participant id="p" processRef="P"/></collaboration>'
            b'<d:BPMNDiagram xmlns:d="http://www.omg.org/spec/BPMN/20100524/DI">'
            b'<d:BPMNPlane bpmnElement="P"/></d:BPMNDiagram></definitions>',
        )
    )
    given = ModelFile(model).for_engine("order-placed", history_days=180)

    for reference in (b'id="order-placed"', b'calledElement="order-placed"',
                      b'processRef="order-placed"', b'bpmnElement="order-placed"'):  # fmt: skip
        assert reference in given
    assert b'"P"' not in given


@pytest.mark.parametrize("key", ["1st", "order placed", "a:b", "-x", ""])
def test_key_that_is_no_id_is_refused(key: str) -> None:
    """XML has rules for ids: what they are is said."""
    with pytest.raises(Unprocessable, match="cannot be the id of a process"):
        ModelFile(bpmn(START)).for_engine(key, history_days=180)


def test_key_that_an_element_has_is_refused() -> None:
    """Two elements cannot have one id."""
    with pytest.raises(Unprocessable, match=r"^s: an element has the workflow's key"):
        ModelFile(bpmn(START)).for_engine("s", history_days=180)


def test_process_with_the_key_is_the_workflow_among_several() -> None:
    """The others are deployed with it, under their own ids."""
    other = b'<process id="other" isExecutable="true"><startEvent id="o"/></process>'
    model = limited(bpmn(START)).replace(b"</definitions>", other + b"</definitions>")
    file = ModelFile(model)

    assert "P" == file.summary().process_id
    assert b'id="P"' in file.for_engine("other", history_days=180)


def test_file_without_executable_process_is_refused() -> None:
    """There is nothing to start."""
    with pytest.raises(Unprocessable, match="no executable process"):
        ModelFile(bpmn(START).replace(b'"true"', b'"false"'))


def test_topics_are_those_that_are_known() -> None:
    """Of every place that has one; a computed topic is not known before."""
    file = ModelFile(
        bpmn(
            START,
            external("a"),
            external("b", topic="${name}"),
            f'<endEvent id="e"><messageEventDefinition {TOPIC_C}/></endEvent>',
            '<serviceTask id="d" camunda:class="x.Y" camunda:topic="no"/>',
        )
    )

    assert frozenset({"a", "c"}) == file.topics


@pytest.mark.parametrize(
    ("attributes", "inside", "who"),
    [
        ("", "", Candidates()),
        ('camunda:candidateUsers="ann, bob"', "", Candidates(users=("ann", "bob"))),
        ('camunda:candidateGroups="x,,y"', "", Candidates(groups=("x", "y"))),
        ('camunda:candidateGroups="${x}"', "", None),
        (
            'camunda:candidateGroups="x"',
            f"<extensionElements>{LISTENER}</extensionElements>",
            None,
        ),
        ("", "<potentialOwner/>", None),
    ],
)
def test_candidates_are_told_where_the_model_decides(
    attributes: str, inside: str, who: Candidates | None
) -> None:
    """The engine needs to be asked only where an expression or a listener decides."""
    file = ModelFile(bpmn(START, f'<userTask id="u" {attributes}>{inside}</userTask>'))

    assert who == file.candidates("u")


ERRORS = '<error id="E1" errorCode="bad"/><error id="E2" errorCode="worse"/>'


def boundary(host: str, reference: str = "") -> str:
    """Make an error boundary event."""
    return (
        f'<boundaryEvent id="on-{host}" attachedToRef="{host}">'
        f"<errorEventDefinition {reference}/></boundaryEvent>"
    )


def beside(definition: str, inside: str = "") -> str:
    """Make an event sub-process."""
    start = f'<startEvent id="xs">{definition}</startEvent>'
    return f'<subProcess id="x" triggeredByEvent="true">{start}{inside}</subProcess>'


@pytest.mark.parametrize(
    ("parts", "caught"),
    [
        ([external("a")], False),
        ([external("a"), boundary("a")], True),
        ([external("a"), boundary("a", 'errorRef="E1"')], True),
        ([external("a"), boundary("a", 'errorRef="E2"')], False),
        ([external("a"), external("b"), boundary("b")], False),
        ([f'<subProcess id="x">{external("a")}</subProcess>', boundary("x")], True),
        (
            [
                external("a"),
                beside('<errorEventDefinition errorRef="E1"/>'),
            ],
            True,
        ),
        (
            [
                beside("<errorEventDefinition/>", external("a")),
            ],
            False,
        ),
        (
            [
                external("a"),
                '<boundaryEvent id="t" attachedToRef="a"><timerEventDefinition/></boundaryEvent>',
            ],
            False,
        ),
    ],
)
def test_error_is_caught_by_what_stands_around(parts: list[str], *, caught: bool) -> None:
    """Boundary events and event sub-processes, on every level; not the one it is raised in."""
    file = ModelFile(bpmn(START, *parts, path("s s"), aside=ERRORS))

    assert caught == file.catches("a", "bad")


def test_calls_are_known() -> None:
    """Only a file with a call activity can have instances below its own."""
    assert ModelFile(bpmn(START, '<callActivity id="c" calledElement="x"/>')).calls
    assert not ModelFile(bpmn(START, external("a"))).calls
