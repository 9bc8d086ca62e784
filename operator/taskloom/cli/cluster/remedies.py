"""What each reason means to the one who is woken by it, and what to do about it; pure."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from taskloom.cli.cluster.facts import Facts
from taskloom.cli.cluster.objects import near_names
from taskloom.cli.texts import age
from taskloom.domain.conditions import Reason
from taskloom.providers.kubernetes.objects import Body
from taskloom.resources.kinds import KINDS

Told = tuple[str, tuple[str, ...]]
"""What is the matter, and the commands that mend it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an object is, for commands about it."""

    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, body: Body) -> "Place":
        """Take it from an object."""
        metadata = body["metadata"]
        return cls(kind=body["kind"], namespace=metadata["namespace"], name=metadata["name"])

    @property
    def kubectl(self) -> str:
        """Name the object to kubectl."""
        return f"{self.kind.lower()}.taskloom.dev {self.name}"

    @property
    def shown(self) -> str:
        """Name the object to ``kubectl taskloom``."""
        return f"{self.kind.lower()}/{self.name}"

    @property
    def edit(self) -> str:
        """The command that edits it."""
        return f"kubectl -n {self.namespace} edit {self.kubectl}"

    @property
    def pods(self) -> str:
        """The command that lists the installation's pods."""
        return "kubectl get pods --all-namespaces -l app.kubernetes.io/name=taskloom"


def explain_reason(reason: str, message: str, place: Place, facts: Facts) -> Told:
    """Say what a reason means here."""
    explain = _REASONS.get(reason)
    if explain is None:
        return f"{reason}: {_sentence(message)}", (place.edit,)
    return explain(_sentence(message), place, facts)


def _invalid(message: str, place: Place, _facts: Facts) -> Told:
    field = re.match(r"(spec(?:\.\w+|\[\d+\])+)", message)
    path = "" if field is None else re.sub(r"\[\d+\]", "", field[1])
    explained = f"kubectl explain {place.kind.lower()}.{path or 'spec'}"
    return f"Its spec asks for what cannot be: {message}", (place.edit, explained)


def _reference(message: str, place: Place, _facts: Facts) -> Told:
    return f"Something that it refers to is missing: {message}", (place.edit,)


def _workflow(message: str, place: Place, facts: Facts) -> Told:
    wanted = str((facts.body.get("spec") or {}).get("workflowKey") or "")
    known = [
        str((body.get("status") or {}).get("externalIdentifier") or body["metadata"]["name"])
        for body in facts.neighbours
        if body["kind"] == "Workflow"
    ]
    near = near_names(wanted, known)
    text = f"No workflow has the key that it starts: {message}"
    if near:
        text += f" There is {' and '.join(near)}: is that meant?"
    return text, (place.edit, "kubectl taskloom get workflows --all-namespaces")


def _key_conflict(message: str, place: Place, _facts: Facts) -> Told:
    holder = re.search(r"belongs to (\w+)/([^/\s,]+)/([^/\s,]+)", message)
    if holder is None or holder[1] not in KINDS:
        return f"Another one has its key: {message}", (place.edit,)
    kind, namespace, name = holder.groups()
    return (
        (
            f"Two objects want one key, and the older one has it: {message} "
            "Give this one another key, or delete one of the two."
        ),
        (
            f"kubectl taskloom describe {kind.lower()}/{name} -n {namespace}",
            f"kubectl -n {place.namespace} delete {place.kubectl}",
        ),
    )


def _unsupported(message: str, place: Place, _facts: Facts) -> Told:
    return f"This installation does not do what it asks for: {message}", (place.edit,)


def _installation(message: str, place: Place, _facts: Facts) -> Told:
    return (
        (
            f"The installation is ill, not the object: {message} It is tried again until it works; "
            "what was in force before goes on."
        ),
        (place.pods, "taskloom doctor"),
    )


def _connect(message: str, place: Place, facts: Facts) -> Told:
    servers = _brokers(facts.body)
    at = f" at {servers}" if servers else ""
    return (
        (
            f"The broker{at} cannot be reached: {message} Look at its address, its network policy "
            "and its TLS; it is tried again meanwhile."
        ),
        (place.edit, place.pods),
    )


def _auth(message: str, place: Place, _facts: Facts) -> Told:
    return f"The broker does not accept the credentials: {message}", (place.edit,)


def _topic(message: str, place: Place, _facts: Facts) -> Told:
    return f"The broker has no such topic or queue: {message}", (place.edit,)


def _failing(message: str, place: Place, _facts: Facts) -> Told:
    return (
        (
            f"The receiver does not take what is sent to it: {message} It is tried again by the "
            "schedule; mend the receiver."
        ),
        (f"kubectl taskloom describe {place.shown} -n {place.namespace}",),
    )


def _disabled(message: str, place: Place, _facts: Facts) -> Told:
    return (
        (
            f"The receiver was given up, and nothing is sent to it any more: {message} When it is "
            "mended, change the URL or a header, or delete the object and apply it again."
        ),
        (
            place.edit,
            (
                f"kubectl -n {place.namespace} get {place.kubectl} -o yaml "
                "| kubectl replace --force -f -"
            ),
        ),
    )


_REASONS: Mapping[str, Callable[[str, Place, Facts], Told]] = {
    Reason.INVALID_SPEC: _invalid,
    Reason.SECRET_NOT_FOUND: _reference,
    Reason.CONFIG_MAP_NOT_FOUND: _reference,
    Reason.CLIENT_APP_NOT_FOUND: _reference,
    Reason.SERVICE_NOT_FOUND: _reference,
    Reason.WORKFLOW_NOT_FOUND: _workflow,
    Reason.KEY_CONFLICT: _key_conflict,
    Reason.UNSUPPORTED: _unsupported,
    Reason.DATABASE_UNAVAILABLE: _installation,
    Reason.ENGINE_UNAVAILABLE: _installation,
    Reason.CONNECT_FAILED: _connect,
    Reason.AUTH_FAILED: _auth,
    Reason.TOPIC_NOT_FOUND: _topic,
    Reason.ENDPOINT_FAILING: _failing,
    Reason.DISABLED_AFTER_FAILURES: _disabled,
}


def explain_unserved(message: str, place: Place, neighbours: Iterable[Body]) -> Told:
    """Say which topics nobody serves, and which Commands may have been meant."""
    topics = [topic.strip() for topic in message.partition(":")[2].split(",") if topic.strip()]
    served = [
        str((body.get("spec") or {}).get("topic"))
        for body in neighbours
        if body["kind"] == "Command"
    ]
    text = f"Its instances will wait: no command runs the topic {' or '.join(topics) or message}."
    near = [other for topic in topics for other in near_names(topic, served)]
    if near:
        text += f" There is a Command for {' and '.join(dict.fromkeys(near))}: is that meant?"
    return text, (
        f"kubectl -n {place.namespace} get commands.taskloom.dev",
        "kubectl explain command.spec",
    )


def delivery_trouble(body: Body, now: datetime) -> Told | None:
    """Say how deliveries fail, if the last one did."""
    delivery = (body.get("status") or {}).get("delivery") or {}
    failures = delivery.get("consecutiveFailures") or 0
    if not failures:
        return None
    place = Place.of(body)
    host = (body.get("status") or {}).get("host")
    text = f"The last {failures} deliveries" if failures > 1 else "The last delivery"
    text += f" to {host} failed" if host else " failed"
    if delivery.get("lastFailureTime"):
        text += f", {age(str(delivery['lastFailureTime']), now)} ago"
    code, error = delivery.get("lastStatusCode"), delivery.get("lastError")
    said = " ".join(str(part) for part in (f"HTTP {code}" if code else "", error or "") if part)
    text += f": {_sentence(said)}" if said else "."
    if delivery.get("pending"):
        text += f" {delivery['pending']} wait."
    if delivery.get("circuit") in {"Open", "HalfOpen"}:
        text += " Nothing is sent for a while (the circuit is open)."
    return text, (
        f"kubectl taskloom describe {place.shown} -n {place.namespace}",
        f"kubectl taskloom suspend {place.shown} -n {place.namespace}",
    )


def _brokers(body: Body) -> str:
    kafka = (body.get("spec") or {}).get("kafka") or {}
    return ", ".join(kafka.get("bootstrapServers") or ())


def _sentence(text: str) -> str:
    text = text.strip() or "no more is said"
    return text if text.endswith((".", "!", "?")) else f"{text}."
