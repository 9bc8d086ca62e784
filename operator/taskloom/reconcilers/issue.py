"""Generated credentials are read, made, rotated, and kept outside of the database first."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import structlog

from taskloom.domain.conditions import Reason
from taskloom.domain.secret import Secret
from taskloom.domain.webhooks import ClientApp as Client
from taskloom.errors import Conflict, Superseded, TaskloomError
from taskloom.flow.register_client import new_api_key, new_api_secret, new_signing_secret
from taskloom.reconcilers.client_apps import Credentials, choose_credentials, choose_rotated
from taskloom.reconcilers.credentials import CredentialStore
from taskloom.reconcilers.desired import Desired, World
from taskloom.reconcilers.event_sources import FormerValues
from taskloom.reconcilers.rotation import is_due, rotation_of
from taskloom.reconcilers.snapshot import DataObject, Key
from taskloom.reconcilers.verdict import Verdict, unavailable
from taskloom.resources.client_app import ClientApp

log = structlog.get_logger()

_AT_ONCE = 16


@dataclass(slots=True, kw_only=True)
class Issued:
    """The values of each object's generated credentials, by the names of its Secret's keys.

    `failed` tells of objects whose values are not known or not kept, `unrotated` why others could
    not be rotated.
    `remade` names the Secrets that were gone and were made again.
    """

    values: dict[Key, Mapping[str, Secret]] = field(default_factory=dict, repr=False)
    failed: dict[Key, Verdict] = field(default_factory=dict)
    unrotated: dict[Key, str] = field(default_factory=dict)
    remade: dict[Key, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One object, what the database knows of it, and where its credentials are kept."""

    world: World
    store: CredentialStore
    desired: Desired
    app: ClientApp
    row: Client | None
    tampered: bool

    @property
    def namespace(self) -> str:
        """The namespace of its Secret."""
        return self.desired.namespace

    @property
    def name(self) -> str:
        """The name of its Secret."""
        return self.app.spec.secret_name(self.desired.name)


def new_credentials() -> Credentials:
    """Make credentials that nobody has."""
    return Credentials(
        api_key=new_api_key(), api_secret=new_api_secret(), signing_secret=new_signing_secret()
    )


async def issue_credentials(
    world: World,
    store: CredentialStore,
    rows: Sequence[Client],
    now: datetime,
    make: Callable[[], Credentials] = new_credentials,
    *,
    tampered: frozenset[UUID] = frozenset(),
) -> Issued:
    """Read, make or rotate the generated credentials of every ClientApp.

    Nothing goes into the database that is not kept outside of it.
    Those whose rows were `tampered` with are not rotated: it could not be told what gives way.
    """
    present = {row.id: row for row in rows}
    issued = Issued()
    # Of two objects that name one Secret the older one makes it.
    waiting = iter(
        [
            _Case(
                world=world,
                store=store,
                desired=desired,
                app=app,
                row=present.get(desired.id),
                tampered=desired.id in tampered,
            )
            for desired, app in world.of(ClientApp)
            if app.spec.credentials.imported is None
        ]
    )
    locks: dict[str, asyncio.Lock] = {}

    async def work() -> None:
        for case in waiting:
            await asyncio.sleep(0)  # most need nothing that would be waited for
            async with locks.setdefault(f"{case.namespace}/{case.name}", asyncio.Lock()):
                await _issue(case, issued, now, make)

    workers = [asyncio.create_task(work()) for _ in range(_AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
    return issued


def with_issued(world: World, values: Mapping[Key, Mapping[str, Secret]]) -> World:
    """Give the world in which the Secrets of generated credentials hold these values.

    What else refers to them need not wait until somebody tells of them.
    """
    secrets = dict(world.secrets)
    for desired, app in world.of(ClientApp):
        name = (desired.namespace, app.spec.secret_name(desired.name))
        before = secrets.get(name)
        data = {} if before is None else before.data
        made = {
            key: value.reveal().encode("utf-8", "replace")
            for key, value in values.get(desired.key, {}).items()
        }
        if any(data.get(key) != value for key, value in made.items()):
            secrets[name] = DataObject(namespace=name[0], name=name[1], data={**data, **made})
    return replace(world, secrets=secrets)


def former_values(world: World, rows: Mapping[UUID, Client], now: datetime) -> FormerValues:
    """List the former secrets that are good still, by where the new ones are kept."""
    found = {}
    for desired, app in world.of(ClientApp):
        row = rows.get(desired.id)
        former = None if row is None else row.former_at(now)
        if former is None:
            continue
        place, keys = (desired.namespace, app.spec.secret_name(desired.name)), app.spec.keys()
        found[(*place, keys.api_secret)] = (former.api_secret, former.valid_until)
        found[(*place, keys.signing_secret)] = (former.signing_secret, former.valid_until)
    return found


async def _issue(
    case: _Case, issued: Issued, now: datetime, make: Callable[[], Credentials]
) -> None:
    desired, row = case.desired, case.row
    try:
        values = await _complete(case, make, issued)
    except Superseded:
        raise
    except TaskloomError as error:
        verdict = unavailable(desired, Reason.SECRET_NOT_FOUND, error.message)
        issued.failed[desired.key] = verdict
        return
    if row is not None and not case.tampered and is_due(row, rotation_of(case.app), now):
        try:
            values = await _rotate(case, row, values, make())
        except Superseded:
            raise
        except TaskloomError as error:
            issued.unrotated[desired.key] = error.message
    issued.values[desired.key] = values


async def _complete(
    case: _Case, make: Callable[[], Credentials], issued: Issued
) -> Mapping[str, Secret]:
    """Read what is kept, and keep what is not yet."""
    declared = case.world.secrets.get((case.namespace, case.name))
    adopted = {} if declared is None else _texts(declared.data)
    kept = dict(await case.store.read(case.namespace, case.name)) | adopted
    keys = case.app.spec.keys()
    names = (keys.api_key, keys.api_secret, keys.signing_secret)
    if all(kept.get(name) for name in names):
        return {name: kept[name] for name in names}
    values = choose_credentials(case.app, kept, case.row, make())
    missing = {key: value for key, value in values.items() if not kept.get(key)}
    if missing:
        values |= await case.store.write(case.namespace, case.name, missing)
        if case.row is not None and not any(kept.values()):
            issued.remade[case.desired.key] = case.name
    return values


async def _rotate(
    case: _Case, row: Client, values: Mapping[str, Secret], fresh: Credentials
) -> Mapping[str, Secret]:
    """Put new secrets in the place of those in force; what differs from these is new already."""
    former, new = choose_rotated(case.app, row, values, fresh)
    if not former:
        return values
    if case.world.provider == "file" and (case.namespace, case.name) in case.world.secrets:
        raise Conflict(
            f"the Secret {case.namespace}/{case.name} is declared in a file: "
            "change its values there"
        )
    return {**values, **await case.store.replace(case.namespace, case.name, former, new)}


def _texts(data: Mapping[str, bytes]) -> dict[str, Secret]:
    return {
        key: Secret(value.decode("utf-8", "replace").removesuffix("\n"))
        for key, value in data.items()
        if value
    }
