"""A case of the suite: models, a script of actions, and what they lead to.

``X.yaml`` has two documents: what is written by hand, and the trace that was recorded on Camunda.
A third one is the embedded engine's trace, where it ``differs`` on purpose.
The model is ``X.bpmn``, unless ``models`` names others.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.conformance.model import Model

FOLDER = Path(__file__).with_name("scenarios")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One line of a script: a verb with what it needs."""

    verb: str
    given: Mapping[str, Any]

    def __str__(self) -> str:
        """Write it in one line."""
        words = list(self.given.values())
        if list(self.given) == [_MAIN.get(self.verb)] and isinstance(words[0], str):
            return f"{self.verb} {words[0]}"
        return f"{self.verb} {json.dumps(self.given, ensure_ascii=False)}" if words else self.verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One case.

    `differs` is why the embedded engine does otherwise on purpose.
    `pending` says that it cannot do this yet: then it must not.
    """

    name: str
    models: Sequence[Model]
    script: Sequence[Action]
    differs: str | None = None
    pending: bool = False
    expected: Any = None
    otherwise: Any = None  # what the embedded engine does where it `differs`


# The one thing that most lines of a script are about.
_MAIN = {
    "deploy": "model",
    "start": "variables",
    "fetch": "topic",
    "complete": "topic",
    "fail": "topic",
    "error": "topic",
    "extend": "topic",
    "user": "element",
    "message": "name",
    "signal": "name",
    "elapse": "span",
    "retry": "element",
    "delete": "key",
}


def names() -> list[str]:
    """List all scenarios."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str) -> Scenario:
    """Read one scenario."""
    text = (FOLDER / f"{name}.yaml").read_text()
    written, *recorded = yaml.load_all(text, Loader=yaml.CSafeLoader)
    unknown = written.keys() - {"about", "models", "script", "differs", "embedded"}
    assert not unknown, f"{name}.yaml: what is {unknown}?"
    return Scenario(
        name=name,
        models=[_model(each) for each in written.get("models", [f"{name}.bpmn"])],
        script=[_action(line) for line in written["script"]],
        differs=written.get("differs"),
        pending=written.get("embedded") == "pending",
        expected=recorded[0] if recorded else None,
        otherwise=recorded[1] if len(recorded) > 1 else None,
    )


def record(scenario: Scenario, trace: Any, otherwise: Any = None) -> None:
    """Write the recorded traces anew, below what was written by hand."""
    path = FOLDER / f"{scenario.name}.yaml"
    by_hand = path.read_text().split("\n---\n")[0].rstrip("\n")
    parts = [by_hand, _dump(trace)]
    if otherwise is not None:
        parts.append(_dump(otherwise))
    path.write_text("\n---\n".join(part.rstrip("\n") for part in parts) + "\n")


def _dump(trace: Any) -> str:
    return yaml.dump(trace, Dumper=_Plain, sort_keys=False, default_flow_style=None, width=98)


class _Plain(yaml.SafeDumper):
    """Writes what occurs twice twice."""

    def ignore_aliases(self, data: object) -> bool:
        """Know no aliases."""
        return True


def _model(file: str) -> Model:
    return Model(name=file, bpmn=(FOLDER / file).read_bytes())


def _action(line: Any) -> Action:
    if isinstance(line, str):
        return Action(verb=line, given={})
    [(verb, given)] = line.items()
    main = _MAIN[verb]
    if verb == "start":
        whole = isinstance(given, dict) and given.keys() <= {"key", "process", "variables"}
        return Action(verb=verb, given=given if whole else {main: given})
    return Action(verb=verb, given=given if isinstance(given, dict) else {main: given})
