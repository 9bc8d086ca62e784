"""ServiceAccounts call the API, and a real cluster says who they are and what they may do."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import jwt
import pytest
import yaml
from cryptography.fernet import Fernet

from tests.real.kubernetes.api import Api, Json
from tests.real.kubernetes.door import open_door

RBAC = "rbac.authorization.k8s.io"
EVENT = {"key": "order.placed", "payload": {"id": 7}}
DoorBy = Callable[[Path], AbstractAsyncContextManager[httpx.AsyncClient]]
SECRET = "0123456789abcdef0123456789abcdef"


def account(name: str, namespace: str) -> Json:
    """Write a ServiceAccount."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def role(name: str, namespace: str, resource: str, verb: str) -> Json:
    """Write a Role as the reference shows it."""
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "Role",
        "metadata": {"name": name, "namespace": namespace},
        "rules": [{"apiGroups": ["taskloom.dev"], "resources": [resource], "verbs": [verb]}],
    }


@pytest.fixture
def api_kubeconfig(cluster: Api, kubeconfig: Path, namespace: str, tmp_path: Path) -> Path:
    """Write a kubeconfig of an account that may ask who calls, and nothing else."""
    cluster.apply(account("api", namespace))
    cluster.kubectl(
        *("create", "clusterrolebinding", f"api-{namespace}"),
        *("--clusterrole=system:auth-delegator", f"--serviceaccount={namespace}:api"),
    )
    token = token_of(cluster, "api", namespace)
    path = tmp_path / "api-kubeconfig"
    path.write_text(kubeconfig.read_text())
    return changed(path, lambda config: _of_nobody(config, token))


@pytest.fixture
def orders(cluster: Api, namespace: str) -> str:
    """Make an account without any right, and give its token."""
    cluster.apply(account("orders", namespace))
    return token_of(cluster, "orders", namespace, "--audience=taskloom")


@pytest.fixture
def door_by(namespace: str, database_url: str, tmp_path: Path) -> Iterator[DoorBy]:
    """Give a function that runs the API with a kubeconfig; no token may come into its log."""
    yield lambda kubeconfig: open_door(
        kubeconfig=kubeconfig,
        namespace=namespace,
        database_url=database_url,
        key=Fernet.generate_key().decode(),
        folder=tmp_path / "door",
    )
    assert "eyJ" not in (tmp_path / "door.log").read_text()


def token_of(api: Api, name: str, namespace: str, *more: str) -> str:
    """Get a token for an account."""
    return api.kubectl("create", "token", name, f"--namespace={namespace}", *more).strip()


def bearer(token: str) -> dict[str, str]:
    """Put a token into headers."""
    return {"authorization": f"Bearer {token}"}


def changed(kubeconfig: Path, change: Callable[[Json], None]) -> Path:
    """Change a kubeconfig."""
    config = yaml.safe_load(kubeconfig.read_text())
    change(config)
    kubeconfig.write_text(yaml.safe_dump(config))
    return kubeconfig


async def test_a_service_account_posts_events_by_its_role_alone(
    cluster: Api, api_kubeconfig: Path, orders: str, namespace: str, door_by: DoorBy
) -> None:
    """What it may not is told with the command that allows it; that command works."""
    cluster.apply(role("taskloom-events-create", namespace, "events", "create"))
    headers = bearer(orders)
    async with door_by(api_kubeconfig) as door:
        refused = await door.post("/events/trigger", json=EVENT, headers=headers)
        said = refused.json()["detail"]
        cluster.kubectl(*said.partition(": kubectl ")[2].split())

        async def admitted() -> bool:
            answer = await door.post("/events/trigger", json=EVENT, headers=headers)
            return answer.status_code == 204

        async with asyncio.timeout(30):
            while not await admitted():
                await asyncio.sleep(0.2)
        other = await door.get("/events", headers=headers)
        ours = {"authorization": "Bearer " + jwt.encode({"permissions": ["*"]}, SECRET)}
        count = (await door.get("/events/count", headers=ours)).json()

    assert 403 == refused.status_code
    assert f"system:serviceaccount:{namespace}:orders may not create events.taskloom.dev" in said
    assert 403 == other.status_code
    assert "may not get events.taskloom.dev" in other.json()["detail"]
    assert {"count": 1} == count


async def test_the_records_name_the_service_account(
    cluster: Api, api_kubeconfig: Path, namespace: str, door_by: DoorBy
) -> None:
    """A workflow deployed by an account bears its full name."""
    cluster.apply(account("deployer", namespace))
    cluster.apply(
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "Role",
            "metadata": {"name": "deployer", "namespace": namespace},
            "rules": [
                {
                    "apiGroups": ["taskloom.dev"],
                    "resources": ["processes"],
                    "verbs": ["create", "get"],
                }
            ],
        }
    )
    cluster.kubectl(
        *("create", "rolebinding", "deployer", "--role=deployer", f"--namespace={namespace}"),
        f"--serviceaccount={namespace}:deployer",
    )
    headers = bearer(token_of(cluster, "deployer", namespace, "--audience=taskloom"))
    bpmn = (Path(__file__).parents[1] / "bpmn" / "purchase.bpmn").read_text()
    draft = {"name": "purchase", "bpmnFile": bpmn}
    async with door_by(api_kubeconfig) as door:
        made = await door.post("/workflows", json=draft, headers=headers)

    assert 200 == made.status_code, made.text
    assert f"system:serviceaccount:{namespace}:deployer" == made.json()["createdBy"]


async def test_what_is_no_proof_is_refused(
    cluster: Api, api_kubeconfig: Path, namespace: str, door_by: DoorBy
) -> None:
    """Another audience, an account that is gone and a forged token are all answered 401."""
    cluster.apply(account("orders", namespace))
    cluster.apply(account("gone", namespace))
    elsewhere = bearer(token_of(cluster, "orders", namespace))
    gone = bearer(token_of(cluster, "gone", namespace, "--audience=taskloom"))
    cluster.delete(account("gone", namespace))
    subject = f"system:serviceaccount:{namespace}:orders"
    claims = {"sub": subject, "aud": ["taskloom"], "permissions": ["*"]}
    forged = bearer(jwt.encode(claims, SECRET))
    async with door_by(api_kubeconfig) as door:
        answers = [
            await door.post("/events/trigger", json=EVENT, headers=headers)
            for headers in (elsewhere, gone, forged, {})
        ]

    assert [401] * 4 == [answer.status_code for answer in answers]
    assert "must be for the audience taskloom" in answers[0].json()["detail"]
    assert "does not accept the ServiceAccount token" in answers[1].json()["detail"]
    assert "does not accept the ServiceAccount token" in answers[2].json()["detail"]


def _of_nobody(config: Json, token: str) -> None:
    """Log in as an account that may ask nothing."""
    config["users"][0]["user"] = {"token": token}


def _nowhere(config: Json, _token: str) -> None:
    """Name an API server that does not answer."""
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"


@pytest.mark.parametrize(
    ("change", "says"), [(_nowhere, "does not answer"), (_of_nobody, "system:auth-delegator")]
)
async def test_a_cluster_that_cannot_be_asked_is_no_verdict(
    api_kubeconfig: Path,
    orders: str,
    door_by: DoorBy,
    change: Callable[[Json, str], None],
    says: str,
) -> None:
    """The answer is 503 and says when to come again; other tokens go on."""
    ours = {"authorization": "Bearer " + jwt.encode({"permissions": ["*"]}, SECRET)}
    async with door_by(changed(api_kubeconfig, lambda config: change(config, orders))) as door:
        answer = await door.post("/events/trigger", json=EVENT, headers=bearer(orders))
        other = await door.post("/events/trigger", json=EVENT, headers=ours)

    assert 503 == answer.status_code
    assert int(answer.headers["retry-after"]) >= 1
    assert says in answer.json()["detail"]
    assert 204 == other.status_code
