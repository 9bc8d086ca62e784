"""Plays a script on a stage, and writes down what happens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from taskloom.engines.embedded.iso8601 import due_after
from tests.conformance.model import Model
from tests.conformance.scenario import FOLDER, Action, Scenario
from tests.conformance.stage import BEGINNING, Result, Scene, Stage, Work
from tests.conformance.trace import describe

WORKER = "worker"
_LOCK = "PT1H"
_NOTHING = "there is nothing to do it with"


async def play(scenario: Scenario, stage: Stage) -> list[dict[str, Any]]:
    """Play all of a scenario; give one entry an action."""
    player = Player(stage, list(scenario.models))
    deployed = await stage.deploy(scenario.models)
    if deployed is not Result.DONE:
        return [{"did": "deploy", "result": str(deployed)}]
    trace: list[dict[str, Any]] = []
    before = await stage.look()
    for action in scenario.script:
        told = await player.act(action, before)
        after = await stage.look()
        trace.append({"did": str(action), **told, **describe(before, after, player.models)})
        before = after
    return trace


@dataclass(slots=True)
class Player:
    """Who acts on a stage: it remembers what its worker holds."""

    stage: Stage
    models: list[Model]
    hands: dict[str, list[Work]] = field(default_factory=dict)  # by topic: what was fetched
    spent: dict[str, Work] = field(default_factory=dict)  # by topic: what was done last
    left: dict[str, str] = field(default_factory=dict)  # by element: the user task done last

    async def act(self, action: Action, scene: Scene) -> dict[str, Any]:
        """Do one thing; tell how it was answered, and what a worker was given for it."""
        given = action.given
        match action.verb:
            case "fetch":
                return await self._fetch(given)
            case "complete" | "fail" | "error" | "extend":
                return await self._work(action.verb, given)
            case "elapse":
                await self.stage.forward(_span(given["span"]))
                return {}
            case _:
                return {"result": str(await self._other(action.verb, given, scene) or _NOTHING)}

    async def _other(self, verb: str, given: Mapping[str, Any], scene: Scene) -> Result | None:
        variables = given.get("variables") or {}
        match verb:
            case "deploy":
                return await self._deploy(given["model"])
            case "start":
                process = given.get("process", self.models[0].process_id)
                return await self.stage.start(process, str(given.get("key", "key")), variables)
            case "user":
                return await self._person(given, scene)
            case "message":
                key, where = given.get("key"), given.get("where") or {}
                return await self.stage.correlate(
                    given["name"], business_key=key, correlation=where, variables=variables
                )
            case "signal":
                return await self.stage.signal(given["name"], variables)
            case _:
                return await self._operate(verb, given, scene)

    async def _operate(self, verb: str, given: Mapping[str, Any], scene: Scene) -> Result | None:
        match verb:
            case "retry":
                stopped = [i.id for i in scene.incidents if i.element == given["element"]]
                return await self.stage.retry(stopped[0]) if stopped else None
            case "delete":
                found = _instances(given, scene)
                return await self.stage.delete(found[0]) if found else None
        raise AssertionError(f"No script knows how to {verb}.")

    async def _deploy(self, file: str) -> Result:
        model = Model(name=file, bpmn=(FOLDER / file).read_bytes())
        self.models.append(model)
        return await self.stage.deploy([model])

    async def _fetch(self, given: Mapping[str, Any]) -> dict[str, Any]:
        worker = given.get("worker", WORKER)
        lock = _span(given.get("lock", _LOCK))
        works = await self.stage.fetch(given["topic"], worker, lock)
        self.hands[given["topic"]] = list(works)
        return {"got": _seen(works)}

    async def _work(self, verb: str, given: Mapping[str, Any]) -> dict[str, Any]:
        topic, worker = given["topic"], given.get("worker", WORKER)
        told: dict[str, Any] = {}
        if given.get("again"):
            work = self.spent[topic]
        else:
            if not self.hands.get(topic):
                self.hands[topic] = list(await self.stage.fetch(topic, worker, _span(_LOCK)))
                told["got"] = _seen(self.hands[topic])
            chosen = _choose(self.hands[topic], given)
            if chosen is None:
                return {"result": _NOTHING}
            work = chosen
            if verb != "extend":
                self.hands[topic].remove(work)
        self.spent[topic] = work
        return {**told, "result": str(await self._done(verb, work, worker, given))}

    async def _done(self, verb: str, work: Work, worker: str, given: Mapping[str, Any]) -> Result:
        variables = given.get("variables") or {}
        match verb:
            case "complete":
                return await self.stage.complete(work.id, worker, variables)
            case "fail":
                after = _span(given.get("after", "PT0S"))
                return await self.stage.fail(
                    work.id, worker, retries=given.get("retries", 0), after=after
                )
            case "error":
                message = given.get("message", "it failed")
                return await self.stage.bpmn_error(
                    work.id, worker, given["code"], message, variables
                )
            case _:
                return await self.stage.extend_lock(work.id, worker, _span(given["lock"]))

    async def _person(self, given: Mapping[str, Any], scene: Scene) -> Result | None:
        element, key = given["element"], given.get("key")
        if given.get("again"):
            task = self.left[element]
        else:
            roots = {i.id for i in scene.instances if key in (None, i.business_key)}
            found = [t for t in scene.user_tasks if t.element == element and t.root in roots]
            if not found:
                return None
            task = found[0].id
        self.left[element] = task
        return await self.stage.complete_user_task(task, given.get("variables") or {})


def _choose(works: Sequence[Work], given: Mapping[str, Any]) -> Work | None:
    """Take the one that is meant by its variables and business key; of a loop the first."""
    wanted, key = (given.get("where") or {}).items(), given.get("key")
    found = [
        work
        for work in works
        if key in {None, work.business_key} and all(work.variables.get(n) == v for n, v in wanted)
    ]
    return min(found, key=lambda work: work.variables.get("loopCounter", 0), default=None)


def _seen(works: Sequence[Work]) -> list[Mapping[str, Any]]:
    seen = [
        {
            "element": work.element,
            "key": work.business_key,
            "retries": work.retries,
            "variables": dict(work.variables),
        }
        for work in works
    ]
    told = [{n: v for n, v in each.items() if v not in (None, {})} for each in seen]
    return sorted(told, key=repr)  # engines need not keep an order


def _instances(given: Mapping[str, Any], scene: Scene) -> list[str]:
    key, process = given.get("key"), given.get("process")
    return [
        each.id
        for each in scene.instances
        if key in (None, each.business_key) and process in (None, each.process_id)
    ]


def _span(text: str) -> timedelta:
    return due_after(text, BEGINNING) - BEGINNING
