"""The chart: linted, rendered with every file of values, and taken by a real API server."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.real.kubernetes.api import Api, Json, Refusal
from tests.real.kubernetes.audit import Right, granted
from tests.real.kubernetes.chart import (
    CHART,
    VALUES,
    complaint,
    documents,
    helm,
    lint,
    of_kind,
    template,
)

ROOT = Path(__file__).parents[2]
FOREIGN = Path(__file__).parent / "foreign" / "crds.yaml"
EXTERNAL = (
    "--set=mode=distributed,database.existingSecret=db,encryption.existingSecret=keys,"
    "auth.existingSecret=auth"
)
# What belongs to Kubernetes: not all that it takes there has a default.
PODS = {"affinity", "containerSecurity", "podSecurity", "resources"}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}

values = pytest.mark.parametrize("file", VALUES, ids=lambda file: file.stem)


@pytest.fixture(scope="module")
def others(cluster: Api) -> Api:
    """Have the API server know what belongs to Prometheus and the Gateway API."""
    cluster.kubectl("apply", f"--filename={FOREIGN}")
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", f"--filename={FOREIGN}")
    return cluster


@pytest.fixture
def restricted(others: Api, namespace: str) -> str:
    """Make a namespace whose pods must be as restricted as can be."""
    document = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": namespace, "labels": RESTRICTED},
    }
    assert not isinstance(others.apply(document), Refusal)
    return namespace


@values
def test_the_chart_is_linted(file: Path) -> None:
    """`helm lint --strict` finds nothing, whatever the values."""
    code, said = lint(f"--values={file}")

    assert code == 0, said
    assert "[WARNING]" not in said


@values
def test_an_api_server_takes_every_object(others: Api, restricted: str, file: Path) -> None:
    """A server-side dry run, with strict fields, refuses none of what is rendered."""
    rendered = template(f"--values={file}", namespace=restricted)
    for name in ("shop", "billing"):
        others.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    make_accounts(others, documents(rendered))

    said = others.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--filename=-"),
        given=rendered,
    )

    assert len(documents(rendered)) == len(said.splitlines())


@values
def test_every_pod_runs_restricted(others: Api, restricted: str, file: Path) -> None:
    """The pods of all Deployments, and of the test, are taken where `restricted` is enforced."""
    objects = documents(template(f"--values={file}", namespace=restricted))
    make_accounts(others, objects)
    pods = [pod_of(each) for each in of_kind(objects, "Deployment")] + of_kind(objects, "Pod")
    assert pods
    for pod in pods:
        answer = others.create(pod, dry_run=True)

        assert not isinstance(answer, Refusal), answer


def test_the_restriction_is_there(others: Api, restricted: str) -> None:
    """A pod that runs as root is refused in that namespace, so the test above says something."""
    objects = documents(template("--set=podSecurityContext.runAsNonRoot=false"))
    (deployment,) = of_kind(objects, "Deployment")
    pod = pod_of(deployment)
    pod["metadata"]["namespace"] = restricted
    pod["spec"]["serviceAccountName"] = "default"
    answer = others.create(pod, dry_run=True)

    assert isinstance(answer, Refusal)
    assert "runAsNonRoot" in answer.message


def make_accounts(api: Api, objects: list[Json]) -> None:
    """Make the ServiceAccounts for real: no pod is taken, not even for a try, without its own."""
    for account in of_kind(objects, "ServiceAccount"):
        assert not isinstance(api.apply(account), Refusal)


def pod_of(deployment: Json) -> Json:
    """Make a pod as the Deployment would."""
    spec = deployment["spec"]["template"]
    metadata = spec["metadata"] | {
        "name": deployment["metadata"]["name"],
        "namespace": deployment["metadata"]["namespace"],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec["spec"]}


def test_the_definitions_are_those_of_the_project() -> None:
    """The chart installs crds/, with its own labels, and keeps them unless told otherwise."""
    mine = {
        each["metadata"]["name"]: each
        for each in of_kind(documents(template()), "CustomResourceDefinition")
    }
    assert len(list((ROOT / "crds").glob("*.yaml"))) == len(mine)
    for path in (ROOT / "crds").glob("*.yaml"):
        expected = yaml.safe_load(path.read_text())
        found = mine[expected["metadata"]["name"]]
        assert expected["spec"] == found["spec"]
        assert expected["metadata"]["annotations"] == found["metadata"]["annotations"]
        assert found["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"

        assert found["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"

    for each in of_kind(documents(template("--set=crds.keep=false")), "CustomResourceDefinition"):
        assert "helm.sh/resource-policy" not in each["metadata"]["annotations"]

    assert "CustomResourceDefinition" not in template("--set=crds.install=false")


def test_no_secret_is_made_of_chance() -> None:
    """Two renderings are the same, so an upgrade changes nothing by itself."""
    for file in VALUES:
        assert template(f"--values={file}") == template(f"--values={file}")


def test_every_value_has_a_default_and_a_type() -> None:
    """values.yaml and values.schema.json name the same values, but for what charts share."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    del schema["properties"]["global"]

    def compare(place: str, value: Json, described: Json) -> None:
        definition = described.get("$ref", "").split("/")[-1]
        described = schema["$defs"].get(definition, described)
        if "properties" not in described or definition in PODS:
            return
        assert described["additionalProperties"] is False, place
        assert described["properties"].keys() == value.keys(), place
        for name, below in described["properties"].items():
            compare(f"{place}.{name}", value[name], below)

    compare("", defaults, schema)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("modus=distributed", "'modus'"),
        ("mode=both", "/mode"),
        ("api.replica=2", "/api"),
        ("api.replicas=two", "/api/replicas"),
        ("api.autoscaling.minReplica=2", "/api/autoscaling"),
        ("relay.autoscaling.enabled=true", "/relay"),
        ("controller.namespaces={Shop}", "/controller/namespaces/0"),
        ("controller.namespaces=shop", "/controller/namespaces"),
        ("crds.keep=never", "/crds/keep"),
        ("database.existingSecret=My Secret", "/database/existingSecret"),
        ("database.embedded.persistence.size=big", "/database/embedded/persistence/size"),
        ("auth.mode=disabled", "/auth/mode"),
        ("auth.jwksUrl=login.example.com", "/auth/jwksUrl"),
        ("settings.logLevel=loud", "/settings/logLevel"),
        ("settings.workerConcurrency=0", "/settings/workerConcurrency"),
        ("settings.egress.deny={10.0.0.1}", "/settings/egress/deny/0"),
        ("service.port=0", "/service/port"),
        ("image.digest=latest", "/image/digest"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("worker.podAnnotations.number=1", "/worker/podAnnotations/number"),
        ("worker.pdb.maxUnavailable=half", "/worker/pdb/maxUnavailable"),
        ("metrics.serviceMonitor.interval=often", "/metrics/serviceMonitor/interval"),
        ("ingress.hosts[0].name=x", "/ingress/hosts/0"),
    ],
)
def test_wrong_values_are_refused_by_name(given: str, named: str) -> None:
    """An unknown or ill-typed value is refused, and the message names it."""
    assert named in complaint(f"--set={given}")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("mode=distributed", "kubectl create secret generic taskloom-database"),
        ("database.existingSecret=db", "kubectl create secret generic taskloom-encryption"),
        (
            "database.existingSecret=db,encryption.existingSecret=keys",
            "kubectl create secret generic taskloom-auth",
        ),
        ("database.url=mysql://root:hunter2@db/x", "database.url is no URL"),
        ("database.url=postgresql://db/x,database.existingSecret=db", "give one of them"),
        ("database.workflow.existingSecret=db", "give database.existingSecret"),
        ("allInOne.replicas=2", "one pod at most"),
        ("auth.mode=jwks", "auth.jwksUrl"),
        ("ingress.enabled=true", "ingress.hosts"),
        ("httpRoute.enabled=true", "httpRoute.parentRefs"),
        ("api.autoscaling.minReplicas=20", "minReplicas is more than maxReplicas"),
    ],
)
def test_values_that_need_others_say_so(given: str, told: str) -> None:
    """What is missing is told with the command that makes it; no password is told."""
    said = complaint(f"--set={given}")

    assert told in said
    assert "hunter2" not in said


def test_a_persistent_database_of_ones_own_is_refused() -> None:
    """A volume that nothing would be kept in is a mistake."""
    said = complaint(
        EXTERNAL.replace("distributed", "all-in-one"),
        "--set=database.embedded.persistence.enabled=true",
    )

    assert "database.embedded.persistence" in said


def test_only_the_controller_has_a_token_and_rights() -> None:
    """The pods of all other roles have no token, and no role is bound to their accounts.

    The API has one only to ask who calls.
    """
    objects = documents(template(EXTERNAL, "--set=callers.enabled=false"))
    tokens = {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]["automountServiceAccountToken"]
        for each in of_kind(objects, "Deployment")
    }
    bindings = of_kind(objects, "RoleBinding") + of_kind(objects, "ClusterRoleBinding")
    bound = {subject["name"] for each in bindings for subject in each["subjects"]}

    assert {name for name, mounted in tokens.items() if mounted} == {"taskloom-controller"}
    assert bound == {"taskloom-controller"}
    assert not any(
        each["automountServiceAccountToken"] for each in of_kind(objects, "ServiceAccount")
    )


def documented_rights() -> list[set[Right]]:
    """Read every list of rules that the reference shows: each is granted as a whole or not."""
    text = (ROOT / "docs" / "reference" / "kubernetes.md").read_text()
    blocks = [
        yaml.safe_load(block)
        for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        if block.startswith(("rules:", "- apiGroups:"))
    ]
    lists = [block["rules"] if isinstance(block, dict) else block for block in blocks]
    return [granted([{"rules": rules}]) for rules in lists]


@pytest.mark.parametrize("mode", ["all-in-one", "distributed"])
def test_the_rights_are_the_documented_ones(mode: str) -> None:
    """With all that needs rights switched on, the accounts have those of the reference, no more."""
    objects = documents(
        template(EXTERNAL.replace("distributed", mode), "--set=connectors.dedicated.enabled=true")
    )
    roles = [
        each
        for each in of_kind(objects, "Role") + of_kind(objects, "ClusterRole")
        if each["metadata"]["labels"].get("app.kubernetes.io/component")
        and not each["metadata"]["name"].endswith("events-create")
    ]
    documented = documented_rights()

    assert len(documented) == 3
    assert set().union(*documented) == granted(roles)


def test_what_is_watched_is_measured() -> None:
    """Every metric in an alert or on the dashboard is one that the reference describes."""
    monitoring = f"--values={CHART / 'ci' / 'monitoring-values.yaml'}"
    objects = documents(template(monitoring))
    (rule,) = of_kind(objects, "PrometheusRule")
    dashboard = json.loads((CHART / "files" / "dashboard.json").read_text())
    alerts = rule["spec"]["groups"][0]["rules"]
    expressions = [each["expr"] for each in alerts]
    expressions += [each["expr"] for panel in dashboard["panels"] for each in panel["targets"]]
    named = {name for text in expressions for name in re.findall(r"taskloom_\w+", text)}
    reference = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    described = set(re.findall(r"`(taskloom_\w+)", reference))

    assert named
    assert {re.sub("_bucket$", "", name) for name in named} <= described
    for alert in alerts:
        assert alert["annotations"].keys() == {"summary", "runbook"}


def test_names_follow_the_release() -> None:
    """Two releases in a namespace, and two of one name in two, share no object."""

    def names(rendered: str) -> set[tuple[str, str, str]]:
        return {
            (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"])
            for each in documents(rendered)
        }

    here = names(template("--set=crds.install=false", namespace="here"))
    there = names(template("--set=crds.install=false", namespace="there"))
    other = names(template("--set=crds.install=false,fullnameOverride=other", namespace="here"))

    assert not here & there
    assert not here & other


def test_the_manifest_is_the_chart(others: Api) -> None:
    """manifests/install.yaml is what `make manifests` renders now, and is taken with -k."""
    manifest = (ROOT / "manifests" / "install.yaml").read_text()
    rendered = template("--skip-tests", namespace="taskloom")
    assert manifest.endswith(rendered), "run `make manifests`"

    namespace, *objects = documents(manifest)
    others.apply(namespace)
    said = others.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--dry-run=server"),
        f"--kustomize={ROOT / 'manifests'}",
    )
    assert len(objects) + 1 == len(said.splitlines())


def test_a_packed_chart_is_the_same(tmp_path: Path) -> None:
    """`helm package` takes along all that the checkout renders."""
    done = helm("package", str(CHART), f"--destination={tmp_path}")
    assert done.returncode == 0, done.stderr
    (packed,) = tmp_path.glob("*.tgz")

    assert template() == template(chart=packed)
