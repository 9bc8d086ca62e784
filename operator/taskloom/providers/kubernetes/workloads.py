"""The pods that a dedicated source is given: decided here, from a template.

::

    source + template ─► Deployment [+ ScaledObject | HorizontalPodAutoscaler]
"""

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from taskloom.providers.kubernetes.objects import (
    AUTOSCALERS,
    DEPLOYMENTS,
    SCALED_OBJECTS,
    Body,
    ResourceType,
    metadata_of,
)
from taskloom.providers.kubernetes.pod_template import container_of
from taskloom.reconcilers.runners import SOURCE_LABEL
from taskloom.resources.event_source import Autoscaling, EventSourceSpec

SOURCE_ANNOTATION: Final = "taskloom.dev/source"
DIGEST_ANNOTATION: Final = "taskloom.dev/digest"
LABELS: Final[Mapping[str, str]] = {
    "app.kubernetes.io/component": "source",
    "app.kubernetes.io/managed-by": "taskloom",
}
"""Labels of all that is made for sources."""
_ENV: Final = "TASKLOOM_CONNECTOR_SOURCE"
_LONGEST_NAME = 27  # taskloom-source- and -xxxxxxxx around it make 52


@dataclass(frozen=True, slots=True, kw_only=True)
class Dedicated:
    """A source that has pods of its own; `home` is the namespace that they run in."""

    namespace: str
    name: str
    source_id: UUID
    spec: EventSourceSpec
    home: str

    @property
    def full_name(self) -> str:
        """Namespace and name as one text."""
        return f"{self.namespace}/{self.name}"

    @property
    def object_name(self) -> str:
        """The name of what is made for it: no two sources have the same."""
        digest = hashlib.sha256(self.full_name.encode()).hexdigest()[:8]
        short = self.name[:_LONGEST_NAME].replace(".", "-").rstrip("-")
        return f"taskloom-source-{short}-{digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The object in the same namespace that what is made goes with."""

    type: ResourceType
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """An object that is to be there."""

    type: ResourceType
    body: Body

    @property
    def name(self) -> str:
        """The object's name."""
        return str(metadata_of(self.body)["name"])

    @property
    def digest(self) -> str:
        """What tells one form of it from another."""
        return str(metadata_of(self.body)["annotations"][DIGEST_ANNOTATION])


def workloads_of(
    source: Dedicated, template: Body, *, has_keda: bool, owner: Owner | None = None
) -> tuple[Workload, ...]:
    """Say what a source is given; `has_keda` tells whether ScaledObjects are served."""
    scaling = autoscaling_of(source.spec)
    made = [Workload(type=DEPLOYMENTS, body=_deployment(source, template, owner))]
    if scaling is not None:
        type_ = SCALED_OBJECTS if has_keda else AUTOSCALERS
        spec = (
            _scaled_object(source, template, scaling) if has_keda else _autoscaler(source, scaling)
        )
        made.append(Workload(type=type_, body=_object(type_, source, {"spec": spec}, owner)))
    return tuple(made)


def autoscaling_of(spec: EventSourceSpec) -> Autoscaling | None:
    """Tell how the replicas follow the lag, if they do: only one of a schedule's runs anyway."""
    return None if spec.suspend or spec.cron is not None else spec.placement.autoscaling


def differs(wanted: Workload, live: Body, accepted: Any) -> bool:
    """Tell whether an object is not as it should be.

    `accepted` is `seen_of` it as the API server answered when it was applied: it spells some
    values otherwise, as quantities.
    """
    annotations = metadata_of(live).get("annotations") or {}
    if annotations.get(DIGEST_ANNOTATION) != wanted.digest:
        return True
    seen = seen_of(wanted, live)
    return seen not in (wanted.body, accepted)


def seen_of(wanted: Workload, live: Body) -> Any:
    """Give of an object what is ours to say; defaults and what others have added are left out."""
    return _project(live, wanted.body)


def owns_replicas(live: Body, manager: str) -> bool:
    """Tell whether a manager has applied the number of replicas of a Deployment."""
    return any(
        entry.get("manager") == manager
        and entry.get("operation") == "Apply"
        and "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
        for entry in metadata_of(live).get("managedFields") or ()
    )


def problem_of(live: Body) -> str | None:
    """Say what is wrong with a Deployment, if its controller does."""
    for condition in (live.get("status") or {}).get("conditions") or ():
        told = (condition.get("type"), condition.get("status"))
        if told in (("ReplicaFailure", "True"), ("Progressing", "False")):
            return str(condition.get("message") or condition.get("reason"))
    return None


def _deployment(source: Dedicated, template: Body, owner: Owner | None) -> Body:
    spec = copy.deepcopy(dict(template["spec"]))
    spec.pop("replicas", None)
    if source.spec.suspend:
        spec["replicas"] = 0
    elif autoscaling_of(source.spec) is None:
        spec["replicas"] = source.spec.placement.replicas
    labels = {SOURCE_LABEL: str(source.source_id)}
    spec["selector"] = {"matchLabels": labels}
    pod = spec["template"]
    metadata = dict(pod.get("metadata") or {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **LABELS, **labels}
    pod["metadata"] = metadata
    container = container_of(pod["spec"]["containers"])
    environment = [item for item in container.get("env") or () if item.get("name") != _ENV]
    container["env"] = [*environment, {"name": _ENV, "value": source.full_name}]
    return _object(DEPLOYMENTS, source, {"spec": spec}, owner, metadata_of(template))


def _scaled_object(source: Dedicated, template: Body, scaling: Autoscaling) -> dict[str, Any]:
    trigger, fewest = _trigger(source, scaling)
    container = container_of(template["spec"]["template"]["spec"]["containers"])
    return {
        "scaleTargetRef": {
            "apiVersion": DEPLOYMENTS.api_version,
            "kind": DEPLOYMENTS.kind,
            "name": source.object_name,
            "envSourceContainerName": container["name"],
        },
        "minReplicaCount": fewest,
        "maxReplicaCount": scaling.max_replicas,
        "triggers": [trigger],
    }


def _trigger(source: Dedicated, scaling: Autoscaling) -> tuple[dict[str, Any], int]:
    """Say what is measured, and the fewest replicas that it can be measured with.

    KEDA asks Kafka itself where that needs no credentials, which stay in the source's namespace.
    Of other sources it reads the lag that running pods report, so one of them has to run.
    """
    kafka = source.spec.kafka
    if kafka is None or kafka.sasl is not None or kafka.tls is not None:
        query = (
            "SELECT coalesce(sum(lag), 0) FROM source_states "  # noqa: S608 - a UUID of our own
            f"WHERE source_id = '{source.source_id}'"
        )
        metadata = {
            "connectionFromEnv": "TASKLOOM_DATABASE_URL",
            "query": query,
            "targetQueryValue": str(scaling.target_lag),
        }
        return {"type": "postgresql", "metadata": metadata}, max(1, scaling.min_replicas)
    metadata = {
        "bootstrapServers": ",".join(kafka.bootstrap_servers),
        "consumerGroup": kafka.consumer_group or f"taskloom.{source.namespace}.{source.name}",
        "lagThreshold": str(scaling.target_lag),
        "offsetResetPolicy": kafka.initial_offset.lower(),
    }
    if kafka.topics is not None and len(kafka.topics) == 1:
        metadata["topic"] = kafka.topics[0]
    return {"type": "kafka", "metadata": metadata}, scaling.min_replicas


def _autoscaler(source: Dedicated, scaling: Autoscaling) -> dict[str, Any]:
    return {
        "scaleTargetRef": {
            "apiVersion": DEPLOYMENTS.api_version,
            "kind": DEPLOYMENTS.kind,
            "name": source.object_name,
        },
        "minReplicas": max(1, scaling.min_replicas),
        "maxReplicas": scaling.max_replicas,
        "metrics": [
            {
                "type": "External",
                "external": {
                    "metric": {
                        "name": "taskloom_source_lag",
                        "selector": {"matchLabels": {"source_id": str(source.source_id)}},
                    },
                    "target": {"type": "AverageValue", "averageValue": str(scaling.target_lag)},
                },
            }
        ],
    }


def _object(
    type_: ResourceType,
    source: Dedicated,
    parts: Mapping[str, Any],
    owner: Owner | None,
    template: Mapping[str, Any] | None = None,
) -> Body:
    given = template or {}
    labels = {
        **(given.get("labels") or {}),
        **LABELS,
        SOURCE_LABEL: str(source.source_id),
    }
    annotations = {**(given.get("annotations") or {}), SOURCE_ANNOTATION: source.full_name}
    metadata: dict[str, Any] = {
        "name": source.object_name,
        "namespace": source.home,
        "labels": labels,
        "annotations": annotations,
    }
    if owner is not None:
        metadata["ownerReferences"] = [
            {
                "apiVersion": owner.type.api_version,
                "kind": owner.type.kind,
                "name": owner.name,
                "uid": owner.uid,
            }
        ]
    body = {
        "apiVersion": type_.api_version,
        "kind": type_.kind,
        "metadata": metadata,
        **parts,
    }
    text = json.dumps(body, sort_keys=True, default=str)
    annotations[DIGEST_ANNOTATION] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return body


def _project(live: Any, wanted: Any) -> Any:
    """Give of a value the parts that another has; items with names are found by them."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        return {name: _project(live.get(name), item) for name, item in wanted.items()}
    if isinstance(wanted, list) and isinstance(live, list):
        if wanted and all(isinstance(item, Mapping) and "name" in item for item in wanted):
            by_name = {item.get("name"): item for item in live if isinstance(item, Mapping)}
            return [_project(by_name.get(item["name"]), item) for item in wanted]
        if len(wanted) == len(live):
            return [_project(one, other) for one, other in zip(live, wanted, strict=True)]
    return live
