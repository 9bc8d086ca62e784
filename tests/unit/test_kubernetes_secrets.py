"""Generated credentials in Secrets; and what the API server's refusals become."""

import base64
from typing import Any

import pytest

from taskloom.domain.secret import Secret
from taskloom.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Permanent,
    TaskloomError,
    Temporary,
    Unauthenticated,
    Unavailable,
)
from taskloom.providers.kubernetes.client import error_of
from taskloom.providers.kubernetes.mirror import Mirror
from taskloom.providers.kubernetes.scope import Scope
from taskloom.providers.kubernetes.secrets import ClusterSecrets
from taskloom.testing.cluster import FakeCluster

VALUES = {"apiKey": Secret("key"), "apiSecret": Secret("secret")}


class Bench:
    """A cluster, its mirror, and the store in question."""

    def __init__(self, **generated: Any) -> None:
        self.cluster = FakeCluster()
        self.mirror = Mirror(Scope())
        self.store = ClusterSecrets(self.cluster, self.mirror)
        self.app = self.cluster.put(
            {
                "apiVersion": "taskloom.dev/v1alpha1",
                "kind": "ClientApp",
                "metadata": {"name": "app", "namespace": "shop"},
                "spec": {"credentials": {"generated": generated}},
            }
        )
        self.mirror.take(self.app)

    def put_secret(self, **values: str) -> None:
        """Make the Secret as a user does."""
        data = {name: base64.b64encode(text.encode()).decode() for name, text in values.items()}
        self.cluster.put(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "app-credentials", "namespace": "shop"},
                "data": data,
            }
        )

    def secret(self) -> dict[str, Any] | None:
        """Give the Secret as it stands."""
        return self.cluster.find("Secret", "shop", "app-credentials")


async def test_a_secret_is_made_and_goes_with_its_client() -> None:
    """A Secret that is not there is made, owned by the ClientApp, and read from the mirror."""
    bench = Bench()
    assert {} == await bench.store.read("shop", "app-credentials")

    written = await bench.store.write("shop", "app-credentials", VALUES)
    bench.cluster.calls.clear()
    read = await bench.store.read("shop", "app-credentials")

    assert VALUES == written == read
    assert [] == bench.cluster.calls
    made = bench.secret()
    assert made is not None
    assert [("ClientApp", "app", bench.app["metadata"]["uid"])] == [
        (owner["kind"], owner["name"], owner["uid"])
        for owner in made["metadata"]["ownerReferences"]
    ]


async def test_an_orphans_secret_is_not_owned() -> None:
    """With `creationPolicy: Orphan` the Secret outlives the object."""
    bench = Bench(creationPolicy="Orphan")
    await bench.store.write("shop", "app-credentials", VALUES)

    made = bench.secret()
    assert made is not None
    assert "ownerReferences" not in made["metadata"]


async def test_what_another_wrote_first_is_adopted() -> None:
    """Values that are there stay, whoever was quicker; only missing keys are added."""
    bench = Bench()
    bench.put_secret(apiKey="theirs", other="untouched")

    written = await bench.store.write("shop", "app-credentials", VALUES)

    assert {"apiKey": Secret("theirs"), "apiSecret": Secret("secret")} == written
    kept = await bench.store.read("shop", "app-credentials")
    assert Secret("untouched") == kept["other"]
    assert "ownerReferences" not in (bench.secret() or {})["metadata"]


async def test_new_values_take_the_place_of_the_former_ones() -> None:
    """A rotation writes both at once, and keeps what else the Secret holds."""
    bench = Bench()
    bench.put_secret(apiKey="key", apiSecret="secret", other="untouched")
    new = {"apiKey": Secret("new-key"), "apiSecret": Secret("new-secret")}

    replaced = await bench.store.replace("shop", "app-credentials", VALUES, new)

    assert new == replaced
    assert 1 == bench.cluster.count("merge")
    kept = await bench.store.read("shop", "app-credentials")
    assert {**new, "other": Secret("untouched")} == kept


async def test_a_rotation_finds_what_another_process_made_first() -> None:
    """Of two that rotate one after another, the second takes what the first wrote."""
    bench = Bench()
    bench.put_secret(apiKey="key", apiSecret="of-the-other")
    new = {"apiSecret": Secret("mine")}

    replaced = await bench.store.replace(
        "shop", "app-credentials", {"apiSecret": Secret("secret")}, new
    )

    assert {"apiSecret": Secret("of-the-other")} == replaced
    assert 0 == bench.cluster.count("merge")


async def test_a_rotation_in_a_race_looks_again() -> None:
    """A Secret that changed between reading and writing is read again, never written over."""
    bench = Bench()
    bench.put_secret(apiKey="key", apiSecret="secret")
    bench.cluster.fail("merge", Conflict("the object has been modified"))
    new = {"apiSecret": Secret("mine")}

    replaced = await bench.store.replace("shop", "app-credentials", VALUES, new)

    assert new == replaced
    assert 2 == bench.cluster.count("get")


async def test_a_value_that_is_empty_is_missing() -> None:
    """An empty value is filled in, as nobody can log in with it."""
    bench = Bench()
    bench.put_secret(apiKey="")

    assert VALUES == await bench.store.write("shop", "app-credentials", VALUES)


async def test_a_conflict_on_the_way_is_looked_at_again() -> None:
    """When the Secret changes between reading and writing, it is read again."""
    bench = Bench()
    bench.put_secret(apiKey="theirs")
    bench.cluster.fail("merge", Conflict())

    written = await bench.store.write("shop", "app-credentials", VALUES)

    assert Secret("theirs") == written["apiKey"]
    assert 2 == bench.cluster.count("merge")


async def test_a_secret_that_cannot_be_read_is_not_taken_for_missing() -> None:
    """While the API server does not answer, nothing is made anew."""
    bench = Bench()
    bench.cluster.fail("get", Unavailable())

    with pytest.raises(Unavailable):
        await bench.store.read("shop", "app-credentials")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, Invalid),
        (401, Unauthenticated),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (410, Unavailable),
        (418, Permanent),
        (422, Invalid),
        (429, Unavailable),
        (500, Unavailable),
        (504, Unavailable),
    ],
)
def test_a_refusal_says_what_happens_next(status: int, expected: type[TaskloomError]) -> None:
    """Each status is the error that tells whether to try again; the server's words are kept."""
    error = error_of(status, None, b'{"kind": "Status", "message": "because"}')

    assert expected is type(error)
    assert f"The API server answers {status}: because" == error.message


@pytest.mark.parametrize(
    ("given", "delay"), [("7", 7.0), ("9999", 60.0), ("soon", 1.0), ("", 1.0), (None, 1.0)]
)
def test_a_busy_api_server_says_when_to_come_again(given: str | None, delay: float) -> None:
    """Retry-After is obeyed, up to a minute; nonsense in it is not."""
    error = error_of(429, given, b"too much")

    assert isinstance(error, Temporary)
    assert delay == error.delay
    assert error.message.endswith("too much")
