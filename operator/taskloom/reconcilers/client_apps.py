"""ClientApp objects into client_apps rows."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import UUID

from taskloom.domain.conditions import Reason, timestamp
from taskloom.domain.secret import Secret
from taskloom.domain.signing import check_signing_secret
from taskloom.domain.webhooks import ClientApp as Client
from taskloom.errors import Invalid
from taskloom.reconcilers.desired import Desired, World
from taskloom.reconcilers.references import secret_text
from taskloom.reconcilers.rotation import (
    Rotation,
    issue,
    issued_at,
    moments,
    next_rotation,
    rotation_of,
)
from taskloom.reconcilers.settle import Plan, Unresolved, settle, want
from taskloom.reconcilers.snapshot import Key
from taskloom.reconcilers.verdict import Verdict, degraded, programmed
from taskloom.resources.client_app import ClientApp


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a client shows and signs with."""

    api_key: str
    api_secret: Secret
    signing_secret: Secret


def choose_credentials(
    app: ClientApp,
    kept: Mapping[str, Secret],
    present: Client | None,
    fresh: Credentials,
) -> dict[str, Secret]:
    """Choose the values of generated credentials, by the names of the Secret's keys.

    What the Secret holds is adopted, else what the database knows, else made anew.
    """
    keys = app.spec.keys()
    known = {
        keys.api_key: Secret(present.api_key if present else fresh.api_key),
        # A secret that cannot be read any more is empty.
        keys.api_secret: (present and present.api_secret) or fresh.api_secret,
        keys.signing_secret: (present and present.signing_secret) or fresh.signing_secret,
    }
    return {name: kept.get(name) or value for name, value in known.items()}


def choose_rotated(
    app: ClientApp, present: Client, values: Mapping[str, Secret], fresh: Credentials
) -> tuple[dict[str, Secret], dict[str, Secret]]:
    """Choose what gives way in a rotation that is due, and what comes instead.

    A value that is not the one in force is new already: an interrupted rotation, or somebody's
    hand, left it there.
    """
    keys = app.spec.keys()
    in_force = {
        keys.api_secret: (present.api_secret, fresh.api_secret),
        keys.signing_secret: (present.signing_secret, fresh.signing_secret),
    }
    giving_way = {key: pair for key, pair in in_force.items() if values[key] == pair[0]}
    return (
        {key: former for key, (former, _) in giving_way.items()},
        {key: new for key, (_, new) in giving_way.items()},
    )


def read_imported(world: World, desired: Desired, app: ClientApp) -> dict[str, Secret]:
    """Read imported credentials from their Secret; a signing secret may be derived."""
    keys = app.spec.keys()
    name = app.spec.secret_name(desired.name)
    values = {
        key: secret_text(world, desired.namespace, name, key)
        for key in (keys.api_key, keys.api_secret)
    }
    secret = world.secrets[desired.namespace, name]
    if keys.signing_secret in secret.data:
        values[keys.signing_secret] = secret_text(
            world, desired.namespace, name, keys.signing_secret
        )
    else:
        digest = hashlib.sha256(values[keys.api_secret].reveal().encode()).digest()
        values[keys.signing_secret] = Secret("whsec_" + base64.b64encode(digest).decode())
    return values


def plan_client_apps(
    world: World,
    rows: Sequence[Client],
    generated: Mapping[Key, Mapping[str, Secret]],
    now: datetime,
    *,
    unrotated: Mapping[Key, str] = MappingProxyType({}),
    tampered: frozenset[UUID] = frozenset(),
) -> Plan[Client]:
    """Decide; `generated` holds the values of each object's generated credentials.

    `unrotated` says why some could not be rotated, `tampered` which rows another has changed
    although a rotation is due.
    Former secrets whose time is over go, whoever manages their client.
    """
    present = {row.id: row for row in rows}

    def make(desired: Desired, app: ClientApp) -> tuple[Client, Verdict]:
        imported = app.spec.credentials.imported is not None
        values = read_imported(world, desired, app) if imported else generated.get(desired.key, {})
        credentials = _credentials(app, desired, values)
        rotation = rotation_of(app)
        issued = issue(
            present.get(desired.id),
            rotation,
            api_secret=credentials.api_secret,
            signing_secret=credentials.signing_secret,
            now=now,
            tampered=desired.id in tampered,
        )
        row = Client(
            id=desired.id,
            name=app.spec.display_name or desired.name,
            api_key=credentials.api_key,
            api_secret=credentials.api_secret,
            signing_secret=credentials.signing_secret,
            scopes=app.spec.scopes,
            suspended=app.spec.suspend,
            managed_by=desired.manager,
            created_on=desired.created_on,
            revision=issued.revision,
            issued_at=issued.issued_at,
            former=issued.former,
        )
        return row, _verdict(desired, app, row, rotation, unrotated.get(desired.key))

    plan = settle(
        world,
        [want(d, partial(make, d, a)) for d, a in world.of(ClientApp)],
        rows,
        claim_of=lambda row: row.api_key,
        cascades=True,
        exchange=True,
    )
    settled = {row.id for row in (*plan.put, *plan.remove)}
    wiped = [
        replace(row, former=None)
        for row in rows
        if row.id not in settled and row.former is not None and row.former_at(now) is None
    ]
    return replace(plan, put=(*plan.put, *wiped))


def client_moments(world: World, rows: Mapping[UUID, Client]) -> list[datetime]:
    """List when something of a client changes by time alone."""
    rotations = {desired.id: rotation_of(app) for desired, app in world.of(ClientApp)}
    return [at for row in rows.values() for at in moments(row, rotations.get(row.id))]


def _credentials(app: ClientApp, desired: Desired, values: Mapping[str, Secret]) -> Credentials:
    keys = app.spec.keys()
    name = app.spec.secret_name(desired.name)
    for key in (keys.api_key, keys.api_secret, keys.signing_secret):
        if key not in values:
            message = f"the credentials {desired.namespace}/{name} have no `{key}`"
            raise Unresolved(Reason.SECRET_NOT_FOUND, message)
    for key in (keys.api_key, keys.api_secret):
        text = values[key].reveal()
        if not (text.isascii() and text.isprintable() and text == text.strip() and text):
            message = f"`{key}` of {desired.namespace}/{name} must be printable ASCII, as a header"
            raise Unresolved(Reason.SECRET_NOT_FOUND, message)
    try:
        check_signing_secret(values[keys.signing_secret])
    except Invalid as error:
        message = f"`{keys.signing_secret}` of {desired.namespace}/{name}: {error.message}"
        raise Unresolved(Reason.SECRET_NOT_FOUND, message) from None
    return Credentials(
        api_key=values[keys.api_key].reveal(),
        api_secret=values[keys.api_secret],
        signing_secret=values[keys.signing_secret],
    )


def _verdict(
    desired: Desired, app: ClientApp, row: Client, rotation: Rotation | None, unrotated: str | None
) -> Verdict:
    secret_name = app.spec.secret_name(desired.name)
    fields = {
        "clientId": str(row.id),
        "apiKey": row.api_key,
        "binding": {"name": secret_name},
        "credentials": {"secretRef": {"name": secret_name}, **_times(row, rotation)},
    }
    more = () if unrotated is None else (degraded(desired, Reason.ROTATION_FAILED, unrotated),)
    return programmed(desired, fields, suspended=app.spec.suspend, more=more)


def _times(row: Client, rotation: Rotation | None) -> dict[str, Any]:
    """Tell of the secrets in force; times are rounded to whole seconds, never too late."""
    told: dict[str, Any] = {"issuedAt": timestamp(issued_at(row))}
    if rotation is not None:
        told["revision"] = row.revision
    if row.former is not None:
        told["previousValidUntil"] = timestamp(row.former.valid_until)
    again = next_rotation(row, rotation)
    if again is not None:
        told["nextRotationTime"] = timestamp(again)
    return told
