"""Command objects into commands rows."""

from collections.abc import Sequence
from functools import partial
from urllib.parse import urlsplit

from taskloom.domain.conditions import Reason
from taskloom.domain.secret import Secret
from taskloom.domain.sources import HttpCommand as Row
from taskloom.domain.webhooks import Target
from taskloom.errors import Invalid
from taskloom.flow.subscribe import host_of
from taskloom.reconcilers.desired import Desired, World
from taskloom.reconcilers.references import resolved_headers
from taskloom.reconcilers.settle import Plan, Unresolved, settle, want
from taskloom.reconcilers.verdict import Verdict, programmed
from taskloom.resources.command import Command
from taskloom.resources.fields import parse_duration


def plan_commands(world: World, rows: Sequence[Row], taken: frozenset[str]) -> Plan[Row]:
    """Decide; `taken` are the topics that commands in this process run."""

    def make(desired: Desired, command: Command) -> tuple[Row, Verdict]:
        spec = command.spec
        if spec.topic in taken:
            raise Invalid(
                f"an installed command runs `{spec.topic}` already: choose another topic",
                field="spec.topic",
            )
        url = _url(world, desired, command)
        row = Row(
            id=desired.id,
            topic=spec.topic,
            target=Target(
                url=Secret(url),
                headers=resolved_headers(world, desired.namespace, spec.http.headers),
            ),
            timeout_seconds=parse_duration(spec.http.timeout).total_seconds(),
            managed_by=desired.manager,
            created_on=desired.created_on,
        )
        fields = {"topic": spec.topic, "endpoint": url.partition("?")[0]}
        return row, programmed(desired, fields)

    return settle(
        world,
        [want(d, partial(make, d, c)) for d, c in world.of(Command)],
        rows,
        claim_of=lambda row: row.topic,
    )


def _url(world: World, desired: Desired, command: Command) -> str:
    http = command.spec.http
    if http.url is not None:
        host_of(http.url)
        return urlsplit(http.url)._replace(fragment="").geturl()
    service = http.service_ref
    if service is None or world.provider != "kubernetes":
        raise Unresolved(
            Reason.SERVICE_NOT_FOUND, "a `serviceRef` needs a cluster: give a `url` here"
        )
    return f"http://{service.name}.{desired.namespace}.svc:{service.port}{service.path}"
