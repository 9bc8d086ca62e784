"""Callers of the cluster: ServiceAccounts, known by TokenReview, allowed by its roles.

Which way a token goes is decided by its unverified subject, and it stays on that way: a token that
says it is a ServiceAccount's is never tried in another way, and no other is shown to the cluster.
"""

import base64
import binascii
import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from taskloom.api.auth import bearer_token
from taskloom.api.remember import Remembered
from taskloom.domain.permissions import RIGHTS, Permission, Principal, Right
from taskloom.errors import Forbidden, Unauthenticated
from taskloom.ports.reviews import ClusterUser, Reviews, TokenReview

PREFIX = "system:serviceaccount:"
_KNOWN_TOKENS = 4_096
_REFUSED_TOKENS = 1_024
_KNOWN_RIGHTS = 16_384
_MOST_QUESTIONS = 64
_TOKEN_SECONDS = 60.0
_REFUSED_SECONDS = 5.0
_ALLOWED_SECONDS = 30.0
_DENIED_SECONDS = 5.0


class Claims(msgspec.Struct, frozen=True):
    """What a token says of itself; nothing of it is believed, but it may speak against itself."""

    sub: str = ""
    aud: str | list[str] = ""
    exp: float = math.inf

    @property
    def audiences(self) -> list[str]:
        """For whom the token is meant."""
        if isinstance(self.aud, str):
            return [self.aud] if self.aud else []
        return self.aud


def _encodings(text: bytes) -> tuple[str, str, str]:
    """Give what base64 makes of a text at the three places that it may stand at."""
    shifted = (base64.urlsafe_b64encode(bytes(shift) + text).decode() for shift in range(3))
    first, second, third = shifted
    # only characters that depend on nothing but the text
    return first[:-4], second[2:-4], third[3:-4]


_MARKS = _encodings(PREFIX.encode())
_read_claims = msgspec.json.Decoder(Claims).decode


def account_claims(token: str) -> Claims | None:
    """Read the claims of a token that says it is a ServiceAccount's; None for any other."""
    _, _, rest = token.partition(".")
    payload, _, signature = rest.partition(".")
    if not signature:
        return None
    try:
        text = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        claims = _read_claims(text)
    except (binascii.Error, ValueError, RecursionError, msgspec.MsgspecError):
        return None
    return claims if claims.sub.startswith(PREFIX) else None


def may_be_account_token(token: str) -> bool:
    """Tell most other tokens from a ServiceAccount's, without reading them."""
    first, second, third = _MARKS
    return first in token or second in token or third in token


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerOptions:
    """The audience that tokens must be meant for, and the namespace whose roles decide."""

    audience: str
    namespace: str


class ClusterCallers:
    """Admits ServiceAccounts.

    A token that was reviewed is remembered, by its digest, for a minute at most and never beyond
    its time; a right for 30 seconds, a refusal for 5.
    """

    def __init__(
        self,
        reviews: Reviews,
        options: CallerOptions,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._reviews = reviews
        self._options = options
        self._clock = clock
        self._users: Remembered[bytes, ClusterUser] = Remembered(_KNOWN_TOKENS, clock)
        self._refused: Remembered[bytes, str] = Remembered(_REFUSED_TOKENS, clock)
        self._admitted: Remembered[tuple[bytes, Permission], Principal] = Remembered(
            _KNOWN_TOKENS, clock
        )
        self._rights: Remembered[tuple[bytes, Permission], bool] = Remembered(_KNOWN_RIGHTS, clock)

    async def admit(self, headers: Mapping[str, str], permission: Permission) -> Principal | None:
        """Return the ServiceAccount that calls, if it has the permission; None if none calls.

        `headers` has its names in lower case.  Raises `Unauthenticated`, `Forbidden`, and
        `Unavailable` where the cluster cannot be asked.
        """
        try:
            token = bearer_token(headers.get("authorization"))
        except Unauthenticated:
            return None  # another way in may know what to do with it
        if not may_be_account_token(token):
            return None
        key = (hashlib.sha256(token.encode()).digest(), permission)
        principal = self._admitted.known(key)
        if principal is not None:
            return principal
        claims = account_claims(token)
        return None if claims is None else await self._admit(key, token, claims)

    async def _admit(self, key: tuple[bytes, Permission], token: str, claims: Claims) -> Principal:
        digest, permission = key
        user = self._users.known(digest) or await self._recognize(digest, token, claims)
        if not await self._rights.ask(key, lambda: self._judge(user, permission)):
            raise Forbidden(explain_refusal(user.name, RIGHTS[permission], self._options.namespace))
        principal = Principal(subject=user.name[:255], permissions=frozenset({permission.value}))
        until = min(self._users.until(digest), self._rights.until(key))
        self._admitted.keep(key, principal, until)
        return principal

    async def _recognize(self, digest: bytes, token: str, claims: Claims) -> ClusterUser:
        audience = self._options.audience
        if audience not in claims.audiences:  # no need to ask: the cluster would say no
            raise Unauthenticated(explain_audience(claims.audiences, audience))
        refusal = self._refused.known(digest)
        if refusal is not None:
            raise Unauthenticated(refusal)

        async def review() -> tuple[ClusterUser, float]:
            reviewed = await self._reviews.review_token(token, audience)
            now = self._clock()
            user = accepted_user(reviewed, claims, audience)
            if user is None:
                refusal = explain_review(reviewed, claims, now)
                self._refused.keep(digest, refusal, now + _REFUSED_SECONDS)
                raise Unauthenticated(refusal)
            return user, min(claims.exp, now + _TOKEN_SECONDS)

        return await self._users.ask(digest, review)

    async def _judge(self, user: ClusterUser, permission: Permission) -> tuple[bool, float]:
        review = await self._reviews.review_access(
            user, RIGHTS[permission], self._options.namespace
        )
        seconds = _ALLOWED_SECONDS if review.allowed else _DENIED_SECONDS
        return review.allowed, self._clock() + seconds


def accepted_user(review: TokenReview, claims: Claims, audience: str) -> ClusterUser | None:
    """Give the reviewed user if it is whom the token names, and is meant for us."""
    user = review.user
    if user is None or user.name != claims.sub or audience not in review.audiences:
        return None
    return user


def explain_review(review: TokenReview, claims: Claims, now: float) -> str:
    """Say why a token is not accepted, and what to do."""
    if claims.exp <= now:
        return "The ServiceAccount token has expired: read it anew from its file for every call."
    why = _plain(review.error) or "it does not confirm it"
    return (
        f"The cluster does not accept the ServiceAccount token ({why}): its pod, Secret or account "
        "may be gone, or it is another cluster's. Get a new one."
    )


def explain_audience(given: list[str], wanted: str) -> str:
    """Say for whom a token must be meant, and how to get one that is."""
    meant = f"the audience {_plain(', '.join(given))}" if given else "no audience"
    return (
        f"The ServiceAccount token is meant for {meant}, and must be for the audience {wanted}: "
        f"project one into the pod (serviceAccountToken with audience: {wanted}), or make one by "
        f"`kubectl create token NAME --audience {wanted}`."
    )


def explain_refusal(user: str, right: Right, namespace: str) -> str:
    """Say which right is missing, and how it is given."""
    of, _, name = user.removeprefix(PREFIX).partition(":")
    role = f"{right.resource}-{right.verb}"
    return (
        f"{user} may not {right.verb} {right.resource}.taskloom.dev in the namespace {namespace}. "
        f"Bind it to a Role there that has apiGroups [taskloom.dev], resources [{right.resource}], "
        f"verbs [{right.verb}]: kubectl -n {namespace} create rolebinding {name}-{role} "
        f"--role=taskloom-{role} --serviceaccount={of}:{name}"
    )


def _plain(text: str) -> str:
    return "".join(each for each in text[:300] if each.isprintable())
