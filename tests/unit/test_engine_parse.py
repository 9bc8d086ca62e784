"""BPMN files: what is read from them, and what is refused with the element's id."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskloom.engines.embedded.events import ErrorEvent
from taskloom.engines.embedded.model import Boundary, External, UserWork
from taskloom.engines.embedded.parse import parse_bpmn
from taskloom.engines.embedded.reading import MAX_BYTES
from taskloom.errors import Invalid, TooLarge, Unprocessable
from taskloom.testing.bpmn import bpmn, external, flow, mapping, path, timer

START = '<startEvent id="s"/>'
TASK = '<task id="t"/>'
EXTERNAL = 'camunda:type="external" camunda:topic="a"'
BESIDE = (
    '<message id="M" name="m"/><message id="nameless"/><message id="any" name="${a}"/>'
    '<escalation id="C" escalationCode="c"/><signal id="S" name="s"/>'
)


def refusal(data: bytes) -> str:
    """Give the words with which a file is refused."""
    with pytest.raises(Unprocessable) as refused:
        parse_bpmn(data)
    return refused.value.message


REFUSED_ELEMENTS = {
    "script task": ('<scriptTask id="x"/>', "scriptTask is not supported"),
    "receive task of nothing": ('<receiveTask id="x"/>', "messageRef is missing"),
    "receive task of no message": (
        '<receiveTask id="x" messageRef="none"/>',
        "its messageRef 'none' names no message of the file",
    ),
    "receive task of a nameless message": (
        '<receiveTask id="x" messageRef="nameless"/>',
        "the message 'nameless' has no name",
    ),
    "transaction": ('<transaction id="x"/>', "transaction is not supported"),
    "ad-hoc": ('<adHocSubProcess id="x"/>', "adHocSubProcess is not supported"),
    "event-based gateway without way out": ('<eventBasedGateway id="x"/>', "no flow leaves"),
    "event-based gateway to a task": (
        '<eventBasedGateway id="x"/>' + flow("x", "t"),
        "it leads to 't': an event-based gateway leads to events",
    ),
    "complex gateway": ('<complexGateway id="x"/>', "complexGateway is not supported"),
    "unknown element": ('<choreographyTask id="x"/>', "choreographyTask is not supported"),
    "event sub-process without start": (
        '<subProcess id="x" triggeredByEvent="true"/>',
        "it has no start events",
    ),
    "event sub-process of nothing": (
        '<subProcess id="y" triggeredByEvent="true"><startEvent id="x"/></subProcess>',
        "an event sub-process that begins with no event definition",
    ),
    "event sub-process of a condition": (
        (
            '<subProcess id="y" triggeredByEvent="true"><startEvent id="x">'
            "<conditionalEventDefinition/></startEvent></subProcess>"
        ),
        "an event sub-process that begins with conditionalEventDefinition",
    ),
    "event sub-process of an error that does not interrupt": (
        (
            '<subProcess id="y" triggeredByEvent="true"><startEvent id="x" isInterrupting="false">'
            "<errorEventDefinition/></startEvent></subProcess>"
        ),
        "an event sub-process of an error must interrupt",
    ),
    "event sub-process in a flow": (
        (
            '<subProcess id="y" triggeredByEvent="true"><startEvent id="i">'
            '<errorEventDefinition/></startEvent></subProcess><sequenceFlow id="x"'
            ' sourceRef="t" targetRef="y"/>'
        ),
        "it leads to an event sub-process",
    ),
    "two event sub-processes of one message": (
        "".join(
            f'<subProcess id="p{id_}" triggeredByEvent="true"><startEvent id="{id_}">'
            '<messageEventDefinition messageRef="M"/></startEvent></subProcess>'
            for id_ in "yx"
        ),
        "it waits for the same message as 'y' in one scope",
    ),
    "event sub-process done several times": (
        (
            '<subProcess id="x" triggeredByEvent="true"><startEvent id="i">'
            "<errorEventDefinition/></startEvent><multiInstanceLoopCharacteristics>"
            "<loopCardinality>2</loopCardinality></multiInstanceLoopCharacteristics></subProcess>"
        ),
        "an event sub-process cannot be multi-instance",
    ),
    "service task of nobody": ('<serviceTask id="x"/>', "camunda:type"),
    "service task without topic": (
        '<serviceTask id="x" camunda:type="external"/>',
        "camunda:topic is missing",
    ),
    "mail task": ('<serviceTask id="x" camunda:type="mail"/>', "camunda:type"),
    "java class": ('<serviceTask id="x" camunda:class="a.B"/>', "Java classes cannot run"),
    "delegate": (
        '<serviceTask id="x" camunda:delegateExpression="${b}"/>',
        "Java delegates cannot run",
    ),
    "expression as work": (
        '<serviceTask id="x" camunda:expression="${b.c()}"/>',
        "Java expressions as work",
    ),
    "decision": ('<businessRuleTask id="x" camunda:decisionRef="d"/>', "DMN decisions"),
    "rule task without topic": ('<businessRuleTask id="x"/>', "camunda:type"),
    "unknown attribute": ('<task id="x" camunda:magic="1"/>', "camunda:magic is not supported"),
    "multi-instance without number": (
        f'<serviceTask id="x" {EXTERNAL}><multiInstanceLoopCharacteristics/></serviceTask>',
        "its multi-instance has no loopCardinality and no collection",
    ),
    "multi-instance of a bad number": (
        (
            f'<serviceTask id="x" {EXTERNAL}><multiInstanceLoopCharacteristics>'
            "<loopCardinality>many</loopCardinality></multiInstanceLoopCharacteristics>"
            "</serviceTask>"
        ),
        "'many' is no whole number",
    ),
    "multi-instance with outputs": (
        external(
            "x",
            inside=mapping('<camunda:outputParameter name="p">1</camunda:outputParameter>')
            + '<multiInstanceLoopCharacteristics camunda:collection="items"/>',
        ),
        "a multi-instance activity has no output parameters",
    ),
    "loop marker": (
        '<task id="x"><standardLoopCharacteristics/></task>',
        "a loop marker is not supported",
    ),
    "compensation": ('<task id="x" isForCompensation="true"/>', "compensation is not supported"),
    "execution listener": (
        (
            '<task id="x"><extensionElements><camunda:executionListener class="a.B" event="start"/>'
            "</extensionElements></task>"
        ),
        "listeners are not supported",
    ),
    "task listener": (
        (
            '<userTask id="x"><extensionElements><camunda:taskListener event="create">'
            '<camunda:script scriptFormat="groovy">x</camunda:script></camunda:taskListener>'
            "</extensionElements></userTask>"
        ),
        "listeners are not supported",
    ),
    "connector": (
        (
            "<serviceTask id='x'><extensionElements><camunda:connector/></extensionElements>"
            "</serviceTask>"
        ),
        "connectors are not supported",
    ),
    "error by expression": (
        (
            f'<serviceTask id="x" {EXTERNAL}><extensionElements><camunda:errorEventDefinition'
            ' expression="${true}"/></extensionElements></serviceTask>'
        ),
        "errors thrown by expression",
    ),
    "script parameter": (
        external(
            "x",
            inside=mapping(
                '<camunda:inputParameter name="p"><camunda:script scriptFormat="js">1'
                "</camunda:script></camunda:inputParameter>"
            ),
        ),
        "a parameter made by <script>",
    ),
    "nameless parameter": (
        external("x", inside=mapping("<camunda:inputParameter>1</camunda:inputParameter>")),
        "an input parameter has no name",
    ),
    "gateway with parameters": (
        '<exclusiveGateway id="x">'
        + mapping('<camunda:inputParameter name="p">1</camunda:inputParameter>')
        + "</exclusiveGateway>"
        + flow("x", "t"),
        "exclusiveGateway has no input and output parameters",
    ),
    "boundary event with parameters": (
        '<boundaryEvent id="x" attachedToRef="t">'
        + mapping('<camunda:inputParameter name="p">1</camunda:inputParameter>')
        + f"{timer('timeDuration', 'PT1S')}</boundaryEvent>",
        "boundaryEvent has no input and output parameters",
    ),
    "end with outputs": (
        '<endEvent id="x">'
        + mapping('<camunda:outputParameter name="p">1</camunda:outputParameter>')
        + "</endEvent>",
        "an end event has no output parameters",
    ),
    "performer": ('<userTask id="x"><performer/></userTask>', "it has several performers"),
    "two assignees": (
        (
            '<userTask id="x" camunda:assignee="a"><humanPerformer><resourceAssignmentExpression>'
            "<formalExpression>b</formalExpression></resourceAssignmentExpression>"
            "</humanPerformer></userTask>"
        ),
        "both a humanPerformer and a camunda:assignee",
    ),
    "bad priority": ('<userTask id="x" camunda:priority="high"/>', "high"),
    "bad due date": ('<userTask id="x" camunda:dueDate="tomorrow"/>', "tomorrow"),
    "method in an expression": (
        '<userTask id="x" camunda:assignee="${bean.find(1)}"/>',
        "the method find() is not one of those",
    ),
    "open expression": ('<userTask id="x" camunda:assignee="${a"/>', "closing brace"),
    "zeebe attribute": (
        '<task id="x" xmlns:z="http://camunda.org/schema/zeebe/1.0" z:foo="1"/>',
        "made for Camunda 8",
    ),
    "zeebe element": (
        (
            '<task id="x"><extensionElements><z:taskDefinition type="a"'
            ' xmlns:z="http://camunda.org/schema/zeebe/1.0"/></extensionElements></task>'
        ),
        "made for Camunda 8",
    ),
    "call of nothing": ('<callActivity id="x"/>', "calledElement is missing"),
    "call by version tag": (
        '<callActivity id="x" calledElement="c" camunda:calledElementBinding="versionTag"/>',
        'calledElementBinding="versionTag" is not supported',
    ),
    "call of no version": (
        '<callActivity id="x" calledElement="c" camunda:calledElementBinding="version"/>',
        "calledElementVersion is missing",
    ),
    "call that maps to nothing": (
        (
            '<callActivity id="x" calledElement="c"><extensionElements><camunda:in source="a"/>'
            "</extensionElements></callActivity>"
        ),
        "camunda:in needs a source and a target",
    ),
    "call that maps some": (
        (
            '<callActivity id="x" calledElement="c"><extensionElements>'
            '<camunda:out variables="some"/></extensionElements></callActivity>'
        ),
        'is not "all"',
    ),
    "mapping by class": (
        '<callActivity id="x" calledElement="c" camunda:variableMappingClass="a.B"/>',
        "Java classes cannot run",
    ),
    "signal of nothing": (
        '<endEvent id="x"><signalEventDefinition/></endEvent>',
        "signalRef is missing",
    ),
    "signal with a business key": (
        (
            '<intermediateThrowEvent id="x"><signalEventDefinition signalRef="S">'
            '<extensionElements><camunda:in businessKey="b"/></extensionElements>'
            "</signalEventDefinition></intermediateThrowEvent>"
        ),
        "a signal carries no business key",
    ),
    "multi-instance that collects": (
        (
            f'<serviceTask id="x" {EXTERNAL}><multiInstanceLoopCharacteristics'
            ' camunda:collection="a"><loopDataOutputRef>b</loopDataOutputRef>'
            "</multiInstanceLoopCharacteristics></serviceTask>"
        ),
        "loopDataOutputRef of its multi-instance is not supported",
    ),
    "receive task that starts": (
        '<receiveTask id="x" messageRef="M" instantiate="true"/>',
        "it starts a process: use a start event",
    ),
    "parallel event-based gateway": (
        '<eventBasedGateway id="x" eventGatewayType="Parallel"/>',
        "a parallel event-based gateway is not supported",
    ),
    "multi-instance with what is unknown": (
        (
            f'<serviceTask id="x" {EXTERNAL}><multiInstanceLoopCharacteristics camunda:magic="1">'
            "<loopCardinality>2</loopCardinality></multiInstanceLoopCharacteristics></serviceTask>"
        ),
        "camunda:magic is not supported",
    ),
    "compensation end": (
        '<endEvent id="x"><compensateEventDefinition/></endEvent>',
        "an end event with compensateEventDefinition",
    ),
    "message end without topic": (
        '<endEvent id="x"><messageEventDefinition/></endEvent>',
        "a message end event is supported with",
    ),
    "escalation of nothing": (
        '<intermediateThrowEvent id="x"><escalationEventDefinition/></intermediateThrowEvent>',
        "escalationRef is missing",
    ),
    "compensation throw": (
        '<intermediateThrowEvent id="x"><compensateEventDefinition/></intermediateThrowEvent>',
        "throwing compensateEventDefinition",
    ),
    "link to nowhere": (
        '<intermediateThrowEvent id="x"><linkEventDefinition name="l"/></intermediateThrowEvent>',
        "no event beside it catches the link 'l'",
    ),
    "link without name": (
        '<intermediateThrowEvent id="x"><linkEventDefinition/></intermediateThrowEvent>',
        "its link has no name",
    ),
    "link caught twice": (
        "".join(
            f'<intermediateCatchEvent id="{id_}"><linkEventDefinition name="l"/>'
            "</intermediateCatchEvent>"
            for id_ in "yx"
        ),
        "the link 'l' is caught twice",
    ),
    "flow from a link": (
        '<intermediateThrowEvent id="x"><linkEventDefinition name="l"/></intermediateThrowEvent>'
        + flow("x", "t"),
        "a flow leaves a link throw event",
    ),
    "message catch of nothing": (
        '<intermediateCatchEvent id="x"><messageEventDefinition/></intermediateCatchEvent>',
        "messageRef is missing",
    ),
    "error catch": (
        '<intermediateCatchEvent id="x"><errorEventDefinition/></intermediateCatchEvent>',
        "catching errorEventDefinition",
    ),
    "condition catch": (
        '<intermediateCatchEvent id="x"><conditionalEventDefinition/></intermediateCatchEvent>',
        "catching conditionalEventDefinition",
    ),
    "catch of nothing": ('<intermediateCatchEvent id="x"/>', "catching no event definition"),
    "two definitions": (
        '<endEvent id="x"><terminateEventDefinition/><errorEventDefinition/></endEvent>',
        "several definitions",
    ),
    "error without code": (
        '<endEvent id="x"><errorEventDefinition/></endEvent>',
        "an error that has no errorCode",
    ),
    "non-interrupting error": (
        (
            '<boundaryEvent id="x" attachedToRef="t" cancelActivity="false">'
            "<errorEventDefinition/></boundaryEvent>"
        ),
        "a non-interrupting error boundary event",
    ),
    "condition boundary": (
        '<boundaryEvent id="x" attachedToRef="t"><conditionalEventDefinition/></boundaryEvent>',
        "a boundary event with conditionalEventDefinition",
    ),
    "escalation of a task": (
        '<boundaryEvent id="x" attachedToRef="t"><escalationEventDefinition/></boundaryEvent>',
        "a task lets no escalation through",
    ),
    "escalation for all beside another": (
        "<subProcess id='p'><startEvent id='i'/></subProcess>"
        + "".join(
            f'<boundaryEvent id="{id_}" attachedToRef="p"><escalationEventDefinition {ref}/>'
            "</boundaryEvent>"
            for id_, ref in (("y", 'escalationRef="C"'), ("x", ""))
        ),
        "another boundary event catches the same escalation",
    ),
    "unknown escalation": (
        (
            "<subProcess id='p'><startEvent id='i'/></subProcess>"
            '<boundaryEvent id="x" attachedToRef="p"><escalationEventDefinition'
            ' escalationRef="none"/></boundaryEvent>'
        ),
        "its escalationRef 'none' names no escalation",
    ),
    "message caught twice": (
        "".join(
            f'<boundaryEvent id="{id_}" attachedToRef="t"><messageEventDefinition messageRef="M"/>'
            "</boundaryEvent>"
            for id_ in "yx"
        ),
        "it waits for the same message as 'y' in one scope",
    ),
    "start by an error": (
        '<startEvent id="x"><errorEventDefinition/></startEvent>',
        "a start event with errorEventDefinition",
    ),
    "start by a message of any name": (
        '<startEvent id="x"><messageEventDefinition messageRef="any"/></startEvent>',
        "the message of a start event has a name that is an expression",
    ),
    "sub-process that begins with a message": (
        (
            '<subProcess id="p"><startEvent id="x"><messageEventDefinition messageRef="M"/>'
            "</startEvent></subProcess>"
        ),
        "a start event with messageEventDefinition is not supported in a sub-process",
    ),
    "boundary of nothing": (
        (
            f'<boundaryEvent id="x" attachedToRef="none">{timer("timeDuration", "PT1S")}'
            "</boundaryEvent>"
        ),
        "names no activity beside it",
    ),
    "boundary of an event": (
        f'<boundaryEvent id="x" attachedToRef="s">{timer("timeDuration", "PT1S")}</boundaryEvent>',
        "names no activity beside it",
    ),
    "timer of nothing": (
        '<intermediateCatchEvent id="x"><timerEventDefinition/></intermediateCatchEvent>',
        "a timer needs one of",
    ),
    "timer of garbage": (
        (
            f'<intermediateCatchEvent id="x">{timer("timeDuration", "5 minutes")}'
            "</intermediateCatchEvent>"
        ),
        "no ISO 8601 duration",
    ),
    "cron": (
        (
            f'<intermediateCatchEvent id="x">{timer("timeCycle", "0 0 * * * ?")}'
            "</intermediateCatchEvent>"
        ),
        "cron expressions are not supported",
    ),
    "way out of an end": ('<endEvent id="x"/>' + flow("x", "t"), "a flow leaves an end event"),
    "exclusive gateway without way out": ('<exclusiveGateway id="x"/>', "no flow leaves"),
    "condition on the only way": (
        '<exclusiveGateway id="x"/>' + flow("x", "t", "${a}"),
        "must not have a condition",
    ),
    "two flows without condition": (
        '<exclusiveGateway id="x"/><task id="u"/>' + flow("x", "t") + flow("x", "u"),
        "has no condition and is not the default flow",
    ),
    "condition on the default": (
        '<exclusiveGateway id="x" default="x_t"/><task id="u"/>'
        + flow("x", "t", "${a}")
        + flow("x", "u", "${b}"),
        "its default flow 'x_t' must not have a condition",
    ),
    "unknown default": ('<task id="x" default="none"/>', "names no flow that leaves it"),
    "flow from nowhere": (
        '<sequenceFlow id="x" sourceRef="none" targetRef="t"/>',
        "its sourceRef 'none' names no element",
    ),
    "flow to nowhere": ('<sequenceFlow id="x" sourceRef="t"/>', "its targetRef '' names no"),
    "flow through a wall": (
        (
            '<subProcess id="p"><startEvent id="i"/></subProcess>'
            '<sequenceFlow id="x" sourceRef="t" targetRef="i"/>'
        ),
        "its targetRef 'i' lies in another sub-process",
    ),
    "literal condition": (
        (
            '<task id="u"/><sequenceFlow id="x" sourceRef="t" targetRef="u">'
            "<conditionExpression>true</conditionExpression></sequenceFlow>"
        ),
        "is no expression",
    ),
    "condition in a script language": (
        (
            '<task id="u"/><sequenceFlow id="x" sourceRef="t" targetRef="u">'
            '<conditionExpression language="groovy">a</conditionExpression></sequenceFlow>'
        ),
        "a condition written in groovy",
    ),
    "sub-process without start": ('<subProcess id="x"/>', "it has no start events"),
    "sub-process with two starts": (
        '<subProcess id="x"><startEvent id="i"/><startEvent id="j"/></subProcess>',
        "it has 2 start events",
    ),
    "same id twice": ('<task id="x"/><task id="x"/>', "the id is used twice"),
}


@pytest.mark.parametrize(("body", "reason"), REFUSED_ELEMENTS.values(), ids=REFUSED_ELEMENTS)
def test_what_is_not_supported_is_refused_with_its_id(body: str, reason: str) -> None:
    """Everything that would run otherwise than modelled is refused, by the element's id."""
    message = refusal(bpmn(START, TASK, path("s t"), body, aside=BESIDE))

    assert "x: " in message
    assert reason in message


def test_every_problem_is_told_at_once() -> None:
    """One look at the refusal is enough to mend the whole file."""
    message = refusal(bpmn('<scriptTask id="x"/><complexGateway id="y"/>'))

    assert "x: scriptTask" in message
    assert "y: complexGateway" in message
    assert "P: it has no start events" in message


def test_a_condition_in_another_language_is_the_only_problem_of_its_flow() -> None:
    """It is not said to be missing besides."""
    script = '<conditionExpression language="groovy">x</conditionExpression></sequenceFlow>'
    odd = f'<sequenceFlow id="f" sourceRef="g" targetRef="t">{script}'
    gateway = '<exclusiveGateway id="g" default="g_t"/>'
    message = refusal(bpmn(START, gateway, TASK, path("s g t"), odd))

    assert message.endswith("deployed. f: a condition written in groovy is not supported.")


def test_long_lists_of_problems_are_cut() -> None:
    """A file full of problems is answered with a bounded list."""
    message = refusal(bpmn(START, *(f'<scriptTask id="x{n}"/>' for n in range(200))))

    assert message.endswith("and 150 more.")


@pytest.mark.parametrize("kind", ["message", "signal"])
def test_start_event_of_a_message_begins_as_the_only_one(kind: str) -> None:
    """As on Camunda, a process started by its key begins at its only start event, else the none."""
    event = f'<startEvent id="{{}}"><{kind}EventDefinition {kind}Ref="{{}}"/></startEvent>'
    one, other = event.format("m", "A"), event.format("n", "B")
    beside = f'<{kind} id="A" name="a"/><{kind} id="B" name="b"/>'

    assert "m" == parse_bpmn(bpmn(one, aside=beside)).start
    assert "s" == parse_bpmn(bpmn(one, START, other, aside=beside)).start
    assert parse_bpmn(bpmn(one, other, aside=beside)).start is None


def test_one_start_event_at_most_is_none_or_of_a_timer() -> None:
    """As on Camunda, and it is where a start by key begins; one message begins one way."""
    late = f'<startEvent id="l">{timer("timeDuration", "PT1S")}</startEvent>'
    event = '<startEvent id="{}"><messageEventDefinition messageRef="M"/></startEvent>'

    assert "l" == parse_bpmn(bpmn(late)).start
    assert "P: it has 2 start events without an event or of a timer" in refusal(bpmn(START, late))
    assert "P: several of its start events wait for the same message or signal" in refusal(
        bpmn(event.format("m"), event.format("n"), aside=BESIDE)
    )


def test_file_without_executable_process_is_refused() -> None:
    """A process must say that it is executable."""
    message = refusal(bpmn(START).replace(b'isExecutable="true"', b""))

    assert 'P: isExecutable is not "true"' in message


def test_file_with_two_executable_processes_is_refused() -> None:
    """There is one process a file; pools that are not executable are no matter."""
    second = '<process id="Q" isExecutable="{}"/>'

    assert "Q: the file has more than one" in refusal(bpmn(START, aside=second.format("true")))
    assert "P" == parse_bpmn(bpmn(START, aside=second.format("false"))).id


def test_element_without_id_is_refused_with_its_line() -> None:
    """What has no id is named by its line."""
    assert "line 1: <task> has no id" in refusal(bpmn(START, "<task/>"))


def test_sequence_flows_need_no_id() -> None:
    """A flow without an id is named by its ends, however often they are joined."""
    bare = '<sequenceFlow sourceRef="s" targetRef="t"/>'
    process = parse_bpmn(bpmn(START, TASK, bare, bare))

    assert ["t", "t"] == [flow.target for flow in process.nodes["s"].outgoing]
    assert "flow from s to x: its targetRef 'x'" in refusal(
        bpmn(START, '<sequenceFlow sourceRef="s" targetRef="x"/>')
    )


def test_what_modellers_add_does_no_harm() -> None:
    """Documentation, lanes, artifacts, data, forms, properties and job settings are accepted."""
    process = parse_bpmn(
        bpmn(
            "<documentation>A process.</documentation>",
            '<extensionElements><camunda:properties><camunda:property name="a" value="b"/>'
            "</camunda:properties></extensionElements>",
            '<laneSet id="ls"><lane id="l"><flowNodeRef>s</flowNodeRef></lane></laneSet>',
            '<startEvent id="s" camunda:initiator="starter" camunda:formKey="f"'
            ' camunda:asyncBefore="true"><extensionElements><camunda:formData>'
            '<camunda:formField id="f" type="string"/></camunda:formData></extensionElements>'
            "<outgoing>s_t</outgoing></startEvent>",
            f'<serviceTask id="t" {EXTERNAL} camunda:asyncAfter="true" camunda:taskPriority="5"'
            ' camunda:modelerTemplate="m"><extensionElements><camunda:properties/>'
            "<camunda:failedJobRetryTimeCycle>R3/PT10M</camunda:failedJobRetryTimeCycle>"
            '<camunda:field name="x"/></extensionElements><property id="p" name="q"/>'
            '<dataInputAssociation id="d"/></serviceTask>',
            '<dataObjectReference id="do" dataObjectRef="o"/><dataObject id="o"/>'
            '<dataStoreReference id="ds"/><textAnnotation id="ta"><text>!</text></textAnnotation>'
            '<association id="as" sourceRef="t" targetRef="ta"/><group id="g"/>',
            path("s t"),
            aside='<message id="m" name="n"/><signal id="si" name="n"/><category id="c"/>'
            '<collaboration id="co"><participant id="pa" processRef="P"/></collaboration>',
        )
    )

    [start] = process.starts
    assert ("s", "starter", frozenset({"a"})) == (process.start, start.initiator, process.topics)


@pytest.mark.parametrize(
    "namespace", ["http://operaton.org/schema/1.0/bpmn", "http://activiti.org/bpmn"]
)
def test_kindred_namespaces_mean_the_same(namespace: str) -> None:
    """Attributes in the namespaces of Camunda's kin are read as Camunda's, and refused alike."""
    camunda = b"http://camunda.org/schema/1.0/bpmn"
    data = bpmn(START, external("a")).replace(camunda, namespace.encode())
    java = bpmn(START, '<serviceTask id="x" camunda:class="a.B"/>')

    assert frozenset({"a"}) == parse_bpmn(data).topics
    assert "Java classes" in refusal(java.replace(camunda, namespace.encode()))


def test_people_may_be_named_in_the_words_of_bpmn() -> None:
    """A human performer is the assignee, potential owners are candidates; documentation adds up."""

    def person(tag: str, text: str) -> str:
        inner = f"<formalExpression>{text}</formalExpression>"
        return (
            f"<{tag}><resourceAssignmentExpression>{inner}</resourceAssignmentExpression></{tag}>"
        )

    task = (
        '<userTask id="u" camunda:candidateGroups="d">'
        "<documentation> one </documentation><documentation>two</documentation>"
        + person("humanPerformer", "${who}")
        + person("potentialOwner", "user(ann), group( b ), c")
        + "</userTask>"
    )
    user = parse_bpmn(bpmn(START, task)).nodes["u"].work

    assert isinstance(user, UserWork)
    assert user.assignee is not None
    assert user.description is not None
    assert ("${who}", "one\n\ntwo") == (user.assignee.source, user.description.source)
    assert ["ann"] == [each.source for each in user.candidate_users]
    assert ["b", "c", "d"] == [each.source for each in user.candidate_groups]


def test_error_reference_without_an_error_is_a_code() -> None:
    """As on Camunda, an errorRef that names no error of the file is the code itself."""
    event = '<boundaryEvent id="b" attachedToRef="t"><errorEventDefinition errorRef="bad"/>'
    process = parse_bpmn(bpmn(START, TASK, path("s t"), event + "</boundaryEvent>"))
    caught = process.nodes["b"].work

    assert isinstance(caught, Boundary)
    assert ErrorEvent(code="bad") == caught.event


def test_details_of_elements_are_read() -> None:
    """Names, topics, candidates and error codes arrive in the model."""
    process = parse_bpmn(
        bpmn(
            START,
            external("a", topic="${where}"),
            "<userTask id='u' name='n' camunda:candidateGroups='x, ${a.b(1,2)}'/>".replace(
                "a.b(1,2)", "l.get(1)"
            ),
            '<boundaryEvent id="b" attachedToRef="u"><errorEventDefinition errorRef="E"/>'
            "</boundaryEvent>",
            aside='<error id="E" errorCode="bad"/>',
        )
    )
    work, user, caught = (process.nodes[id_].work for id_ in "aub")

    assert isinstance(work, External)
    assert isinstance(user, UserWork)
    assert isinstance(caught, Boundary)
    assert ("${where}", frozenset()) == (work.topic.source, process.topics)
    assert ["x", "${l.get(1)}"] == [group.source for group in user.candidate_groups]
    assert (ErrorEvent(code="bad"), ("b",)) == (caught.event, process.nodes["u"].boundary)


# -- hostile files ---------------------------------------------------------------------------


BOMB = b"""<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;">]><definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL">
&c;</definitions>"""
OUTSIDE = b"""<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL">&a;</definitions>"""
REMOTE = b"""<!-- x --><?pi y?> <!DOCTYPE d SYSTEM "http://127.0.0.1:1/x.dtd"><definitions/>"""


@pytest.mark.parametrize("data", [BOMB, OUTSIDE, REMOTE, b"\xef\xbb\xbf" + OUTSIDE])
def test_doctype_is_refused_unread(data: bytes) -> None:
    """No entity is ever expanded, no file and no address opened: there is no DOCTYPE at all."""
    assert "DOCTYPE" in refusal(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (BOMB.decode().replace('"1.0"', '"1.0" encoding="UTF-16"').encode("utf-16"), "DOCTYPE"),
        (OUTSIDE.decode().encode("utf-16-le"), "not encoded in UTF-8"),
        (b'<?xml version="1.0" encoding="UTF-7"?>+ADw-!DOCTYPE d+AD4-', "no well-formed XML"),
        (b'<?xml version="1.0" encoding="EBCDIC-CP-US"?>\xff', "not encoded in UTF-8"),
        (b"\xff\xfe\x00", "not encoded in UTF-8"),
        (b"\x00", "not encoded in UTF-8"),
    ],
)
def test_encodings_hide_nothing(data: bytes, reason: str) -> None:
    """What is read is UTF-8 before anything is looked for in it."""
    assert reason in refusal(data)


def test_blank_lines_before_the_declaration_do_no_harm() -> None:
    """A model that was pasted in is read, though its declaration is not at the very beginning."""
    assert "s" == parse_bpmn(b"\r\n  " + bpmn(START)).start


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("UTF-8", "utf-8-sig"),
        ("UTF-16", "utf-16"),
        ("ISO-8859-1", "latin-1"),
        ("windows-1252", "cp1252"),
        # a file that was opened as text somewhere and sent on: the declaration is out of date
        ("ISO-8859-1", "utf-8"),
        ("UTF-16", "utf-8"),
    ],
)
def test_other_encodings_are_read(declared: str, encoding: str) -> None:
    """Marks of byte order, Latin and UTF-16 are read, with carriage returns and CDATA."""
    text = bpmn(START, "\r\n", '<task id="t" name="Größe"/>', path("s t")).decode()
    data = text.replace("UTF-8", declared).encode(encoding)

    assert "Größe" == parse_bpmn(data).nodes["t"].name


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no well-formed XML"),
        (b"hello", "no well-formed XML"),
        (b"<definitions>", "no well-formed XML"),
        (b"<definitions/>", "a BPMN 2.0 file begins with <definitions>"),
        (b"<a>&b;</a>", "no well-formed XML"),
    ],
)
def test_what_is_no_bpmn_is_refused(data: bytes, reason: str) -> None:
    """Garbage and other XML are refused with what is expected."""
    assert reason in refusal(data)


def test_huge_file_is_refused_unread() -> None:
    """A file over the limit is not parsed."""
    with pytest.raises(TooLarge):
        parse_bpmn(b" " * (MAX_BYTES + 1))


def test_deep_nesting_is_refused() -> None:
    """Sub-processes nest to a bounded depth; the parser's own limit is behind it."""
    opened = "".join(f'<subProcess id="x{n}"><startEvent id="s{n}"/>' for n in range(60))
    message = refusal(bpmn(START, opened, "</subProcess>" * 60))

    assert "nest deeper" in message
    assert "well-formed" in refusal(bpmn(START, "<subProcess id='x'>" * 400))


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Whatever is sent, the answer is a refusal, not a failure."""
    body = bpmn(START).replace(b"</process>", data + b"</process>")
    for candidate in (data, body):
        try:
            parse_bpmn(candidate)
        except Invalid:
            continue
