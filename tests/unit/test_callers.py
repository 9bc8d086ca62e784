"""Callers of the cluster, with a cluster in memory."""

import asyncio
import base64
import json
import re
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import jwt
import pytest

from taskloom.api.auth import AuthOptions, make_authenticator
from taskloom.api.callers import CallerOptions, ClusterCallers, account_claims, may_be_account_token
from taskloom.api.door import admit
from taskloom.api.remember import Remembered
from taskloom.domain.permissions import RIGHTS, Permission, Right, codes
from taskloom.errors import Forbidden, Unauthenticated, Unavailable
from taskloom.ports.reviews import ClusterUser, TokenReview
from taskloom.resources.kinds import KINDS
from taskloom.testing.reviews import FakeReviews

SECRET = "0123456789abcdef0123456789abcdef"
NAME = "system:serviceaccount:shop:orders"
TRIGGER = Permission.TRIGGER_EVENTS
NOW = 1_800_000_000.0
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "kubernetes.md"


def account_token(**more: Any) -> str:
    """Sign a token as a cluster would; with which key is the cluster's business."""
    claims = {"sub": NAME, "aud": ["taskloom"], "exp": NOW + 3600} | more
    return jwt.encode(claims, SECRET)


def unsigned(payload: bytes) -> str:
    """Write a token of any payload."""
    return f"a.{base64.urlsafe_b64encode(payload).decode()}.c"


def bearer(token: str) -> dict[str, str]:
    """Put a token into headers."""
    return {"authorization": f"Bearer {token}"}


class World:
    """A cluster, callers that ask it, and a clock."""

    def __init__(self) -> None:
        """Let orders trigger events."""
        self.now = NOW
        self.reviews = FakeReviews()
        self.token = account_token()
        self.reviews.users[self.token, "taskloom"] = ClusterUser(name=NAME)
        self.reviews.rights.add((NAME, "installed", RIGHTS[TRIGGER]))
        self.callers = ClusterCallers(
            self.reviews,
            CallerOptions(audience="taskloom", namespace="installed"),
            clock=lambda: self.now,
        )

    async def call(self, token: str | None = None, permission: Permission = TRIGGER) -> str:
        """Call with a token and give the caller's name."""
        principal = await self.callers.admit(bearer(token or self.token), permission)
        assert principal is not None
        assert principal.may(permission)
        return principal.subject


@pytest.fixture
def world() -> World:
    """Make one."""
    return World()


async def test_a_service_account_with_the_right_is_admitted(world: World) -> None:
    """Its full name is the caller's."""
    assert NAME == await world.call()


async def test_a_principal_holds_the_permission_asked_for_only(world: World) -> None:
    """What was not reviewed is not granted."""
    principal = await world.callers.admit(bearer(world.token), TRIGGER)

    assert principal is not None
    assert [TRIGGER] == [each for each in Permission if principal.may(each)]


async def test_answers_are_remembered_for_their_time(world: World) -> None:
    """A token is asked about once a minute, a right every half minute."""
    right = "create events"
    expected = ["token", right, right, "token", right]
    for seconds in (0, 29, 31, 59, 61):
        world.now = NOW + seconds
        await world.call()

    assert expected == world.reviews.asked


async def test_a_remembered_token_does_not_outlive_its_time(world: World) -> None:
    """When it has expired the cluster is asked again."""
    token = account_token(exp=NOW + 10)
    world.reviews.users[token, "taskloom"] = ClusterUser(name=NAME)
    await world.call(token)
    del world.reviews.users[token, "taskloom"]
    world.now = NOW + 10

    with pytest.raises(Unauthenticated, match="expired"):
        await world.call(token)


async def test_a_right_that_is_missing_is_named_with_its_remedy(world: World) -> None:
    """The answer holds verb, resource, namespace and the command; it is asked again after 5 s."""
    with pytest.raises(Forbidden) as refused:
        await world.call(permission=Permission.DELETE_TASKS)
    expected = (
        f"{NAME} may not delete tasks.taskloom.dev in the namespace installed. Bind it to a Role "
        "there that has apiGroups [taskloom.dev], resources [tasks], verbs [delete]: kubectl -n "
        "installed create rolebinding orders-tasks-delete --role=taskloom-tasks-delete "
        "--serviceaccount=shop:orders"
    )
    world.reviews.rights.add((NAME, "installed", Right("tasks", "delete")))
    with pytest.raises(Forbidden):
        await world.call(permission=Permission.DELETE_TASKS)
    world.now += 6

    assert NAME == await world.call(permission=Permission.DELETE_TASKS)
    assert expected == refused.value.message


async def test_a_right_elsewhere_is_none_here(world: World) -> None:
    """Who rules his own namespace cannot let himself in."""
    world.reviews.rights = {(NAME, "shop", RIGHTS[TRIGGER])}

    with pytest.raises(Forbidden):
        await world.call()


@pytest.mark.parametrize(
    ("audience", "says"),
    [
        (["https://kubernetes.default.svc"], "the audience https://kubernetes.default.svc, and"),
        ("taskloom-2", "audience taskloom-2, and"),
        ([], "no audience"),
        (None, "no audience"),
    ],
)
async def test_a_token_for_another_audience_is_refused_unasked(
    world: World, audience: Any, says: str
) -> None:
    """The answer names the audience that is given and the one that is wanted."""
    token = account_token(aud=audience)
    if audience is None:
        token = jwt.encode({"sub": NAME, "exp": NOW + 60}, SECRET)

    with pytest.raises(Unauthenticated, match=re.escape(says)) as refused:
        await world.call(token)

    assert "--audience taskloom" in refused.value.message
    assert [] == world.reviews.asked


async def test_a_token_that_the_cluster_refuses_is_refused_for_a_while(world: World) -> None:
    """It is not asked about at every call; the cluster's words are passed on."""
    token = account_token(jti="gone")
    for _ in range(3):
        with pytest.raises(Unauthenticated, match="invalid bearer token"):
            await world.call(token)
    world.now += 6
    with pytest.raises(Unauthenticated):
        await world.call(token)

    assert ["token", "token"] == world.reviews.asked


@pytest.mark.parametrize(
    "answer",
    [
        TokenReview(user=ClusterUser(name=NAME), audiences=()),
        TokenReview(user=ClusterUser(name=NAME), audiences=("other",)),
        TokenReview(user=ClusterUser(name="system:serviceaccount:x:y"), audiences=("taskloom",)),
        TokenReview(user=ClusterUser(name=""), audiences=("taskloom",)),
    ],
)
async def test_an_answer_for_someone_else_is_no_proof(world: World, answer: TokenReview) -> None:
    """The audience must be confirmed, and the user be the one that the token names."""
    world.reviews.answer = answer

    with pytest.raises(Unauthenticated):
        await world.call()


async def test_a_cluster_that_is_down_is_no_verdict(world: World) -> None:
    """Who is known is let in; of others it is said that they may come again; nothing is kept."""
    await world.call()
    world.reviews.failure = Unavailable("down", delay=2)
    other = account_token(jti="other")
    world.reviews.users[other, "taskloom"] = ClusterUser(name=NAME)

    assert NAME == await world.call()
    with pytest.raises(Unavailable):
        await world.call(other)
    world.reviews.failure = None
    assert NAME == await world.call(other)


async def test_calls_at_once_with_one_token_ask_once(world: World) -> None:
    """All of them wait for the same answer, and one that goes away takes it from nobody."""
    world.reviews.gate = asyncio.Event()
    calls = [asyncio.create_task(world.call()) for _ in range(20)]
    await asyncio.sleep(0)
    calls[0].cancel()
    world.reviews.gate.set()

    found = await asyncio.gather(*calls, return_exceptions=True)

    assert [NAME] * 19 == found[1:]
    assert ["token", "create events"] == world.reviews.asked


async def test_strangers_cannot_fill_the_line(world: World) -> None:
    """So many unknown tokens wait for the cluster, others are told to come again."""
    world.reviews.gate = asyncio.Event()
    waiting = [
        asyncio.create_task(world.call(account_token(jti=str(number)))) for number in range(64)
    ]
    await asyncio.sleep(0)

    with pytest.raises(Unavailable, match="Too many"):
        await world.call(account_token(jti="64"))

    world.reviews.gate.set()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_answers_are_few() -> None:
    """The oldest makes room."""
    kept: Remembered[int, str] = Remembered(3, lambda: 0.0)
    for number in range(10):
        kept.keep(number, "x", 1.0)

    assert [7, 8, 9] == [number for number in range(10) if kept.known(number)]


async def test_a_question_nobody_waits_for_any_more_may_fail() -> None:
    """Its failure is nobody's, and the next one asks anew."""
    kept: Remembered[int, str] = Remembered(3, lambda: 0.0)

    async def fail() -> tuple[str, float]:
        await asyncio.sleep(0)
        raise Unavailable("down")

    async def answer() -> tuple[str, float]:
        return "fine", 1.0

    asked = asyncio.create_task(kept.ask(1, fail))
    await asyncio.sleep(0)
    asked.cancel()
    for _ in range(5):
        await asyncio.sleep(0)

    assert "fine" == await kept.ask(1, answer)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Basic YTpi"},
        {"authorization": "Bearer"},
        bearer("banana"),
        bearer("a.b.c"),
        bearer("a.!!!.c"),
        bearer(jwt.encode({"sub": "ann"}, SECRET)),
        bearer(jwt.encode({"sub": 7}, SECRET)),
        bearer(jwt.encode({"name": NAME}, SECRET)),
        bearer(jwt.encode({"sub": f"x{NAME}"}, SECRET)),
        bearer(jwt.encode({"sub": NAME, "exp": "soon"}, SECRET)),
        bearer(unsigned(b'{"sub":"%s","more":%s' % (NAME.encode(), b"[" * 9_000))),
    ],
)
async def test_others_are_left_to_the_other_way_in(world: World, headers: dict[str, str]) -> None:
    """No other token is shown to the cluster."""
    assert await world.callers.admit(headers, TRIGGER) is None
    assert [] == world.reviews.asked


async def test_a_service_account_by_name_only_gets_nowhere(world: World) -> None:
    """A token signed with our own secret that says it is an account is the cluster's to judge."""
    token = jwt.encode({"sub": NAME, "aud": "taskloom", "permissions": ["*"]}, SECRET)
    door = make_authenticator(AuthOptions(secret=SECRET), host="127.0.0.1")
    assert (await door.authenticate(bearer(token))).may(TRIGGER)

    with pytest.raises(Unauthenticated):
        await world.callers.admit(bearer(token), TRIGGER)


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": NAME, "aud": 7},
        {"id": NAME},
        {"username": "system:serviceaccount:kube-system:admin"},
    ],
)
async def test_no_other_way_in_makes_a_service_account(
    world: World, claims: dict[str, Any]
) -> None:
    """Whatever a token of our own looks like, none is recorded as a ServiceAccount's."""
    token = jwt.encode(claims | {"permissions": ["*"]}, SECRET)
    door = make_authenticator(AuthOptions(secret=SECRET), host="127.0.0.1")
    services = Mock(callers=world.callers, authenticator=door)
    assert await world.callers.admit(bearer(token), TRIGGER) is None

    with pytest.raises(Unauthenticated, match="Only a token of the cluster"):
        await admit(services, bearer(token), TRIGGER)


async def test_a_disguised_name_is_no_service_account(world: World) -> None:
    """A subject written with escapes, which no cluster does, is signed by us in vain."""
    text = json.dumps({"sub": NAME, "permissions": ["*"]}).replace("system:", "\\u0073ystem:")
    token = jwt.api_jws.encode(text.encode(), SECRET, algorithm="HS256")
    door = make_authenticator(AuthOptions(secret=SECRET), host="127.0.0.1")
    assert NAME == (await door.authenticate(bearer(token))).subject

    with pytest.raises(Unauthenticated):
        await admit(Mock(callers=world.callers, authenticator=door), bearer(token), TRIGGER)


def test_claims_are_read_however_they_are_padded() -> None:
    """Every length of payload is decoded, wherever the name stands in it."""
    tokens = [
        jwt.encode({"jti": "x" * length, "sub": NAME, "aud": "taskloom"}, SECRET)
        for length in range(12)
    ]

    assert all(may_be_account_token(token) for token in tokens)
    found = [account_claims(token) for token in tokens]
    assert [NAME] * 12 == [claims.sub for claims in found if claims is not None]


async def test_no_token_is_shown(world: World) -> None:
    """A refusal does not repeat what was sent."""
    token = account_token(jti="secret")

    with pytest.raises(Unauthenticated) as refused:
        await world.call(token)

    assert token not in str(refused.value)
    assert token not in repr(world.callers)


def test_every_permission_has_a_right_of_its_own() -> None:
    """No right grants two permissions, and none is a right over objects of a kind."""
    assert set(Permission) == set(RIGHTS)
    assert len(RIGHTS) == len(set(RIGHTS.values()))
    assert {kind.names.plural for kind in KINDS.values()}.isdisjoint(
        right.resource for right in RIGHTS.values()
    )


def test_the_reference_lists_every_right() -> None:
    """The table in the documentation is the one in the code."""
    expected = [
        (", ".join(f"`{code}`" for code in codes(permission)), right.resource, right.verb)
        for permission, right in RIGHTS.items()
    ]
    row = re.compile(r"^\| (`[^|]+`) \| `(\w+)` \| `(\w+)` \|", re.MULTILINE)

    assert sorted(expected) == sorted(row.findall(REFERENCE.read_text()))
