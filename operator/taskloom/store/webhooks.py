"""Client apps and webhook subscriptions; what may hold a secret is sealed on the way in."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Table, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from taskloom.domain.deliveries import DeliveryState
from taskloom.domain.secret import Secret
from taskloom.domain.webhooks import ClientApp, DeliveryOptions, FormerSecrets, Subscription, Target
from taskloom.store.driver import as_parameter, batches, read_rows, run
from taskloom.store.lenient import NO_TARGET, UNREADABLE, read_or
from taskloom.store.sealing import Sealer
from taskloom.store.tables import (
    client_apps,
    deliveries,
    delivery_health,
    webhook_subscriptions,
)
from taskloom.store.targets import json_to_target, target_to_json

_NO_CREDENTIALS = {"api_secret": "", "signing_secret": ""}
_NO_DELIVERY = DeliveryOptions(timeout_seconds=-1)
_FREE_KEYS = """
UPDATE client_apps AS c SET api_key = '(moving) ' || c.id
FROM jsonb_to_recordset(%s::jsonb) AS w (id uuid, api_key text)
WHERE c.id = w.id AND c.api_key <> w.api_key
"""


class Webhooks:
    """The client_apps and webhook_subscriptions tables."""

    def __init__(self, connection: AsyncConnection, sealer: Sealer) -> None:
        self._connection = connection
        self._sealer = sealer

    async def client_apps(self) -> list[ClientApp]:
        """List every client app, oldest first.

        Of one that cannot be read as a whole the secrets are empty, and the scopes none there are.
        """
        statement = select(client_apps).order_by(client_apps.c.created_on, client_apps.c.id)
        return await read_rows(self._connection, statement, self._row_to_any_client)

    async def client_by_key(self, api_key: str) -> ClientApp | None:
        """Find a client app by its API key."""
        result = await self._connection.execute(
            select(client_apps).where(client_apps.c.api_key == api_key)
        )
        row = result.first()
        return None if row is None else self._row_to_client(row)

    async def put_client(self, client: ClientApp) -> None:
        """Insert a client app, or replace the one with its id."""
        await self.put_clients([client])

    async def put_clients(self, clients: Sequence[ClientApp]) -> None:
        """Insert client apps, or replace those with their ids; they may exchange their keys."""
        if len(clients) > 1:
            keys = [{"id": client.id, "api_key": client.api_key} for client in clients]
            await run(self._connection, _FREE_KEYS, (as_parameter(keys),))
        for batch in batches(clients):
            await self._put(client_apps, [self._client_to_row(client) for client in batch])

    def _client_to_row(self, client: ClientApp) -> dict[str, Any]:
        secrets = {
            "api_secret": client.api_secret.reveal(),
            "signing_secret": client.signing_secret.reveal(),
        }
        former = client.former
        if former is not None:
            secrets["former_api_secret"] = former.api_secret.reveal()
            secrets["former_signing_secret"] = former.signing_secret.reveal()
        return {
            "id": client.id,
            "name": client.name,
            "api_key": client.api_key,
            "secrets": self._sealer.seal(secrets),
            "scopes": msgspec.json.encode(client.scopes).decode(),
            "suspended": client.suspended,
            "revision": client.revision,
            "issued_at": client.issued_at,
            "former_valid_until": None if former is None else former.valid_until,
            "managed_by": client.managed_by,
        }

    async def _put(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        statement = insert(table)
        changes = {name: statement.excluded[name] for name in rows[0] if name != "id"}
        await self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=["id"], set_={**changes, "modified_on": func.clock_timestamp()}
            ),
            rows,
        )

    async def client_ids(self) -> frozenset[UUID]:
        """List the ids of all client apps."""
        result = await self._connection.execute(select(client_apps.c.id))
        return frozenset(result.scalars())

    async def remove_client(self, client_id: UUID) -> None:
        """Delete a client app and, with it, its subscriptions and what was to be delivered."""
        result = await self._connection.execute(
            select(webhook_subscriptions.c.id).where(webhook_subscriptions.c.client_id == client_id)
        )
        subscriptions = list(result.scalars())
        await self._connection.execute(delete(client_apps).where(client_apps.c.id == client_id))
        await self._give_up(subscriptions)
        await self._forget_health(subscriptions)

    async def subscriptions(self) -> list[Subscription]:
        """List every subscription, oldest first.

        Of one that cannot be read as a whole the target is empty, and the options are impossible.
        """
        statement = select(webhook_subscriptions).order_by(
            webhook_subscriptions.c.created_on, webhook_subscriptions.c.id
        )
        return await read_rows(self._connection, statement, self._row_to_any_subscription)

    async def interests(self) -> list[tuple[UUID, tuple[str, ...], str | None]]:
        """List what subscriptions want: id, globs of event keys, filter.

        Suspended ones are among them: what they missed is sent when they resume.
        """
        rows = await run(
            self._connection,
            "SELECT id, event_keys, filter FROM webhook_subscriptions WHERE disabled_at IS NULL",
        )
        return [
            (row.id, msgspec.json.decode(row.event_keys, type=tuple[str, ...]), row.filter)
            for row in rows
        ]

    async def put_subscription(self, subscription: Subscription) -> None:
        """Insert a subscription, or replace the one with its id."""
        await self.put_subscriptions([subscription])

    async def put_subscriptions(self, subscriptions: Sequence[Subscription]) -> None:
        """Insert subscriptions, or replace those with their ids."""
        for batch in batches(subscriptions):
            rows = [self._subscription_to_row(subscription) for subscription in batch]
            await self._put(webhook_subscriptions, rows)

    def _subscription_to_row(self, subscription: Subscription) -> dict[str, Any]:
        return {
            "id": subscription.id,
            "client_id": subscription.client_id,
            "event_keys": msgspec.json.encode(subscription.event_keys).decode(),
            "filter": subscription.filter,
            "target": self._sealer.seal(target_to_json(subscription.target)),
            "host": subscription.host,
            "scheme": subscription.scheme,
            "delivery": msgspec.json.encode(subscription.delivery).decode(),
            "suspended": subscription.suspended,
            "disabled_at": subscription.disabled_at,
            "disabled_reason": subscription.disabled_reason,
            "managed_by": subscription.managed_by,
        }

    async def subscriptions_by_ids(
        self, ids: Collection[UUID]
    ) -> dict[UUID, tuple[Subscription, ClientApp]]:
        """Look some up with their client apps, by id."""
        rows = await self._connection.execute(
            select(webhook_subscriptions).where(webhook_subscriptions.c.id.in_(ids))
        )
        found = [self._row_to_subscription(row) for row in rows]
        owners = {subscription.client_id for subscription in found}
        rows = await self._connection.execute(
            select(client_apps).where(client_apps.c.id.in_(owners))
        )
        clients = {row.id: self._row_to_client(row) for row in rows}
        return {s.id: (s, clients[s.client_id]) for s in found if s.client_id in clients}

    async def remove_subscription(self, subscription_id: UUID) -> None:
        """Delete a subscription; what was still to be delivered to it is given up."""
        await self._connection.execute(
            delete(webhook_subscriptions).where(webhook_subscriptions.c.id == subscription_id)
        )
        await self._give_up([subscription_id])
        await self._forget_health([subscription_id])

    async def pause_subscription(self, subscription_id: UUID, until: datetime) -> None:
        """Send nothing to a subscription until then; what waits, waits."""
        await self._connection.execute(
            update(webhook_subscriptions)
            .where(webhook_subscriptions.c.id == subscription_id)
            .values(paused_until=until)
        )

    async def disable_subscription(self, subscription_id: UUID, reason: str) -> None:
        """Stop delivering to a subscription, keep why, and give up what was still to go there."""
        await self._connection.execute(
            update(webhook_subscriptions)
            .where(
                webhook_subscriptions.c.id == subscription_id,
                webhook_subscriptions.c.disabled_at.is_(None),
            )
            .values(
                disabled_at=func.now(),
                disabled_reason=reason,
                modified_on=func.clock_timestamp(),
            )
        )
        await self._give_up([subscription_id])

    async def _give_up(self, subscription_ids: Sequence[UUID]) -> None:
        await self._connection.execute(
            update(deliveries)
            .where(
                deliveries.c.subscription_id.in_(subscription_ids),
                deliveries.c.state == DeliveryState.PENDING,
            )
            .values(state=DeliveryState.DEAD, finished_at=func.now(), leased_until=None)
        )

    async def _forget_health(self, subscription_ids: Sequence[UUID]) -> None:
        await self._connection.execute(
            delete(delivery_health).where(delivery_health.c.subscription_id.in_(subscription_ids))
        )

    def _row_to_any_client(self, row: Any) -> ClientApp:
        unread = partial(self._client_of, row, secrets=_NO_CREDENTIALS, scopes=(UNREADABLE,))
        return read_or(None, partial(self._row_to_client, row)) or unread()

    def _row_to_client(self, row: Any) -> ClientApp:
        return self._client_of(
            row,
            secrets=self._sealer.open(row.secrets),
            scopes=msgspec.json.decode(row.scopes, type=tuple[str, ...]),
        )

    def _client_of(
        self, row: Any, *, secrets: Mapping[str, str], scopes: tuple[str, ...]
    ) -> ClientApp:
        former = None
        if row.former_valid_until is not None and "former_api_secret" in secrets:
            former = FormerSecrets(
                api_secret=Secret(secrets["former_api_secret"]),
                signing_secret=Secret(secrets["former_signing_secret"]),
                valid_until=row.former_valid_until,
            )
        return ClientApp(
            id=row.id,
            name=row.name,
            api_key=row.api_key,
            api_secret=Secret(secrets["api_secret"]),
            signing_secret=Secret(secrets["signing_secret"]),
            scopes=scopes,
            suspended=row.suspended,
            managed_by=row.managed_by,
            created_on=row.created_on,
            revision=row.revision,
            issued_at=row.issued_at,
            former=former,
        )

    def _row_to_any_subscription(self, row: Any) -> Subscription:
        unread = partial(
            self._subscription_of,
            row,
            event_keys=(UNREADABLE,),
            target=NO_TARGET,
            delivery=_NO_DELIVERY,
        )
        return read_or(None, partial(self._row_to_subscription, row)) or unread()

    def _row_to_subscription(self, row: Any) -> Subscription:
        return self._subscription_of(
            row,
            event_keys=msgspec.json.decode(row.event_keys, type=tuple[str, ...]),
            target=json_to_target(self._sealer.open(row.target)),
            delivery=msgspec.json.decode(row.delivery, type=DeliveryOptions),
        )

    def _subscription_of(
        self, row: Any, *, event_keys: tuple[str, ...], target: Target, delivery: DeliveryOptions
    ) -> Subscription:
        return Subscription(
            id=row.id,
            client_id=row.client_id,
            event_keys=event_keys,
            filter=row.filter,
            target=target,
            host=row.host,
            scheme=row.scheme,
            delivery=delivery,
            suspended=row.suspended,
            disabled_at=row.disabled_at,
            disabled_reason=row.disabled_reason,
            managed_by=row.managed_by,
            created_on=row.created_on,
        )
