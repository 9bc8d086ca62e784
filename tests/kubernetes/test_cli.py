"""``kubectl taskloom`` against a real API server and a real operator."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import yaml

from tests.real.kubernetes.api import Api, Json, Refusal
from tests.real.kubernetes.kubectl_plugin import Run, Said, in_namespace
from tests.real.kubernetes.operator import Operator, condition, until

Start = Callable[..., Awaitable[Operator]]


def resource(kind: str, name: str, namespace: str, spec: Json) -> Json:
    """Write a resource."""
    return {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": {"name": name}},
        "spec": spec,
    }


def apply(api: Api, *found: Json) -> None:
    """Apply documents that are not refused."""
    for document in found:
        answer = api.apply(document)
        assert not isinstance(answer, Refusal), answer


async def test_an_object_is_followed_from_trouble_to_rest(
    cluster: Api, namespace: str, operate: Start, run: Run
) -> None:
    """Why names the cause, its command mends it; then it is rotated, suspended and resumed."""
    app = resource("ClientApp", "orders", namespace, {})
    hook = resource(
        "WebhookSubscription",
        "hook",
        namespace,
        {
            "clientAppRef": {"name": "orders"},
            "eventKeys": ["*"],
            "urlFrom": {"secretKeyRef": {"name": "hook-url", "key": "url"}},
        },
    )
    apply(cluster, app, hook)
    await operate()
    await until(lambda: condition(cluster, hook) == ("False", "SecretNotFound", 1))

    told = await run("why", "whsub/hook")
    listed = await run("get")
    apply(
        cluster,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "hook-url", "namespace": namespace},
            "stringData": {"url": "http://127.0.0.1:9/"},
        },
    )
    await until(lambda: condition(cluster, hook) == ("True", "Reconciled", 1))
    well = await run("why", "whsub", "hook")
    rotated = await run("rotate", "orders")
    suspended = await run("suspend", "whsub/hook")
    resumed = await run("resume", "whsub/hook")
    described = await run("describe", "capp/orders")

    assert 1 == told.code
    assert "refers to the Secret hook-url, and there is none" in told.out
    assert f"kubectl -n {namespace} create secret generic hook-url --from-file=url=" in told.out
    assert 1 == listed.code
    assert ["WebhookSubscription", "ClientApp"] == [
        line.split()[0] for line in listed.out.splitlines()[1:]
    ]
    assert (0, f"WebhookSubscription {namespace}/hook is ready") == (
        well.code,
        well.out.partition(", for")[0],
    )
    assert (0, "") == (rotated.code, rotated.err)
    assert "has new credentials (revision 1) in the Secret orders-credentials." in rotated.out
    assert "good until" in rotated.out
    assert f"WebhookSubscription {namespace}/hook is suspended.\n" == suspended.out
    assert f"WebhookSubscription {namespace}/hook is resumed.\n" == resumed.out
    assert "WebhookSubscription/hook" in described.out.partition("Used by:")[2]


async def test_lists_are_printed_as_kubectl_prints_them(
    cluster: Api, namespace: str, run: Run
) -> None:
    """By name, as a List, by labels, and one object alone."""
    one, two = (resource("ClientApp", name, namespace, {}) for name in ("one", "two"))
    apply(cluster, one, two)

    names = await run("get", "capp", "-o", "name")
    every = await run("get", "-A", "-l", "name=two", "-o", "json")
    single = await run("get", "capp/one", "-o", "yaml")
    nothing = await run("get", "bpwf")

    assert "clientapp.taskloom.dev/one\nclientapp.taskloom.dev/two\n" == names.out
    assert "two" in [item["metadata"]["name"] for item in json.loads(every.out)["items"]]
    assert "List" == json.loads(every.out)["kind"]
    assert "one" == yaml.safe_load(single.out)["metadata"]["name"]
    assert "managedFields" not in single.out
    assert (0, f"There are no workflows in the namespace {namespace}.\n") == (
        nothing.code,
        nothing.err,
    )


async def test_a_difference_is_what_apply_would_do(
    cluster: Api, namespace: str, run: Run, tmp_path: Path
) -> None:
    """Defaults are none, changes are lines, what cannot be is refused in the API server's words."""
    mapping = resource("EventMapping", "m", namespace, {"eventKey": "a", "workflowKey": "w"})
    secret: Json = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": namespace},
        "data": {"kept": "b2xk", "changed": "b2xk"},
    }
    apply(cluster, mapping, secret)
    folder = tmp_path / "folder"

    async def diff(*documents: Json) -> Said:
        write(folder, *documents)
        return await run("diff", "-f", str(folder))

    same = await diff(mapping, secret)
    changed = await diff(
        mapping | {"spec": {"eventKey": "a", "workflowKey": "other"}},
        secret | {"data": {"kept": "b2xk", "changed": "bmV3"}},
        resource("ClientApp", "new", namespace, {}),
    )
    refused = await diff(mapping | {"spec": {"eventKey": "b", "workflowKey": "w"}})

    assert (0, "No differences.\n") == (same.code, same.err)
    assert 1 == changed.code
    assert "-  workflowKey: w\n+  workflowKey: other" in changed.out
    assert "-  changed: '*** (before)'\n+  changed: '*** (after)'\n" in changed.out
    assert "bmV3" not in changed.out
    assert f"ClientApp {namespace}/new would be created" in changed.out
    assert 1 == refused.code
    assert "would be refused" in refused.out
    assert "may not be changed after creation" in refused.out


def write(folder: Path, *documents: Json) -> None:
    """Write a folder of manifests."""
    folder.mkdir(exist_ok=True)
    (folder / "all.yaml").write_text(yaml.safe_dump_all(documents))


async def test_what_is_not_there_is_told_with_what_may_be_meant(
    cluster: Api, namespace: str, run: Run
) -> None:
    """A near name, another namespace, an operator that does not come."""
    apply(cluster, resource("ClientApp", "orders", namespace, {}))

    near = await run("describe", "capp/ordres")
    elsewhere = await run("why", "capp/orders", "-n", "default")
    waited = await run("suspend", "capp/orders", "--timeout", "1")
    unsuspendable = await run("suspend", "tcmd/x")
    context = await run("get", "--context", "nowhere")

    assert f"namespace {namespace}: did you mean orders?" in near.err
    assert "there is one with -n " in elsewhere.err  # and others' namespaces may be on their way
    assert f"-n {namespace}" in elsewhere.err
    assert "no operator took it up within 1 s" in waited.err
    assert "There is no Command x" in unsuspendable.err
    assert "nowhere" in context.err
    assert [1] * 5 == [said.code for said in (near, elsewhere, waited, unsuspendable, context)]


async def test_who_may_read_little_is_told_so(
    cluster: Api, kubeconfig: Path, namespace: str, run: Run, tmp_path: Path
) -> None:
    """A user without rights gets the API server's words; with some, what could be seen."""
    cluster.kubectl("create", "serviceaccount", "poor", f"--namespace={namespace}")
    cluster.kubectl(
        *("create", "role", "poor", "--verb=get,list", "--resource=clientapps.taskloom.dev"),
        f"--namespace={namespace}",
    )
    cluster.kubectl(
        *("create", "rolebinding", "poor", "--role=poor", f"--namespace={namespace}"),
        f"--serviceaccount={namespace}:poor",
    )
    apply(cluster, resource("ClientApp", "orders", namespace, {}))
    token = cluster.kubectl("create", "token", "poor", f"--namespace={namespace}").strip()
    path = _as_user(in_namespace(kubeconfig, namespace, tmp_path / "poor"), token)

    some = await run("get", "--kubeconfig", path)
    none = await run("get", "bpwf", "--kubeconfig", path)
    why = await run("why", "capp/orders", "--kubeconfig", path)

    assert "orders" in some.out
    assert "cannot list resource" in some.err
    assert (1, "") == (none.code, none.out)
    assert "cannot list resource" in none.err
    assert "Not looked at: The API server answers 403" in why.out


def _as_user(path: Path, token: str) -> str:
    config = yaml.safe_load(path.read_text())
    for user in config["users"]:
        user["user"] = {"token": token}
    path.write_text(yaml.safe_dump(config))
    return str(path)
