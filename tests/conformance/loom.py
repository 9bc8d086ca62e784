"""Random models: small, well-formed, and with as much in them as the engines agree to run.

Where an engine is free in what it does (which of two timers of one moment fires first, who of
several hears a signal first), or differs on purpose, no model asks for it: timers are of different
lengths, every catching event has a name of its own, and no token leaves an inclusive block.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from taskloom.testing.bpmn import bpmn
from tests.conformance.model import Model
from tests.conformance.thread import (
    ALL,
    CALLED,
    CODES,
    CONDITIONS,
    DECLARED,
    FAILS,
    LEVELS,
    MAX_DEPTH,
    MAX_NODES,
    PARAMETERS,
    PROCESS,
    Place,
    Thread,
    Way,
    Woven,
    child,
    escalation,
    lasting,
    signal,
)


class _Loom(Thread):
    """Weaves blocks: each takes a flow up, and gives the one that leaves it."""

    def chain(self, way: Way, place: Place, most: int = 3, least: int = 1) -> Way | None:
        """Weave some blocks in a row; None if no token comes out of them."""
        here: Way | None = way
        for _ in range(self.draw(st.integers(least, most))):
            if here is None or self.nodes > MAX_NODES:
                break
            here = self.block(here, place)
        return here

    def block(self, way: Way, place: Place) -> Way | None:
        kinds = ["external", "user", "task", "catch", "receive", "throw"]
        if place.many:
            kinds.remove("user")  # two of them could not be told apart
        if place.depth < MAX_DEPTH:
            kinds += ["exclusive", "parallel", "guarded", "subprocess", "inclusive", "loop"]
            kinds += ["events"]
            kinds += [] if place.many else ["several"]
            kinds += [] if place.many or self.called else ["call"]
        if not place.whole:
            kinds += ["end"]
        kind = self.one_of(*kinds)
        weave: dict[str, Callable[[Way, Place], Way | None]] = {
            "external": lambda w, p: self.add(w, *self.external(p)),
            "user": lambda w, _: self.add(w, *self.user()),
            "task": lambda w, _: self.add(w, *self.plain()),
            "catch": self.catch,
            "receive": lambda w, _: self.add(w, *self.receive()),
            "throw": self.throw,
            "call": lambda w, p: self.add(w, *self.call(p)),
            "exclusive": self.exclusive,
            "parallel": self.parallel,
            "inclusive": self.inclusive,
            "loop": self.loop,
            "guarded": self.guarded,
            "subprocess": lambda w, p: self.add(w, *self.sub_process(p)),
            "several": self.several,
            "events": self.events,
            "end": self.end,
        }
        return weave[kind](way, replace(place, depth=place.depth + 1))

    def external(self, place: Place, inside: str = "") -> tuple[str, str]:
        id_ = self.node("work")
        self.topics[id_] = place.caught
        if self.one_of(False, False, True):
            inside = PARAMETERS + inside
        head = f'<serviceTask id="{id_}" camunda:type="external" camunda:topic="{id_}">'
        return f"{head}{inside}</serviceTask>", id_

    def user(self, inside: str = "") -> tuple[str, str]:
        id_ = self.node("person")
        return f'<userTask id="{id_}">{inside}</userTask>', id_

    def plain(self) -> tuple[str, str]:
        id_ = self.node("task")
        return f'<task id="{id_}"/>', id_

    def receive(self) -> tuple[str, str]:
        id_, name = self.node("receive"), self.named("message")
        return f'<receiveTask id="{id_}" messageRef="{name}"/>', id_

    def call(self, place: Place) -> tuple[str, str]:
        self.called = True
        id_ = self.node("call")
        self.topics[f"{CALLED}_work"] = place.caught
        return f'<callActivity id="{id_}" calledElement="{CALLED}">{ALL}</callActivity>', id_

    def thrown(self, place: Place) -> list[str]:
        """List what may be thrown to be heard elsewhere."""
        if place.silent:
            return []
        return [*map(escalation, LEVELS), *map(signal, self.signals)]

    def throw(self, way: Way, place: Place) -> Way:
        id_ = self.node("throw")
        inner = self.one_of("", *self.thrown(place))
        return self.add(
            way, f'<intermediateThrowEvent id="{id_}">{inner}</intermediateThrowEvent>', id_
        )

    def catch(self, way: Way, place: Place) -> Way:
        id_ = self.node("catch")
        event = self.event(self.one_of("timer", "message", "signal"))
        return self.add(
            way, f'<intermediateCatchEvent id="{id_}">{event}</intermediateCatchEvent>', id_
        )

    def exclusive(self, way: Way, place: Place) -> Way | None:
        return self.conditional("exclusive", way, place)

    def inclusive(self, way: Way, place: Place) -> Way | None:
        return self.conditional("inclusive", way, replace(place, whole=True))

    def conditional(self, kind: str, way: Way, place: Place) -> Way | None:
        split, default = self.node(kind), self.flow_id()
        self.add(way, f'<{kind}Gateway id="{split}" default="{default}"/>', split)
        ways = [Way(split, self.one_of(*CONDITIONS)) for _ in range(self.draw(st.integers(1, 2)))]
        return self.merge(kind, [*ways, Way(split, id=default)], place)

    def parallel(self, way: Way, place: Place) -> Way | None:
        split = self.node("parallel")
        self.add(way, f'<parallelGateway id="{split}"/>', split)
        ways = [Way(split) for _ in range(self.draw(st.integers(2, 3)))]
        return self.merge("parallel", ways, place)

    def merge(self, kind: str, ways: list[Way], place: Place) -> Way | None:
        """Let each way go through a chain of its own, and bring together what comes out."""
        ends = [end for way in ways if (end := self.chain(way, place, 2)) is not None]
        if not ends:
            return None
        id_ = self.node(f"{kind}_join")
        self.parts.append(f'<{kind}Gateway id="{id_}"/>')
        for end in ends:
            self.join(end, id_)
        return Way(id_)

    def loop(self, way: Way, place: Place) -> Way | None:
        start, decision, default = self.node("again"), self.node("enough"), self.flow_id()
        here = self.add(way, f'<exclusiveGateway id="{start}"/>', start)
        here = self.add(here, *self.external(place))  # it decides, and keeps it from being endless
        end = self.chain(here, replace(place, whole=True), 1)
        if end is None:
            return None
        self.add(end, f'<exclusiveGateway id="{decision}" default="{default}"/>', decision)
        self.join(Way(decision, self.one_of(*CONDITIONS)), start)
        return Way(decision, id=default)

    def events(self, way: Way, place: Place) -> Way | None:
        gateway = self.node("first")
        self.add(way, f'<eventBasedGateway id="{gateway}"/>', gateway)
        ways = []
        for kind in self.draw(st.permutations(["timer", "message", "signal"]))[:2]:
            id_ = self.node("catch")
            inner = self.event(kind)
            xml = f'<intermediateCatchEvent id="{id_}">{inner}</intermediateCatchEvent>'
            ways.append(self.add(Way(gateway), xml, id_))
        return self.merge("exclusive", ways, place)

    def end(self, way: Way, place: Place) -> None:
        id_ = self.node("end")
        inner = self.one_of(
            "",
            "<terminateEventDefinition/>",
            FAILS,
            *self.thrown(place),
        )
        self.add(way, f'<endEvent id="{id_}">{inner}</endEvent>', id_)

    # -- scopes ------------------------------------------------------------------------------

    def sub_process(self, place: Place, inside: str = "") -> tuple[str, str]:
        id_ = self.node("sub")
        outer, self.parts = self.parts, []
        handler = self.one_of(None, None, "error", "message", "timer", "escalation", "signal")
        within = replace(place, inside=True, whole=False)
        if handler == "error":
            within = replace(within, caught=within.caught | set(CODES))
        self.scope(within)
        if handler is not None:
            self.handler(handler, replace(place, inside=True, whole=False))
        inner, self.parts = "".join(self.parts), outer
        return f'<subProcess id="{id_}">{inside}{inner}</subProcess>', id_

    def scope(self, place: Place) -> None:
        start = self.node("start")
        self.parts.append(f'<startEvent id="{start}"/>')
        here = self.chain(Way(start), place, least=1 if place.inside else 2)
        self.finish(here)

    def finish(self, way: Way | None) -> None:
        """Let what comes out of a chain end there."""
        if way is not None:
            end = self.node("end")
            self.add(way, f'<endEvent id="{end}"/>', end)

    def handler(self, kind: str, place: Place) -> None:
        """Weave an event sub-process in."""
        id_, start = self.node("handler"), self.node("start")
        interrupting = "true" if kind == "error" else self.one_of("true", "false")
        again = interrupting == "false"
        event = "<errorEventDefinition/>" if kind == "error" else self.event(kind, again=again)
        outer, self.parts = self.parts, []
        self.parts.append(
            f'<startEvent id="{start}" isInterrupting="{interrupting}">{event}</startEvent>'
        )
        self.finish(self.chain(Way(start), replace(place, depth=MAX_DEPTH, silent=True), 2))
        inner, self.parts = "".join(self.parts), outer
        self.parts.append(f'<subProcess id="{id_}" triggeredByEvent="true">{inner}</subProcess>')

    def guarded(self, way: Way, place: Place) -> Way | None:
        """Weave an activity with a boundary event in."""
        kind = self.one_of("error", "timer", "message", "signal", "escalation")
        code = self.one_of(None, *CODES)
        inner = place
        if kind == "error":
            inner = replace(place, caught=place.caught | (set(CODES) if code is None else {code}))
        xml, id_ = self.host(inner, scoped=kind == "escalation")
        here = self.add(way, xml, id_)
        boundary = self.node("boundary")
        if kind == "error":
            reference = "" if code is None else f' errorRef="Error_{code}"'
            event, cancel = f"<errorEventDefinition{reference}/>", "true"
        else:
            cancel = self.one_of("true", "false")
            event = self.event(kind, again=cancel == "false")
        self.parts.append(
            f'<boundaryEvent id="{boundary}" attachedToRef="{id_}" cancelActivity="{cancel}">'
            f"{event}</boundaryEvent>"
        )
        aside = self.chain(Way(boundary), replace(place, silent=True), 1)
        if cancel == "false":
            self.finish(aside)  # what runs beside comes to its own end
            return here
        if aside is None:
            return here
        merge = self.node("exclusive_join")
        self.parts.append(f'<exclusiveGateway id="{merge}"/>')
        self.join(here, merge)
        self.join(aside, merge)
        return Way(merge)

    def host(self, place: Place, *, scoped: bool) -> tuple[str, str]:
        """Make an activity for a boundary event; what is `scoped` comes from within one."""
        kinds = ["subprocess"]
        kinds += [] if place.many or self.called else ["call"]
        kinds += [] if scoped else ["external", "receive"]
        kinds += [] if scoped or place.many else ["user"]
        match self.one_of(*kinds):
            case "external":
                return self.external(place)
            case "receive":
                return self.receive()
            case "user":
                return self.user()
            case "call":
                return self.call(place)
            case _:
                return self.sub_process(place)

    def several(self, way: Way, place: Place) -> Way:
        """Weave an activity in that is done several times."""
        sequential = self.one_of("true", "false")
        number = self.one_of("2", "${w + 1}", None)
        collection = ' camunda:collection="items" camunda:elementVariable="item"'
        inner = "" if number is None else f"<loopCardinality>{number}</loopCardinality>"
        if self.draw(st.booleans()):
            inner += "<completionCondition>${u == 2}</completionCondition>"
        marker = (
            f'<multiInstanceLoopCharacteristics isSequential="{sequential}"'
            f"{collection if number is None else ''}>{inner}"
            "</multiInstanceLoopCharacteristics>"
        )
        place = replace(place, many=True)
        kind = self.one_of("external", "user", "subprocess")
        if kind == "user":
            return self.add(way, *self.user(marker))
        if kind == "external":
            return self.add(way, *self.external(place, marker))
        return self.add(way, *self.sub_process(place, marker))


@st.composite
def models(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Woven:
    """Draw a model."""
    loom = _Loom(draw)
    place = Place()
    handler = loom.one_of(None, None, "error", "message", "timer", "escalation", "signal")
    if handler == "error":
        place = replace(place, caught=frozenset(CODES))
    loom.scope(place)
    if handler is not None:
        loom.handler(handler, Place(inside=True))
    xml = bpmn(*loom.parts, process_id=PROCESS, aside="".join([*DECLARED, *loom.aside]))
    return Woven(
        models=(Model(name=f"{PROCESS}.bpmn", bpmn=lasting(xml, PROCESS)), child()),
        topics=loom.topics,
        messages=tuple(loom.messages),
        signals=tuple(loom.signals),
    )
