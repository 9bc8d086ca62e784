"""The commands that handle a cluster, with a cluster in memory."""

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from taskloom.cli.app import app
from taskloom.cli.cluster.choice import Choice, Reached, called_by_kubectl
from taskloom.cli.cluster.difference import compare_with_cluster, difference
from taskloom.cli.cluster.installation import choose_service, port_forward
from taskloom.cli.cluster.links import Dependent, dependents_of, links_of
from taskloom.cli.cluster.manifests import Manifest, read_manifests
from taskloom.cli.cluster.objects import as_resource, fetch, read_named, search
from taskloom.cli.comparison import Verb
from taskloom.cli.resource_table import by_trouble, is_well
from taskloom.cli.rotate import explain_rotation, has_revision, next_revision
from taskloom.cli.suspend import can_suspend
from taskloom.errors import Forbidden, Invalid, NotFound
from taskloom.resources.client_app import ClientApp
from taskloom.resources.kinds import KINDS
from taskloom.testing.hand import FakeHand

Json = dict[str, Any]


def body(kind: str, name: str, *, namespace: str = "shop", **more: Any) -> Json:
    """Write an object as an API server gives it."""
    return {
        "apiVersion": "taskloom.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "generation": 1,
            "creationTimestamp": "2026-11-24T09:00:00Z",
        },
        "spec": {},
        **more,
    }


def status(ready: str, generation: int = 1, **more: Any) -> Json:
    """Write a status."""
    condition = {"type": "Ready", "status": ready, "reason": "X", "message": "m"}
    return {"observedGeneration": generation, "conditions": [condition], **more}


def reached(*bodies: Json, **options: Any) -> Reached:
    """Reach a cluster that holds these."""
    return Reached(cluster=FakeHand(bodies, **options), context="test", namespace="shop")


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("/usr/local/bin/kubectl-taskloom", True),
        ("kubectl-taskloom", True),
        ("/kubectl-1/taskloom", False),
        ("taskloom", False),
    ],
)
def test_kubectl_is_known_by_the_name_of_the_program(program: str, *, expected: bool) -> None:
    """Kubectl calls its plugins by their full name."""
    assert expected == called_by_kubectl(program)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("whsub/hook", None, ("WebhookSubscription", "hook")),
        ("WebhookSubscriptions", "hook", ("WebhookSubscription", "hook")),
        ("orders", None, ("ClientApp", "orders")),
    ],
)
def test_an_object_is_named_as_for_kubectl(
    first: str, second: str | None, expected: tuple[str, str]
) -> None:
    """Kind and name by a slash or by a space; a name alone where there is one kind only."""
    named = read_named(first, second, kind=ClientApp)

    assert expected == (named.kind.names.kind, named.name)


@pytest.mark.parametrize("first", ["whsub", "whsub/", "/hook"])
def test_half_a_name_is_a_wrong_call(first: str) -> None:
    """What to write is said."""
    with pytest.raises((typer.BadParameter, Invalid), match="workflow"):
        read_named(first, None)


async def test_a_cluster_without_the_kinds_is_told_apart_from_an_empty_one() -> None:
    """How they are installed is said; an empty cluster is no error."""
    assert () == (await search(reached())).bodies
    with pytest.raises(NotFound, match="does not know Taskloom's kinds"):
        await search(reached(undefined=list(KINDS)))


async def test_kinds_that_may_not_be_read_do_not_hide_the_others() -> None:
    """They are named; only if none may be read it is an error."""
    some = await search(reached(body("ClientApp", "one"), forbidden=["Workflow"]))

    assert ["one"] == [each["metadata"]["name"] for each in some.bodies]
    assert ("The API server answers 403: you may not read workflows",) == some.troubles
    with pytest.raises(Forbidden):
        await search(reached(forbidden=list(KINDS)))


@pytest.mark.parametrize(
    ("others", "says"),
    [
        ([body("ClientApp", "orders", namespace="prod")], "there is one with -n prod."),
        ([body("ClientApp", "order")], "did you mean order?"),
        ([body("ClientApp", "b"), body("ClientApp", "a")], "there are a, b."),
        ([], "nor any other."),
    ],
)
async def test_what_is_not_there_is_told_with_what_may_be_meant(
    others: list[Json], says: str
) -> None:
    """Another namespace, a near name, all names."""
    with pytest.raises(NotFound) as missing:
        await fetch(reached(*others), read_named("capp/orders", None))

    assert missing.value.message.endswith(says)


def test_an_old_verdict_is_not_shown_for_the_new_form() -> None:
    """What was ready before a change is not known to be ready after it."""
    changed = body("ClientApp", "a", status=status("True"))
    changed["metadata"]["generation"] = 2

    shown = as_resource(changed)

    assert not is_well(shown)
    assert "NotYetSeen" == shown["status"]["conditions"][-1]["reason"]


def test_trouble_comes_first() -> None:
    """Then what works with a reservation; otherwise the order stays."""
    degraded = status("True")
    degraded["conditions"].append({"type": "Degraded", "status": "True", "message": "half"})
    resources = [
        as_resource(body("ClientApp", name, status=given))
        for name, given in (
            ("b", status("True")),
            ("a", status("True")),
            ("half", degraded),
            ("bad", status("False")),
        )
    ]

    assert ["bad", "half", "b", "a"] == [each["name"] for each in by_trouble(resources)]


def test_every_reference_of_every_kind_is_known() -> None:
    """Each field of a spec whose name ends with Ref leads somewhere."""
    spec: Json = {}
    for kind in KINDS.values():
        schema = kind.model_json_schema(by_alias=True)
        for part in schema["$defs"].values():
            for field in part.get("properties", {}):
                if field.endswith("Refs"):
                    spec[field] = [{"name": "x"}]
                elif field.endswith("Ref"):
                    spec[field] = {"name": "x"}

    found = {link.field.removeprefix("spec.") for link in links_of(body("X", "x", spec=spec))}

    assert len(spec) > 10
    assert set(spec) == found


def test_dependents_are_found_by_reference_by_key_and_by_topic() -> None:
    """A workflow's mappings, a command's workflows; not the object itself."""
    workflow = body("Workflow", "order", spec={"externalIdentifier": "k"})
    workflow["status"] = {"topics": ["pay"]}
    command = body("Command", "c", spec={"topic": "pay"})
    others = [
        workflow,
        command,
        body("EventMapping", "by-ref", spec={"workflowRef": {"name": "order"}}),
        body("TaskMapping", "by-key", spec={"workflowKey": "k"}),
        body("TaskMapping", "of-another", spec={"workflowKey": "order"}),
    ]

    assert [
        Dependent(kind="EventMapping", name="by-ref", how="spec.workflowRef"),
        Dependent(kind="TaskMapping", name="by-key", how="spec.workflowKey"),
    ] == dependents_of(workflow, others)
    assert [Dependent(kind="Workflow", name="order", how="topic pay")] == dependents_of(
        command, others
    )


@pytest.mark.parametrize(
    ("spec", "issued", "expected"),
    [
        ({}, {}, 1),
        ({"credentials": {"generated": {"rotation": {"revision": 4}}}}, {"revision": 3}, 5),
        ({}, {"revision": 7}, 8),
    ],
)
def test_the_next_revision_is_above_all_before(spec: Json, issued: Json, expected: int) -> None:
    """Above the one that is asked for, and the one in force."""
    app_ = body("ClientApp", "a", spec=spec, status={"credentials": issued})

    assert expected == next_revision(app_)


def test_imported_credentials_are_rotated_elsewhere() -> None:
    """The Secret to change is named."""
    spec = {"credentials": {"imported": {"secretRef": {"name": "given"}}}}

    with pytest.raises(Invalid, match="the Secret given"):
        next_revision(body("ClientApp", "a", spec=spec))


def test_a_rotation_is_done_when_the_newest_form_says_so() -> None:
    """An old status that happens to have the number is none."""
    done = body("ClientApp", "a", status=status("True", credentials={"revision": 2}))
    stale = body("ClientApp", "a", status=status("True", 0, credentials={"revision": 2}))

    assert has_revision(done, 2)
    assert not has_revision(done, 3)
    assert not has_revision(stale, 2)
    assert "revision 2" in explain_rotation(done, "shop")


def test_kinds_that_can_be_suspended() -> None:
    """Those with `spec.suspend`."""
    assert {
        "ClientApp",
        "EventMapping",
        "EventSink",
        "EventSource",
        "TaskMapping",
        "WebhookSubscription",
    } == {name for name, kind in KINDS.items() if can_suspend(kind)}


def test_manifests_are_read_as_they_are(tmp_path: Path) -> None:
    """Lists are taken apart; hidden files and kustomizations are left out."""
    (tmp_path / ".hidden.yaml").write_text("kind: X")
    (tmp_path / "kustomization.yaml").write_text("kind: Kustomization")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.yaml").write_text("kind: List\nitems: [{kind: A}, {kind: B}]")
    (tmp_path / "b.yaml").write_text("kind: C\n---\nkind: D")

    assert ["C", "D", "A", "B"] == [each.kind for each in read_manifests(tmp_path)]


@pytest.mark.parametrize("text", ["kind: [", "just text", "{a: 1}"])
def test_a_file_that_is_no_manifest_is_named(tmp_path: Path, text: str) -> None:
    """With the line."""
    file = tmp_path / "a.yaml"
    file.write_text(text)

    with pytest.raises(Invalid, match=r"a\.yaml:1: "):
        read_manifests(file)


async def test_manifests_go_to_the_context_s_namespace() -> None:
    """Unless they name one; a refusal is told in the API server's words."""
    manifests = [
        Manifest(body={**body("ClientApp", "a"), "metadata": {"name": "a"}}, place="f:1"),
        Manifest(body=body("ClientApp", "b", namespace="prod"), place="f:2"),
        Manifest(body=body("ClientApp", "c", spec={"refused": 1}), place="f:3"),
        Manifest(body=body("Deployment", "d"), place="f:4"),
    ]

    changes = await compare_with_cluster(reached(), manifests)

    assert [
        ("shop", Verb.CREATED, None),
        ("prod", Verb.CREATED, None),
        ("shop", Verb.REFUSED, "spec.refused: Invalid value"),
    ] == [(each.key[1], each.verb, each.problem) for each in changes]


def test_a_secret_s_values_are_not_shown() -> None:
    """Only that they differ; a new Secret's are hidden too."""
    before = body("Secret", "s", data={"a": "b25l", "b": "c2FtZQ=="})
    after = body("Secret", "s", data={"a": "dHdv", "b": "c2FtZQ=="})

    changed = "\n".join(difference(before, after))
    created = "\n".join(difference(None, after))

    assert "-  a: '*** (before)'\n+  a: '*** (after)'" in changed
    assert not any(value in changed + created for value in ("b25l", "dHdv", "c2FtZQ=="))


def service(namespace: str, port: str = "http") -> Json:
    """Write a Service."""
    return {
        "metadata": {"name": "taskloom", "namespace": namespace},
        "spec": {"ports": [{"name": port}]},
    }


def test_the_one_service_of_the_api_is_chosen() -> None:
    """Others are left aside; none and several are told apart."""
    assert ("a", "taskloom") == choose_service([service("a"), service("b", "metrics")], "test")
    with pytest.raises(NotFound, match="--service"):
        choose_service([service("b", "metrics")], "test")
    with pytest.raises(Invalid, match="a/taskloom, b/taskloom"):
        choose_service([service("b"), service("a")], "test")


def test_the_port_is_forwarded_in_the_same_cluster() -> None:
    """Context and kubeconfig are passed on."""
    command = port_forward(Choice(context="c", kubeconfig=Path("/k")), "ns", "svc")

    assert [
        "kubectl",
        "--namespace",
        "ns",
        "port-forward",
        "--address",
        "127.0.0.1",
        "--context",
        "c",
        "--kubeconfig",
        "/k",
        "service/svc",
        ":http",
    ] == command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("get", "--url", "http://x", "--context", "c"), "give one of them"),
        (("get", "--kubeconfig", "/nowhere"), "There is no kubeconfig /nowhere"),
        (("why", "capp"), "give a kind and a name"),
        (("rotate", "whsub/x", "--kubeconfig", "/nowhere"), "only a ClientApp has"),
        (("diff",), "give one folder"),
        (("diff", "-f", "/nowhere"), "does not exist"),
    ],
)
def test_wrong_calls_say_what_to_mend(arguments: tuple[str, ...], said: str) -> None:
    """In one line, with an exit code that is not 0."""
    done = CliRunner().invoke(app, list(arguments))

    assert done.exit_code in {1, 2}
    assert said in " ".join(done.stderr.replace("│", " ").split())
