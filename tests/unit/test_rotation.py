"""Secrets of client apps are made anew: when, what stays good, and what an interruption leaves."""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskloom.domain.conditions import ConditionType
from taskloom.domain.secret import Secret
from taskloom.domain.signing import make_signing_secret
from taskloom.domain.webhooks import ClientApp as Client
from taskloom.errors import Forbidden
from taskloom.reconcilers.client_apps import Credentials, client_moments, plan_client_apps
from taskloom.reconcilers.desired import Desired, World
from taskloom.reconcilers.issue import issue_credentials
from taskloom.reconcilers.snapshot import DataObject
from taskloom.reconcilers.verdict import Verdict
from taskloom.resources.client_app import ClientApp

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
KEY = ("ClientApp", "shop", "till")


class Crash(BaseException):
    """The process ends here."""


@dataclass
class Store:
    """A Secret that is written key by key, by a process that may end in between."""

    data: dict[str, Secret] = field(default_factory=dict)
    writes_left: int = 1000
    refuses: bool = False

    async def read(self, namespace: str, name: str) -> Mapping[str, Secret]:
        """Give what there is."""
        assert (namespace, name) == ("shop", "till-credentials")
        return dict(self.data)

    async def write(
        self, namespace: str, name: str, values: Mapping[str, Secret]
    ) -> Mapping[str, Secret]:
        """Add what is missing."""
        assert (namespace, name) == ("shop", "till-credentials")
        for key, value in values.items():
            self._put(key, self.data.get(key, value))
        return {key: self.data[key] for key in values}

    async def replace(
        self,
        namespace: str,
        name: str,
        former: Mapping[str, Secret],
        values: Mapping[str, Secret],
    ) -> Mapping[str, Secret]:
        """Put new values in the place of former ones."""
        assert (namespace, name) == ("shop", "till-credentials")
        if self.refuses:
            raise Forbidden("the Secret is immutable")
        for key, value in values.items():
            if self.data.get(key) == former[key]:
                self._put(key, value)
        return {key: self.data[key] for key in values}

    async def remove(self, namespace: str, name: str) -> None:
        """Forget everything."""
        assert (namespace, name) == ("shop", "till-credentials")
        self.data = {}

    def _put(self, key: str, value: Secret) -> None:
        if self.writes_left == 0:
            raise Crash
        self.writes_left -= 1
        self.data[key] = value


@dataclass
class Bench:
    """One ClientApp, its Secret, its row, and a clock that is set by hand."""

    revision: int = 0
    interval: str | None = None
    overlap: str = "24h"
    store: Store = field(default_factory=Store)
    row: Client | None = None
    now: datetime = NOW
    made: int = 0
    provider: str = "kubernetes"
    secrets: dict[tuple[str, str], DataObject] = field(default_factory=dict)
    imported: bool = False

    def reconcile(self, *, commits: bool = True) -> Verdict:
        """Reconcile once; without `commits` the process ends before the database is written."""
        world = self.world()
        rows = [] if self.row is None else [self.row]
        issued = asyncio.run(issue_credentials(world, self.store, rows, self.now, self.make))
        plan = plan_client_apps(world, rows, issued.values, self.now, unrotated=issued.unrotated)
        if commits and plan.put:
            (self.row,) = plan.put
        return plan.verdicts[KEY]

    def make(self) -> Credentials:
        """Make credentials that say which they are."""
        self.made += 1
        return Credentials(
            api_key=f"key-{self.made}",
            api_secret=Secret(f"secret-{self.made}"),
            signing_secret=make_signing_secret(self.made.to_bytes(32, "big")),
        )

    def world(self) -> World:
        """Declare the object."""
        rotation: dict[str, Any] = {"revision": self.revision, "overlap": self.overlap}
        if self.interval is not None:
            rotation["interval"] = self.interval
        credentials: dict[str, Any] = {"generated": {"rotation": rotation}}
        if self.imported:
            credentials = {"imported": {"secretRef": {"name": "till-credentials"}}}
        app = ClientApp.model_validate(
            {
                "apiVersion": "taskloom.dev/v1alpha1",
                "kind": "ClientApp",
                "metadata": {"name": "till", "namespace": "shop"},
                "spec": {"credentials": credentials},
            }
        )
        desired = Desired(resource=app, manager="test:till", generation=1, created_on=NOW)
        return World(provider=self.provider, desired={KEY: desired}, secrets=self.secrets)

    @property
    def client(self) -> Client:
        """The row, which is there."""
        assert self.row is not None
        return self.row

    def good(self) -> tuple[str, ...]:
        """Name the API secrets that authenticate now."""
        return tuple(secret.reveal() for secret in self.client.api_secrets(self.now))


def degraded(verdict: Verdict) -> tuple[str, str] | None:
    """Read why an object is degraded."""
    for condition in verdict.conditions:
        if condition.type is ConditionType.DEGRADED:
            return condition.reason, condition.message
    return None


def test_a_new_client_is_not_rotated() -> None:
    """The revision that an object is made with is in force at once, with the first secrets."""
    bench = Bench(revision=5, interval="48h")

    verdict = bench.reconcile()
    first = bench.client
    bench.reconcile()

    expected = {
        "secretRef": {"name": "till-credentials"},
        "revision": 5,
        "issuedAt": "2026-11-24T10:00:00Z",
        "nextRotationTime": "2026-11-26T10:00:00Z",
    }
    assert expected == verdict.fields["credentials"]
    assert first == bench.client
    assert 1 == len(bench.good())


def test_a_raised_revision_makes_new_secrets_once() -> None:
    """Both secrets are new, the key stays, the former ones are good for the overlap, then wiped."""
    bench = Bench()
    bench.reconcile()
    first = bench.client
    bench.now, bench.revision = NOW + HOUR, 3

    verdict = bench.reconcile()
    second = bench.client
    bench.reconcile()

    assert second == bench.client
    assert first.api_key == second.api_key
    assert (second.api_secret, first.api_secret) == second.api_secrets(bench.now)
    assert (second.signing_secret, first.signing_secret) == second.signing_secrets(bench.now)
    assert second.api_secret == bench.store.data["apiSecret"]
    assert second.signing_secret == bench.store.data["signingSecret"]
    assert 3 == verdict.fields["credentials"]["revision"]
    assert "2026-11-25T11:00:00Z" == verdict.fields["credentials"]["previousValidUntil"]
    end = NOW + HOUR + DAY
    assert [end] == client_moments(bench.world(), {second.id: second})
    assert 2 == len(second.api_secrets(end - timedelta(microseconds=1)))
    assert (second.api_secret,) == second.api_secrets(end)  # refused before anybody wiped it

    bench.now = end
    bench.reconcile()

    assert bench.client.former is None


def test_an_interval_rotates_by_time_alone() -> None:
    """When the interval has passed since they were made, secrets are made anew, again and again."""
    bench = Bench(interval="48h")
    bench.reconcile()
    first = bench.client

    bench.now = NOW + 2 * DAY - timedelta(seconds=1)
    bench.reconcile()
    assert first == bench.client

    assert [NOW + 2 * DAY] == client_moments(bench.world(), {first.id: first})
    bench.now = NOW + 2 * DAY
    verdict = bench.reconcile()

    assert first.api_secret != bench.client.api_secret
    assert "2026-11-28T10:00:00Z" == verdict.fields["credentials"]["nextRotationTime"]
    assert 2 == len(bench.good())


def test_no_object_keeps_everybody_busy() -> None:
    """An interval of a millisecond rotates once a second, and asks for nothing before."""
    bench = Bench(interval="1ms", overlap="0s")
    bench.reconcile()
    first = bench.client
    bench.now = NOW + timedelta(milliseconds=999)
    bench.reconcile()
    assert first == bench.client
    assert [NOW + timedelta(seconds=1)] == client_moments(bench.world(), {first.id: first})

    bench.now = NOW + timedelta(seconds=1)
    bench.reconcile()

    assert first.api_secret != bench.client.api_secret


def test_a_second_rotation_ends_the_overlap_of_the_first() -> None:
    """There are never more than the new and the one before."""
    bench = Bench()
    bench.reconcile()
    oldest = bench.good()
    bench.revision = 1
    bench.reconcile()
    bench.revision = 2
    bench.reconcile()

    assert 2 == len(bench.good())
    assert not set(oldest) & set(bench.good())


def test_no_overlap_refuses_the_former_at_once() -> None:
    """`overlap: 0s` leaves nothing behind; making it shorter ends an overlap under way."""
    bench = Bench(overlap="0s")
    bench.reconcile()
    bench.revision = 1
    bench.reconcile()
    assert bench.client.former is None

    bench.overlap, bench.revision = "24h", 2
    bench.reconcile()
    assert 2 == len(bench.good())
    bench.now, bench.overlap = NOW + HOUR, "30m"
    bench.reconcile()

    assert bench.client.former is None


def test_a_lowered_revision_is_followed_without_a_rotation() -> None:
    """An object made anew may begin with a lower one; raising it then rotates."""
    bench = Bench(revision=4)
    bench.reconcile()
    first = bench.client.api_secret
    bench.revision = 1
    verdict = bench.reconcile()

    assert first == bench.client.api_secret
    assert 1 == verdict.fields["credentials"]["revision"]

    bench.revision = 2
    bench.reconcile()

    assert first != bench.client.api_secret


def test_secrets_changed_by_hand_replace_the_former_at_once() -> None:
    """Who edits the Secret wants its old values refused; a rotation still counts from then on."""
    bench = Bench(interval="48h")
    bench.reconcile()
    bench.now = NOW + HOUR
    bench.store.data["apiSecret"] = Secret("by-hand")

    verdict = bench.reconcile()

    assert ("by-hand",) == bench.good()
    assert "2026-11-26T11:00:00Z" == verdict.fields["credentials"]["nextRotationTime"]


def test_secrets_changed_by_hand_end_an_overlap() -> None:
    """Who edits the Secret while a rotation's former values are good wants those refused, too."""
    bench = Bench()
    bench.reconcile()
    bench.revision = 1
    bench.reconcile()
    assert 2 == len(bench.good())
    bench.store.data["apiSecret"] = Secret("by-hand")

    bench.reconcile()

    assert ("by-hand",) == bench.good()
    assert (bench.client.signing_secret,) == bench.client.signing_secrets(bench.now)


def test_imported_secrets_are_followed_and_never_rotated() -> None:
    """A changed value is in force at once, the former is not; when it came is told."""
    bench = Bench(imported=True)
    bench.secrets["shop", "till-credentials"] = DataObject(
        namespace="shop", name="till-credentials", data={"apiKey": b"k", "apiSecret": b"one"}
    )
    bench.reconcile()
    bench.now = NOW + HOUR
    bench.secrets["shop", "till-credentials"] = DataObject(
        namespace="shop", name="till-credentials", data={"apiKey": b"k", "apiSecret": b"two"}
    )

    verdict = bench.reconcile()

    expected = {"secretRef": {"name": "till-credentials"}, "issuedAt": "2026-11-24T11:00:00Z"}
    assert expected == verdict.fields["credentials"]
    assert ("two",) == bench.good()


def test_a_secret_that_cannot_be_written_leaves_the_old_in_force() -> None:
    """The client stays ready, says what hinders the rotation, and rotates once it is gone."""
    bench = Bench()
    bench.reconcile()
    old = bench.good()
    bench.revision, bench.store.refuses = 1, True

    verdict = bench.reconcile()

    assert verdict.ready
    assert ("RotationFailed", "the Secret is immutable") == degraded(verdict)
    assert 0 == verdict.fields["credentials"]["revision"]
    assert old == bench.good()

    bench.store.refuses = False
    verdict = bench.reconcile()

    assert degraded(verdict) is None
    assert 2 == len(bench.good())


def test_values_that_a_folder_declares_are_not_rotated() -> None:
    """A Secret in a file is its author's to change, who is told so."""
    bench = Bench(provider="file")
    bench.reconcile()
    data = {key: value.reveal().encode() for key, value in bench.store.data.items()}
    bench.secrets["shop", "till-credentials"] = DataObject(
        namespace="shop", name="till-credentials", data=data
    )
    bench.revision = 1

    verdict = bench.reconcile()

    message = "the Secret shop/till-credentials is declared in a file: change its values there"
    assert ("RotationFailed", message) == degraded(verdict)
    assert 1 == len(bench.good())


@pytest.mark.parametrize("writes", [0, 1, 2])
@pytest.mark.parametrize("by_time", [True, False])
def test_an_interruption_at_any_step_is_carried_on(*, writes: int, by_time: bool) -> None:
    """Before, between and after the writes of the Secret: what is new there is taken, not remade.

    The former secret stays good as long as after a rotation without interruption.
    """
    bench = Bench(interval="48h" if by_time else None)
    bench.reconcile()
    former = bench.client
    bench.now, bench.revision = NOW + 2 * DAY, 0 if by_time else 1
    bench.store.writes_left = writes
    if writes < 2:
        with pytest.raises(Crash):
            bench.reconcile()
    else:
        bench.reconcile(commits=False)
    left = dict(bench.store.data)
    assert former == bench.client

    bench.store.writes_left = 1000
    bench.reconcile()

    if writes:
        assert left["apiSecret"] == bench.client.api_secret
    assert former.api_secret != bench.client.api_secret
    assert former.signing_secret != bench.client.signing_secret
    assert (bench.client.api_secret, former.api_secret) == bench.client.api_secrets(bench.now)
    assert bench.client.signing_secret == bench.store.data["signingSecret"]
    settled = bench.client
    bench.reconcile()
    assert settled == bench.client


_OPS = st.one_of(
    st.tuples(st.just("wait"), st.integers(0, 60)),
    st.tuples(st.just("raise"), st.integers(1, 3)),
    st.tuples(st.just("crash"), st.integers(0, 3)),
    st.tuples(st.just("hand"), st.integers(0, 1)),
    st.tuples(st.just("delete"), st.just(0)),
    st.tuples(st.just("run"), st.just(0)),
)


@settings(deadline=None, max_examples=150)
@given(ops=st.lists(_OPS, max_size=12), interval=st.sampled_from([None, "25h", "48h"]))
def test_no_way_leads_to_a_loss_or_to_a_third_generation(
    ops: list[tuple[str, int]], interval: str | None
) -> None:
    """Whatever happens in between, what the database takes is in the Secret, and once at most."""
    bench = Bench(interval=interval)
    bench.reconcile()
    hands = 0
    for op, number in ops:
        before = bench.client
        if op == "wait":
            bench.now += number * HOUR
        elif op == "raise":
            bench.revision += number
        elif op == "hand":
            hands += 1
            bench.store.data[("apiSecret", "signingSecret")[number]] = (
                Secret(f"hand-{hands}"),
                make_signing_secret((2**200 + hands).to_bytes(32, "big")),
            )[number]
        elif op == "delete":
            bench.store.data = {}
        elif op == "crash" and number < 3:
            bench.store.writes_left = number
            with contextlib.suppress(Crash):
                bench.reconcile(commits=False)
            bench.store.writes_left = 1000
        else:
            bench.reconcile(commits=op == "run")
        after = bench.client

        if op != "run":  # nothing but a run that ends well changes what is in force
            assert before == after
            continue
        assert bench.store.data["apiSecret"] == after.api_secret
        assert bench.store.data["signingSecret"] == after.signing_secret
        assert before.api_key == after.api_key
        assert set(after.api_secrets(bench.now)) <= {
            after.api_secret,
            *before.api_secrets(bench.now),
        }
        assert len(after.api_secrets(bench.now)) <= 2
        bench.reconcile()
        assert after == bench.client
