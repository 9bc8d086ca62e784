"""The shop of manifests/samples: its pods, its resources, and what it is told."""

import base64
import json
import uuid
from collections.abc import Iterable
from pathlib import Path

from standardwebhooks import Webhook

from tests.e2e.workload import LABEL, SECONDS, Workload, wait_until
from tests.real.kubernetes.api import Api, Json, Refusal

SAMPLES = Path(__file__).parents[2] / "manifests" / "samples"
NAMESPACE = "default"
URL = "http://taskloom.taskloom.svc:8080"
_RECEIVED = f"/api/v1/namespaces/{NAMESPACE}/services/shop:8080/proxy/received"


class Shop:
    """The shop, and all that it has declared."""

    def __init__(self, api: Api, image: str) -> None:
        self._api = api
        self._image = image

    def open(self) -> None:
        """Run the two services that the samples name: whoever is told, and whoever books."""
        for name in ("shop", "parcels"):
            Workload(
                api=self._api,
                image=self._image,
                namespace=NAMESPACE,
                name=name,
                program="shop.py",
            ).serve()

    def close(self) -> None:
        """End them, and whoever posted, and withdraw what was declared."""
        self.withdraw()
        kinds = "deployments,services,configmaps,serviceaccounts,pods"
        label = f"--selector={LABEL}=true"
        self._api.kubectl("delete", kinds, label, f"--namespace={NAMESPACE}")

    def declare(self) -> None:
        """Apply the samples, and wait until each of them is in force."""
        self._api.kubectl("apply", f"--filename={SAMPLES}", f"--namespace={NAMESPACE}")
        self._api.kubectl(
            *("wait", "--for=condition=Ready", f"--filename={SAMPLES}", "--recursive=false"),
            *(f"--namespace={NAMESPACE}", f"--timeout={SECONDS:g}s"),
        )

    def withdraw(self) -> None:
        """Delete the samples; they hang nowhere."""
        place = (f"--filename={SAMPLES}", f"--namespace={NAMESPACE}", "--ignore-not-found")
        self._api.kubectl("delete", *place, f"--timeout={SECONDS:g}s")

    def post(self, *, orders: int = 1, pause: float = 0.0, account: str = "poster") -> Workload:
        """Run a pod that posts so many orders with a token of the ServiceAccount `account`."""
        prefix = uuid.uuid4().hex[:8]
        environment = {"URL": URL, "PREFIX": prefix, "ORDERS": str(orders), "PAUSE": str(pause)}
        poster = Workload(
            api=self._api,
            image=self._image,
            namespace=NAMESPACE,
            name=f"{account}-{prefix}",
            program="poster.py",
            environment=environment,
            account=account,
            audience="taskloom",
        )
        poster.run()
        return poster

    def told(self) -> list[Json]:
        """Read every webhook that came so far: its headers and its body."""
        found = self._api.call("GET", _RECEIVED)
        assert not isinstance(found, Refusal), found
        return list(found)  # type: ignore[arg-type]  # a list, where objects are the rule

    def wait_for_tasks(self, orders: Iterable[str]) -> None:
        """Wait until it has been told of a task for each of these orders."""
        expected = {f"Pack order {order}" for order in orders}
        wait_until(
            f"a webhook for each of {len(expected)} orders", lambda: expected <= self._tasks()
        )

    def signing_secret(self) -> str:
        """Read the secret that its webhooks are signed with."""
        secret = self._api.call("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets/shop-credentials")
        assert not isinstance(secret, Refusal)
        return base64.b64decode(secret["data"]["signingSecret"]).decode()

    def verify(self, webhook: Json) -> Json:
        """Give a webhook's event; raises unless its signature is right."""
        event: Json = Webhook(self.signing_secret()).verify(webhook["body"], webhook["headers"])
        return event

    def _tasks(self) -> set[str]:
        events = [json.loads(webhook["body"]) for webhook in self.told()]
        return {
            task["name"]
            for event in events
            if event["key"] == "task-created"
            for task in event["payload"]["createdTasks"]
        }
