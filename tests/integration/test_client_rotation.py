"""A rotation from a folder to callers and receivers, on the real store."""

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from taskloom.delivery.dispatch import DeliveryQueue, Dispatcher
from taskloom.domain.egress import STANDALONE
from taskloom.domain.secret import Secret
from taskloom.domain.signing import verify_standard_webhooks_signature, verify_task_signature
from taskloom.domain.webhooks import ClientApp as Client
from taskloom.engines.embedded.engine import EmbeddedEngine
from taskloom.errors import Unauthenticated
from taskloom.flow.publish import publish
from taskloom.flow.services import Services
from taskloom.flow.subscribe import authenticate_client
from taskloom.outbox.relay import JobQueue, Relay
from taskloom.ports.sender import OutgoingRequest
from taskloom.providers.files.credentials import CredentialFiles
from taskloom.providers.files.follow import follow_folder
from taskloom.providers.files.read import read_folder
from taskloom.reconcilers.drift import Applied
from taskloom.reconcilers.reconcile import Report, reconcile
from taskloom.reconcilers.snapshot import Snapshot
from taskloom.store.database import Database
from taskloom.testing.sender import FakeSender

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)
LEASE = timedelta(seconds=30)


class Bench:
    """A folder with one client and its subscription, and a clock that is set by hand."""

    def __init__(self, database: Database, tmp_path: Path) -> None:
        self.now = NOW
        self.folder, self.data_dir = tmp_path / "files", tmp_path / "data"
        self.folder.mkdir()
        self.sender = FakeSender()
        self.applied = Applied()
        self.services = Services(
            tasks=database,
            workflows=database,
            engine=EmbeddedEngine(database, now=lambda: self.now),
            now=lambda: self.now,
        )
        self.deliveries = DeliveryQueue(database)
        self.dispatcher = Dispatcher(
            database,
            self.deliveries,
            self.sender,
            STANDALONE,
            now=lambda: self.now,
            version="test",
        )

    async def declare(self, rotation: str, more: str = "") -> Report:
        """Write the folder and reconcile it."""
        (self.folder / "all.yaml").write_text(
            "apiVersion: taskloom.dev/v1alpha1\nkind: ClientApp\nmetadata: {name: till}\n"
            f"spec: {{credentials: {{generated: {{rotation: {rotation}}}}}}}\n"
            "---\napiVersion: taskloom.dev/v1alpha1\nkind: WebhookSubscription\n"
            "metadata: {name: hook}\nspec: {clientAppRef: {name: till}, eventKeys: ['*'], "
            "url: 'http://127.0.0.1:9/hook'}\n" + more
        )
        return await self.reconcile(read_folder(self.folder))

    async def reconcile(self, snapshot: Snapshot) -> Report:
        """Reconcile a snapshot, as the same process does again and again."""
        return await reconcile(
            self.services,
            snapshot,
            credentials=CredentialFiles(self.data_dir),
            topics=frozenset(),
            applied=self.applied,
        )

    async def client(self) -> Client:
        """Read the client's row."""
        async with self.services.tasks.begin() as tx:
            (client,) = await tx.webhooks.client_apps()
        return client

    def kept(self, key: str) -> Secret:
        """Read a credential's file."""
        path = self.data_dir / "credentials/default/till-credentials" / key
        return Secret(path.read_text())

    async def logs_in(self, secret: Secret) -> bool:
        """Tell whether the client's key and a secret authenticate."""
        try:
            await authenticate_client(self.services, (await self.client()).api_key, secret.reveal())
        except Unauthenticated:
            return False
        return True

    async def tell(self) -> OutgoingRequest:
        """Publish an event, and give the call that tells of it."""
        async with self.services.tasks.begin() as tx:
            await publish(self.services, tx, "task-created", {"n": 1})
        for job in await JobQueue(self.services.tasks).claim(10, LEASE):
            await Relay(self.services).run(job)
        (item,) = await self.deliveries.claim(10, LEASE)
        await self.dispatcher.run(item)
        return self.sender.requests[-1]


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    """Build a bench on a fresh database."""
    return Bench(database, tmp_path)


def signers(request: OutgoingRequest, secrets: Sequence[Secret], now: datetime) -> list[int]:
    """Say which signing secrets verify a call, by their places."""
    return [
        place
        for place, secret in enumerate(secrets)
        if verify_standard_webhooks_signature(
            secret,
            request.body,
            signature=request.headers["webhook-signature"],
            message_id=request.headers["webhook-id"],
            timestamp_s=request.headers["webhook-timestamp"],
            now_s=int(now.timestamp()),
        )
    ]


async def test_both_secrets_are_good_until_the_overlap_ends(bench: Bench) -> None:
    """Callers log in and receivers verify with either; then the former is refused and wiped."""
    await bench.declare("{}")
    old = await bench.client()
    await bench.tell()  # the dispatcher knows the client as it was
    bench.now += DAY
    report = await bench.declare("{revision: 1, overlap: 1h}")
    new = await bench.client()

    assert (new.api_secret, new.signing_secret) == (
        bench.kept("apiSecret"),
        bench.kept("signingSecret"),
    )
    assert bench.now + timedelta(hours=1) == report.due
    assert [True, True, False] == [
        await bench.logs_in(secret)
        for secret in (new.api_secret, old.api_secret, Secret("neither"))
    ]
    both = [new.signing_secret, old.signing_secret]
    request = await bench.tell()
    assert [0, 1] == signers(request, both, bench.now)
    for secret, header in (
        (new.api_secret, "x-task-signature"),
        (old.api_secret, "x-task-signature-alternate"),
    ):
        assert verify_task_signature(
            secret,
            request.body,
            signature=request.headers[header],
            timestamp_ms=request.headers["x-task-timestamp"],
            now_ms=int(bench.now.timestamp() * 1000),
        )

    bench.now += timedelta(hours=1)  # and nobody reconciles

    assert [True, False] == [
        await bench.logs_in(secret) for secret in (new.api_secret, old.api_secret)
    ]
    request = await bench.tell()
    assert [0] == signers(request, both, bench.now)
    assert "x-task-signature-alternate" not in request.headers
    report = await bench.reconcile(read_folder(bench.folder))
    assert (await bench.client()).former is None
    assert report.due is None


@pytest.mark.parametrize("tampered", ["another secret", "nothing that can be read"])
async def test_a_secret_put_into_the_row_by_hand_is_never_good_again(
    bench: Bench, tampered: str
) -> None:
    """A rotation that is due waits until it is mended; then what was kept is the former one."""
    await bench.declare("{}")
    old = await bench.client()
    async with bench.services.tasks.begin() as tx:
        if tampered == "another secret":
            await tx.webhooks.put_client(replace(old, api_secret=Secret("by hand")))
        else:
            await tx.connection.execute(text("UPDATE client_apps SET secrets = 'by hand'"))

    assert (await bench.declare("{revision: 1, overlap: 1h}")).retry
    assert old.api_secrets(bench.now) == (await bench.client()).api_secrets(bench.now)
    await bench.declare("{revision: 1, overlap: 1h}")

    new = await bench.client()
    assert new.api_secret != old.api_secret
    assert (new.api_secret, old.api_secret) == new.api_secrets(bench.now)
    assert new.api_secret == bench.kept("apiSecret")
    assert [True, False, False] == [
        await bench.logs_in(secret) for secret in (old.api_secret, Secret("by hand"), Secret(""))
    ]


async def test_what_can_be_read_nowhere_any_more_is_made_anew(bench: Bench) -> None:
    """The Secret is gone, and the row holds none either."""
    await bench.declare("{}")
    shutil.rmtree(bench.data_dir)
    async with bench.services.tasks.begin() as tx:
        await tx.connection.execute(text("UPDATE client_apps SET secrets = 'by hand'"))

    await bench.declare("{}")

    assert (await bench.client()).api_secret == bench.kept("apiSecret")
    assert await bench.logs_in(bench.kept("apiSecret"))
    assert not await bench.logs_in(Secret(""))


async def test_a_folder_that_does_not_change_is_rotated_by_time(bench: Bench) -> None:
    """The follower wakes when an interval is over, and when an overlap is."""
    await bench.declare("{interval: 2s, overlap: 1s}")
    first = await bench.client()
    real = asyncio.get_running_loop().time
    begin = real()
    rotated = asyncio.Event()

    def now() -> datetime:
        return NOW + timedelta(seconds=1.9 + real() - begin)

    async def attempt(snapshot: Snapshot) -> Report:
        bench.now = now()
        report = await bench.reconcile(snapshot)
        if (await bench.client()).api_secret != first.api_secret:
            rotated.set()
        return report

    stop = asyncio.Event()
    following = asyncio.create_task(
        follow_folder(bench.folder, attempt, stop, resync_seconds=60, now=now)
    )
    await asyncio.wait_for(rotated.wait(), 10)
    stop.set()
    following.cancel()
    await asyncio.wait([following])

    assert first.api_secret == (await bench.client()).api_secrets(bench.now)[1]


async def test_the_database_forgets_what_a_retained_client_had_before(bench: Bench) -> None:
    """Former secrets are wiped also where nobody declares their client any more."""
    await bench.declare("{}")
    await bench.declare("{revision: 1, overlap: 1h}")
    (bench.folder / "all.yaml").write_text(
        (bench.folder / "all.yaml")
        .read_text()
        .replace("spec: {cred", "spec: {deletionPolicy: Retain, cred")
    )
    await bench.reconcile(read_folder(bench.folder))
    (bench.folder / "all.yaml").unlink()
    await bench.reconcile(read_folder(bench.folder))
    assert (await bench.client()).former is not None

    bench.now += timedelta(hours=1)
    await bench.reconcile(read_folder(bench.folder))

    assert (await bench.client()).former is None


async def test_a_source_whose_senders_sign_takes_both_secrets(bench: Bench) -> None:
    """What refers to generated credentials has the new ones at once, and senders the overlap."""
    source = (
        "---\napiVersion: taskloom.dev/v1alpha1\nkind: EventSource\nmetadata: {name: in}\n"
        "spec: {http: {path: /in, auth: {hmac: {secretKeyRef: "
        "{name: till-credentials, key: apiSecret}}}}}\n"
    )
    await bench.declare("{}", source)
    old = (await bench.client()).api_secret
    async with bench.services.tasks.begin() as tx:
        (row,) = await tx.sources.all()
    assert (old,) == row.hmac_secrets(bench.now)

    report = await bench.declare("{revision: 1, overlap: 1h}", source)
    new = (await bench.client()).api_secret
    async with bench.services.tasks.begin() as tx:
        (row,) = await tx.sources.all()

    assert (new, old) == row.hmac_secrets(bench.now)
    assert (new,) == row.hmac_secrets(bench.now + timedelta(hours=1))
    assert bench.now + timedelta(hours=1) == report.due

    bench.now += timedelta(hours=1)
    await bench.reconcile(read_folder(bench.folder))
    async with bench.services.tasks.begin() as tx:
        (row,) = await tx.sources.all()
    assert {"hmac": new} == dict(row.secrets)
