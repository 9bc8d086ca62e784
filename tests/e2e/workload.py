"""Small programs in pods, as restricted as ours: what stands around Taskloom in the tests."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.real.kubernetes.api import Api, Json, Refusal

_PROGRAMS = Path(__file__).parent / "programs"
SECONDS = 120.0
LABEL = "taskloom.test/workload"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A program of ``programs/`` in a namespace."""

    api: Api
    image: str
    namespace: str
    name: str
    program: str
    port: int = 8080
    environment: Mapping[str, str] = field(default_factory=dict)
    account: str = ""
    """Its ServiceAccount; one of its own name if empty."""
    audience: str = ""
    """Of the ServiceAccount's token in /var/run/secrets/taskloom; none if empty."""

    def serve(self) -> None:
        """Run it as a Deployment behind a Service, and wait until it is there."""
        labels = {"app": self.name}
        deployment = self._object("Deployment", "apps/v1") | {
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": self._pod("Always")},
            }
        }
        self._apply(*self._surroundings(), deployment)
        self.api.kubectl(
            *("rollout", "status", f"deployment/{self.name}", f"--namespace={self.namespace}"),
            f"--timeout={SECONDS:g}s",
        )

    def run(self) -> None:
        """Run it once, as a Pod."""
        pod = self._object("Pod") | {"spec": self._pod("Never")}
        self._apply(*self._surroundings(), pod)

    def output(self) -> list[Json]:
        """Wait until it has ended, and read the lines of JSON that it printed."""
        place = (f"pod/{self.name}", f"--namespace={self.namespace}")
        self.api.kubectl(
            "wait", *place, "--for=jsonpath={.status.phase}=Succeeded", f"--timeout={SECONDS:g}s"
        )
        return [json.loads(line) for line in self.api.kubectl("logs", *place).splitlines()]

    def lines(self) -> int:
        """Tell how many lines it has printed so far."""
        pod = self.api.call("GET", f"/api/v1/namespaces/{self.namespace}/pods/{self.name}")
        if isinstance(pod, Refusal) or pod["status"]["phase"] == "Pending":
            return 0
        return len(
            self.api.kubectl("logs", self.name, f"--namespace={self.namespace}").splitlines()
        )

    def _apply(self, *documents: Json) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        self.api.kubectl("apply", "--server-side", "--filename=-", given=json.dumps(listed))

    def _object(self, kind: str, version: str = "v1", name: str = "") -> Json:
        metadata: Json = {"name": name or self.name, "namespace": self.namespace}
        metadata["labels"] = {LABEL: "true"}
        return {"apiVersion": version, "kind": kind, "metadata": metadata}

    def _surroundings(self) -> list[Json]:
        ports = {
            "selector": {"app": self.name},
            "ports": [{"port": self.port, "targetPort": self.port}],
        }
        text = (_PROGRAMS / self.program).read_text()
        return [
            self._object("ServiceAccount", name=self.account),
            self._object("ConfigMap") | {"data": {self.program: text}},
            self._object("Service") | {"spec": ports},
        ]

    def _pod(self, restart: str) -> dict[str, Any]:
        token = {"serviceAccountToken": {"path": "token", "audience": self.audience}}
        volumes: list[dict[str, Any]] = [
            {"name": "program", "configMap": {"name": self.name}},
            {"name": "data", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
        ]
        mounts = [
            {"name": "program", "mountPath": "/program"},
            {"name": "data", "mountPath": "/var/lib/taskloom"},
            {"name": "tmp", "mountPath": "/tmp"},
        ]
        if self.audience:
            volumes.append({"name": "token", "projected": {"sources": [token]}})
            mounts.append({"name": "token", "mountPath": "/var/run/secrets/taskloom"})
        return {
            "serviceAccountName": self.account or self.name,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": restart,
            "terminationGracePeriodSeconds": 5,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumes": volumes,
            "containers": [
                {
                    "name": "main",
                    "image": self.image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "-u", f"/program/{self.program}"],
                    "env": [{"name": n, "value": v} for n, v in self.environment.items()],
                    "volumeMounts": mounts,
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        }


def wait_until(what: str, holds: Any, seconds: float = SECONDS) -> None:
    """Ask again and again until it holds; fail saying what did not come."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"in {seconds:g} s it did not come to this: {what}"
        time.sleep(0.3)
