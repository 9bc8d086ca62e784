"""The chart, installed."""

import json
from pathlib import Path
from typing import Any

from tests.real.kubernetes.api import Api, Json

CHART = Path(__file__).parents[2] / "charts" / "taskloom"
NAME = NAMESPACE = "taskloom"
# What an untried machine may take for a first start, initdb and migrations included.
_WAIT = "--timeout=180s"
_OURS = "--selector=app.kubernetes.io/instance=taskloom"


class Release:
    """The release `taskloom` in the namespace of that name, of `image`."""

    def __init__(self, api: Api, image: str) -> None:
        self._api = api
        repository, _, tag = image.rpartition(":")
        self._image = {"image": {"repository": repository, "tag": tag}}
        self._values: Json = {}

    def install(self, values: Json) -> None:
        """Install the chart and wait until all its pods are ready.

        The namespace refuses pods that are less than restricted.
        """
        self._values = values | self._image
        self._helm("install", "--wait", _WAIT, "--values=-", str(CHART))

    def upgrade(self, change: Json) -> None:
        """Change values, and wait until the new pods have replaced the old ones."""
        self._values = self._values | change
        self._helm("upgrade", "--wait", _WAIT, "--values=-", str(CHART))

    def test(self) -> None:
        """Run the chart's own tests."""
        self._helm("test", _WAIT)

    def uninstall(self) -> None:
        """Remove it, and wait until what it made is gone."""
        self._helm("uninstall", "--wait", _WAIT)

    def pods(self, component: str = "") -> list[Json]:
        """List its pods, or those of one component."""
        labels = "app.kubernetes.io/instance=taskloom"
        labels += f",app.kubernetes.io/component={component}" if component else ""
        place = (f"--namespace={NAMESPACE}", f"--selector={labels}", "--output=json")
        found: list[Json] = json.loads(self._api.kubectl("get", "pods", *place))["items"]
        return found

    def objects(self) -> set[str]:
        """Name everything of it that there is, by its label, in its namespace and outside."""
        names: set[str] = set()
        for scope in ("--namespaced=true", "--namespaced=false"):
            verbs = ("--verbs=list,create", "--output=name")
            kinds = self._api.kubectl("api-resources", scope, *verbs).split()
            ours = ",".join(kind for kind in kinds if not kind.endswith("metrics.k8s.io"))
            names |= set(
                self._api.kubectl(
                    "get", ours, _OURS, "--output=name", f"--namespace={NAMESPACE}"
                ).split()
            )
        return names

    def _helm(self, verb: str, *arguments: str) -> None:
        self._api.helm(
            verb, NAME, f"--namespace={NAMESPACE}", *arguments, given=json.dumps(self._values)
        )


def why(api: Api) -> str:
    """Tell what the cluster knows about pods that do not come up."""
    told: list[str] = []
    for question in (
        ("get", "pods", "--all-namespaces", "--output=wide"),
        ("get", "events", "--all-namespaces", "--field-selector=type=Warning"),
        ("logs", f"--namespace={NAMESPACE}", _OURS, "--all-containers", "--tail=15", "--prefix"),
    ):
        try:
            told.append(api.kubectl(*question))
        except AssertionError as error:
            told.append(str(error))
    return "\n".join(told)


def restrict(api: Api, namespace: str) -> None:
    """Make a namespace that takes restricted pods only."""
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": namespace,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        },
    }
    api.kubectl("apply", "--server-side", "--filename=-", given=json.dumps(document))
