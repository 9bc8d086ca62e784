"""What one action led to, written so that two engines that did the same wrote the same."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.conformance.model import Model, in_order
from tests.conformance.stage import InstanceSeen, Scene, StepSeen

Entry = Mapping[str, Any]


def describe(before: Scene, after: Scene, models: Sequence[Model]) -> dict[str, Any]:
    """Tell what has changed between two looks.

    ``ended`` and ``began`` are steps of the history, the latter in their order on each path;
    ``waits`` is all that is active now.  Where there are several instances each is told apart by
    its business key.
    """
    name = _namer(after.instances)
    former = {step.key: step.state for step in before.steps}
    ended = [s for s in after.steps if former.get(s.key) == "active" != s.state]
    began = [s for s in after.steps if s.key not in former]
    tasks = {task.id for task in before.user_tasks}
    entry = {
        "ended": sorted(name(s.root, f"{s.element} {s.state}") for s in ended),
        "began": _ordered(began, models, name),
        "waits": sorted(name(s.root, s.element) for s in after.steps if s.state == "active"),
        "tasks": sorted(
            (
                {"element": name(task.root, task.element), **task.fields}
                for task in after.user_tasks
                if task.id not in tasks
            ),
            key=repr,
        ),
        "incidents": sorted(name(each.root, each.element) for each in after.incidents),
        "instances": _instances(before, after),
        "variables": {
            name(root, variable): value
            for root, variables in after.variables.items()
            for variable, value in variables.items()
            if variables != before.variables.get(root)
        },
    }
    return {key: value for key, value in entry.items() if value}


def _ordered(
    steps: Sequence[StepSeen], models: Sequence[Model], name: Callable[[str, str], str]
) -> list[str]:
    roots = dict.fromkeys(step.root for step in steps)
    paths = [
        in_order([(s.element, f"{s.element} {s.state}") for s in steps if s.root == root], models)
        for root in roots
    ]
    named = [[name(root, each) for each in path] for root, path in zip(roots, paths, strict=True)]
    return [each for path in sorted(named) for each in path]


def _instances(before: Scene, after: Scene) -> list[str]:
    told = {(each.id, each.state) for each in before.instances}
    return sorted(_instance(each) for each in after.instances if (each.id, each.state) not in told)


def _instance(each: InstanceSeen) -> str:
    key = "" if each.business_key is None else f" ({each.business_key})"
    return f"{each.process_id}{key} {each.state}"


def _namer(instances: Sequence[InstanceSeen]) -> Callable[[str, str], str]:
    roots = {
        each.id: each.business_key or each.process_id for each in instances if each.id == each.root
    }
    if len(roots) <= 1:
        return lambda _root, text: text
    same = Counter(roots.values())
    number: Counter[str] = Counter()
    labels = {}
    for id_, label in roots.items():
        number[label] += 1
        labels[id_] = label if same[label] == 1 else f"{label}#{number[label]}"
    return lambda root, text: f"{labels[root]}: {text}"
