"""The chart's values: each does something, wrong ones are refused, other releases' go on."""

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.real.kubernetes.chart import CHART, RELEASE, VALUES, documents, helm, of_kind, template

DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = Draft202012Validator(json.loads((CHART / "values.schema.json").read_text()))
DEPLOYED = ("allInOne", "api", "controller", "worker", "relay", "connectors")
FREE = {  # names that are the user's, or Kubernetes' own
    *("commonLabels", "commonAnnotations", "annotations", "labels", "podLabels"),
    *("podAnnotations", "nodeSelector", "requests", "limits"),
}
Path_ = tuple[str, ...]

PERSISTENT = {"database": {"embedded": {"persistence": {"enabled": True}}}}
SECRETS = {
    "database": {"existingSecret": "db", "workflow": {"existingSecret": "workflows"}},
    "encryption": {"existingSecret": "keys"},
    "auth": {"existingSecret": "auth"},
}
EVERYTHING = yaml.safe_load((CHART / "ci" / "everything-values.yaml").read_text())
PLAIN = {"mode": "distributed", "connectors": {"dedicated": {"enabled": True}}} | SECRETS
NODE_PORT = {"service": {"type": "NodePort", "nodePort": 30080}}
BUDGET = {"allInOne": {"pdb": {"enabled": True}}}
BASES: tuple[dict[str, Any], ...] = (EVERYTHING, PLAIN, PERSISTENT, NODE_PORT, BUDGET)
NO_CRDS = "--set=crds.install=false"

KINDS: dict[str, Any] = {
    "extraEnv": [{"name": "A", "value": "b"}],
    "extraEnvFrom": [{"secretRef": {"name": "s"}}],
    "extraVolumes": [{"name": "v", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "v", "mountPath": "/v"}],
    "extraInitContainers": [{"name": "c", "image": "i"}],
    "extraContainers": [{"name": "c", "image": "i"}],
    "tolerations": [{"operator": "Exists", "key": "changed"}],
    "affinity": {"nodeAffinity": {"changed": []}},
    "topologySpreadConstraints": [
        {"maxSkew": 9, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "imagePullSecrets": [{"name": "changed"}],
    "eventPosters": [{"name": "changed", "namespace": "changed"}],
    "accessModes": ["ReadWriteMany"],
    "allow": ["10.9.0.0/16"],
    "deny": ["10.9.0.0/16"],
    "namespaces": ["changed"],
    "hosts": [{"host": "changed", "paths": [{"path": "/"}]}],
    "tls": [{"secretName": "changed"}],
    "parentRefs": [{"name": "changed"}],
    "hostnames": ["changed.example.com"],
    "kubernetesPorts": [7443],
    "outboundTo": [{"ipBlock": {"cidr": "10.9.0.0/16"}}],
    "extraRules": [{"alert": "Changed", "expr": "vector(1)"}],
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "changed"}}],
    "relabelings": [{"action": "drop"}],
    "metricRelabelings": [{"action": "drop"}],
    "drop": ["NET_RAW"],
    "mode": "all-in-one",
    "digest": f"sha256:{'1' * 64}",
    "pullPolicy": "Always",
    "url": "postgresql://changed/x",
    "jwksUrl": "https://changed.example.com",
    "logLevel": "debug",
    "logFormat": "console",
    "host": "::",
    "type": "LoadBalancer",
    "nodePort": 30081,
    "path": "/changed",
    "interval": "17s",
    "scrapeTimeout": "17s",
    "size": "17Gi",
    "cpu": "17m",
    "memory": "17Mi",
    "fsGroupChangePolicy": "Always",
    "maxUnavailable": 7,
}
AT: dict[Path_, Any] = {
    ("auth", "mode"): "example",
    ("podSecurityContext", "seccompProfile", "type"): "Unconfined",
}
PEERS = {"apiFrom", "metricsFrom", "databaseTo", "engineTo", "kubernetesTo"}


def leaves(value: Any, place: Path_ = ()) -> Iterator[Path_]:
    """Name every value that has no values below."""
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from leaves(below, (*place, name))
    else:
        yield place


EACH = frozenset(leaves(DEFAULTS))


def changed(place: Path_) -> Any:
    """Give another value than the default, and than those of the bases."""
    name = place[-1]
    default: Any = DEFAULTS
    for step in place:
        default = default[step]
    if place in AT or name in KINDS:
        return AT.get(place, KINDS.get(name))
    if name in PEERS:
        return [{"ipBlock": {"cidr": "10.9.0.0/16"}}]
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return default + 17
    return {"changed": "changed"} if isinstance(default, dict) else "changed"


def put(values: dict[str, Any], place: Path_, value: Any) -> dict[str, Any]:
    """Give values with another one in a place."""
    made = copy.deepcopy(values)
    below = made
    for step in place[:-1]:
        below = below.setdefault(step, {})
    below[place[-1]] = value
    return made


def render(folder: Path, values: dict[str, Any], *options: str) -> tuple[int, str]:
    """Render the chart; give what it says if it refuses."""
    file = folder / "values.json"
    file.write_text(json.dumps(values))
    done = helm("template", RELEASE, str(CHART), f"--values={file}", *options)
    return done.returncode, done.stdout or done.stderr


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Render the bases as they are, without the definitions."""
    folder = tmp_path_factory.mktemp("plain")
    return tuple(render(folder, base, NO_CRDS)[1] for base in BASES)


def other(base: dict[str, Any], place: Path_) -> dict[str, Any]:
    """Give a base with another value in a place."""
    opposite = changed(place)
    current: Any = base
    for step in place:
        current = current.get(step) if isinstance(current, dict) else None
    if isinstance(opposite, bool) and isinstance(current, bool):
        opposite = not current
    return put(base, place, opposite)


@pytest.mark.parametrize(
    "place",
    [place for place in leaves(DEFAULTS) if place[0] not in DEPLOYED[1:]],
    ids=".".join,
)
def test_every_value_makes_a_difference(
    place: Path_, tmp_path: Path, plain: tuple[str, ...]
) -> None:
    """Another value renders otherwise, or is refused by name."""
    if place[0] == "crds":
        flag = f"--set={'.'.join(place)}=false"
        assert template(flag) != template()
        return
    for base, before in zip(BASES, plain, strict=True):
        code, said = render(tmp_path, other(base, place), NO_CRDS)
        assert code == 0 or place[-1] in said or place[-2] in said, said
        if said != before:
            return
    pytest.fail("it does nothing")


@pytest.mark.parametrize("place", [*leaves(DEFAULTS["api"])], ids=".".join)
def test_every_value_of_a_deployment_makes_a_difference_for_it(
    place: Path_, tmp_path: Path, plain: tuple[str, ...]
) -> None:
    """Each Deployment that has the value renders otherwise by its own."""
    having = {each for each in DEPLOYED[1:] if (each, *place) in EACH}
    missing = set(having)
    for base, before in zip(BASES[:2], plain[:2], strict=True):
        values = base
        for component in having:
            values = other(values, (component, *place))
        code, said = render(tmp_path, values, NO_CRDS)
        if code != 0:
            assert f"{place[-1]} is" in said, said
            return
        was, now = of_components(before), of_components(said)
        missing -= {each for each in having if was[each] != now[each]}
    assert missing == set()


def of_components(rendered: str) -> dict[str, list[Any]]:
    """Sort objects by the component that they are of."""
    found: dict[str, list[Any]] = {}
    for each in documents(rendered):
        component = each["metadata"].get("labels", {}).get("app.kubernetes.io/component", "")
        found.setdefault(component, []).append(each)
    return found


def test_values_of_a_wrong_type_are_refused_where_they_are() -> None:
    """At every leaf: the complaint is about that place."""
    for place in leaves(DEFAULTS):
        wrongs: list[Any] = [[None], 1.25e-9, {"no-such": {"no-such": 1}}, -7]
        for wrong in wrongs:
            complaints = list(SCHEMA.iter_errors(put(DEFAULTS, place, wrong)))
            assert complaints or (place[-1] in FREE | {"cpu", "memory"}), (place, wrong)
            for complaint in complaints:
                found = tuple(map(str, complaint.absolute_path))[: len(place)]
                assert found == place[: len(found)]
                assert found, place


def test_unknown_values_are_refused_at_every_level() -> None:
    """A misspelt name never does nothing."""

    def levels(value: Any, place: Path_) -> Iterator[Path_]:
        if isinstance(value, dict):
            yield place
            for name, below in value.items():
                yield from levels(below, (*place, name))

    for place in levels(DEFAULTS, ()):
        wrong = {"nested": [1]}
        [complaint, *_] = SCHEMA.iter_errors(put(DEFAULTS, (*place, "noSuch"), wrong))
        assert "noSuch" in f"{complaint.message} {list(complaint.absolute_path)}"
        if not FREE & set(place):
            assert not SCHEMA.is_valid(put(DEFAULTS, (*place, "noSuch"), "text")), place


@pytest.mark.parametrize("version", ["1.31.0", "1.32.9", "1.33.2", "1.34.1-eks-1", "1.35.0"])
def test_the_chart_is_for_these_versions(version: str, tmp_path: Path) -> None:
    """Also where a provider adds to the version's name."""
    code, said = render(tmp_path, EVERYTHING, f"--kube-version={version}")

    assert code == 0, said


@pytest.mark.parametrize("version", ["1.28.0", "1.30.9"])
def test_older_versions_are_refused_with_the_least_one(version: str, tmp_path: Path) -> None:
    """The complaint names both."""
    code, said = render(tmp_path, {}, f"--kube-version={version}")

    assert code != 0
    assert ">=1.31.0" in said
    assert version in said


def test_values_of_the_first_chart_are_enough(tmp_path: Path) -> None:
    """`helm upgrade --reuse-values` brings an older chart's values, without later defaults."""
    older = tmp_path / "taskloom"
    shutil.copytree(CHART, older)
    values = copy.deepcopy(DEFAULTS)
    del values["callers"], values["connectors"]["pool"], values["connectors"]["dedicated"]
    (older / "values.yaml").write_text(yaml.safe_dump(values))

    for file in VALUES:
        assert template(f"--values={file}") == template(f"--values={file}", chart=older)


def test_a_release_of_any_name_has_objects_of_good_names() -> None:
    """Dots are good in a release's name, and not in a Service's."""
    name = "my.release-of.a-name-that-is-rather-long-for.it"
    done = helm("template", name, str(CHART), f"--values={CHART / 'ci/everything-values.yaml'}")
    assert done.returncode == 0, done.stderr

    for each in documents(done.stdout):
        if each["kind"] not in ("CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"):
            assert "." not in each["metadata"]["name"]
        if each["kind"] == "Service":
            assert len(each["metadata"]["name"]) <= 63


def test_what_artifact_hub_shows_is_true() -> None:
    """The annotations are YAML, name every kind as it is, and the image that is rendered."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    shown = {
        name.partition("/")[2]: yaml.safe_load(text) for name, text in chart["annotations"].items()
    }
    objects = documents(template())
    crds = {each["metadata"]["name"]: each for each in of_kind(objects, "CustomResourceDefinition")}

    assert {each["name"] for each in shown["crds"]} == crds.keys()
    for each in shown["crds"]:
        spec = crds[each["name"]]["spec"]
        assert each["kind"] == spec["names"]["kind"]
        assert each["version"] in [version["name"] for version in spec["versions"]]
    [deployment] = of_kind(objects, "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert [each["image"] for each in shown["images"]] == [container["image"]]
    for link in shown["links"]:
        assert link["url"].startswith("https://")
    for example in shown["crdsExamples"]:
        assert example["kind"] in {each["kind"] for each in shown["crds"]}
