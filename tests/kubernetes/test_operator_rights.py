"""The rights that docs/reference/kubernetes.md names are all that the operator needs."""

import re
from pathlib import Path

import pytest
import yaml

from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.ports.engine import StartRequest
from taskloom.store.database import Database
from taskloom.testing.bpmn import bpmn, path
from tests.real.kubernetes.api import Api, Json, Refusal
from tests.real.kubernetes.operator import Operator, condition, until

MODEL = bpmn(
    '<startEvent id="start"/><userTask id="work"/>', path("start work"), process_id="held"
).decode()
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "kubernetes.md"


def documented_rules() -> list[Json]:
    """Read the rules that the reference shows."""
    block = re.search(r"```yaml\nrules:\n(.*?)```", REFERENCE.read_text(), re.DOTALL)
    assert block is not None
    rules: list[Json] = yaml.safe_load("rules:\n" + block[1])["rules"]
    return rules


def rights(namespace: str) -> list[Json]:
    """Write a ServiceAccount that may do what is documented, in its namespace."""
    metadata = {"name": "operator", "namespace": namespace}
    rbac = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": documented_rules(),
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "operator"},
            "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": namespace}],
        },
    ]


@pytest.fixture
def narrow(cluster: Api, kubeconfig: Path, namespace: str, tmp_path: Path) -> Path:
    """Write a kubeconfig of that ServiceAccount."""
    for document in rights(namespace):
        assert not isinstance(cluster.apply(document), Refusal)
    token = cluster.kubectl("create", "token", "operator", f"--namespace={namespace}").strip()
    config = yaml.safe_load(kubeconfig.read_text())
    for user in config["users"]:
        user["user"] = {"token": token}
    path = tmp_path / "narrow"
    path.write_text(yaml.safe_dump(config))
    return path


async def test_the_operator_runs_with_the_documented_rights(
    *,
    cluster: Api,
    narrow: Path,
    namespace: str,
    database_url: str,
    rows: Database,
    key: str,
    tmp_path: Path,
) -> None:
    """Everything it does in a namespace is done with them, and nothing it asks for is refused."""
    operator = Operator(
        kubeconfig=narrow,
        namespace=namespace,
        database_url=database_url,
        key=key,
        folder=tmp_path / "operator",
    )
    app: Json = {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": "ClientApp",
        "metadata": {"name": "app", "namespace": namespace},
        "spec": {},
    }
    workflow: Json = {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "held", "namespace": namespace},
        "spec": {"deletionPolicy": "Delete", "bpmn": {"inline": MODEL}},
    }
    secret: Json = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "app-credentials", "namespace": namespace},
    }
    await operator.start()
    try:
        cluster.apply(app)
        cluster.apply(workflow)
        await until(lambda: condition(cluster, app) == ("True", "Reconciled", 1))
        await until(lambda: condition(cluster, workflow) == ("True", "Reconciled", 1))
        engine = EmbeddedEngine(rows)
        start = StartRequest(workflow_key="held", start_id="1", variables={})
        instance = await engine.start(start)
        await until(lambda: "finalizers" in str(cluster.get(workflow)))
        cluster.delete(workflow)
        await engine.delete_instances([instance.id], "test")
        await until(lambda: isinstance(cluster.get(workflow), Refusal))
        cluster.delete(secret)
        await until(lambda: not isinstance(cluster.get(secret), Refusal))
        cluster.delete(app)
        await until(lambda: isinstance(cluster.get(secret), Refusal))
    finally:
        await operator.stop()

    assert "orbidden" not in operator.log.read_text()
