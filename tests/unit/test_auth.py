"""Who is calling."""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from taskloom.api import auth
from taskloom.api.auth import AuthOptions, Everyone, TokenAuthenticator, make_authenticator
from taskloom.api.claims import judge_claims
from taskloom.api.jwks import KeySet, usable_keys
from taskloom.domain.permissions import Permission, Principal, codes, granted
from taskloom.errors import Invalid, Permanent, Unauthenticated, Unavailable

SECRET = "0123456789abcdef0123456789abcdef"
NOW = 1_800_000_000.0
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def clock() -> float:
    """Stand still."""
    return NOW


def shared(**options: Any) -> TokenAuthenticator:
    """Make an authenticator by the shared secret."""

    async def keys(_kid: str | None, _algorithm: str) -> Sequence[str]:
        return (SECRET,)

    return TokenAuthenticator(keys, algorithms=("HS256",), clock=clock, **options)


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    """Print a public key as JWK."""
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    made = jwt.get_algorithm_by_name(algorithm)
    return {**made.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}


def bearer(token: str) -> dict[str, str]:
    """Put a token into headers."""
    return {"authorization": f"Bearer {token}"}


def b64(value: Any) -> str:
    """Encode a part of a token."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def test_a_token_signed_with_the_secret_is_accepted() -> None:
    """The subject and the permissions come from the token."""
    token = jwt.encode({"sub": "ann", "permissions": ["16007", 3], "exp": NOW + 60}, SECRET)
    expected = Principal(subject="ann", permissions=frozenset({"16007", "3"}))

    actual = await shared().authenticate(bearer(token))

    assert expected == actual


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer  "},
        {"authorization": "Basic YTpi"},
        {"authorization": "Bearer banana"},
        {"authorization": "Bearer a.b.c"},
        {"authorization": "Bearer ä.b.c"},
        {"authorization": "Bearer " + "a" * 20_000},
        bearer(f"{b64(b'[' * 9_000)}.e30.x"),
        bearer(f"{b64([])}.e30.x"),
        bearer(f"{b64({'alg': 'none'})}.{b64({'sub': 'x', 'permissions': ['*']})}."),
        bearer(jwt.encode({"sub": "x"}, SECRET.upper())),
        bearer(jwt.encode({"sub": "x"}, SECRET * 2, algorithm="HS512")),
        bearer(jwt.encode({"sub": "x", "permissions": "16007"}, SECRET)),
        bearer(jwt.encode({"sub": "x"}, SECRET)[:-2]),
        bearer(jwt.encode({"sub": "x"}, SECRET, headers={"crit": ["x"], "x": 1})),
    ],
)
async def test_a_missing_or_wrong_token_is_refused(headers: dict[str, str]) -> None:
    """Whatever is wrong with a credential, the answer is `Unauthenticated`."""
    with pytest.raises(Unauthenticated):
        await shared().authenticate(headers)


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"exp": NOW - 31}, "expired"),
        ({"exp": "soon"}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": float("inf")}, "exp"),
        ({"exp": float("nan")}, "exp"),
        ({"nbf": NOW + 31}, "not valid yet"),
        ({"aud": "others"}, "audience"),
        ({}, "audience"),
        ({"aud": "us", "iss": "others"}, "issuer"),
        ({"aud": "us", "iss": "them", "permissions": {}}, "permissions"),
    ],
)
def test_claims_that_do_not_hold_are_refused(claims: dict[str, Any], says: str) -> None:
    """The claim at fault is named."""
    with pytest.raises(Unauthenticated, match=says):
        judge_claims(claims, now=NOW, audience="us", issuer="them")


@pytest.mark.parametrize(
    ("claims", "subject"),
    [
        ({"exp": NOW - 29, "nbf": NOW + 29, "sub": "ann"}, "ann"),
        ({"id": 7}, "7"),
        ({"sub": None, "userTenantId": "t"}, "t"),
        ({"aud": ["a", "us"], "sub": "x\x00\ud800"}, "x?"),
        ({}, "anonymous"),
    ],
)
def test_claims_that_hold_name_the_caller(claims: dict[str, Any], subject: str) -> None:
    """Clocks may differ by half a minute, and the caller is found under several names."""
    principal, _ = judge_claims(claims, now=NOW)

    assert subject == principal.subject


async def test_a_remembered_token_still_expires() -> None:
    """Being verified once does not make a token outlive its time."""
    now = NOW

    async def keys(_kid: str | None, _algorithm: str) -> Sequence[str]:
        return (SECRET,)

    auth = TokenAuthenticator(keys, algorithms=("HS256",), clock=lambda: now)
    token = jwt.encode({"sub": "ann", "exp": NOW + 5}, SECRET)
    await auth.authenticate(bearer(token))
    now += 36

    with pytest.raises(Unauthenticated, match="expired"):
        await auth.authenticate(bearer(token))


async def test_remembered_tokens_are_few() -> None:
    """Many tokens do not fill the memory."""
    auth = shared()
    for number in range(1_100):
        await auth.authenticate(bearer(jwt.encode({"sub": str(number)}, SECRET)))

    assert len(auth._verified) <= 1_024


class Issuer:
    """A source of keys whose answers the test decides."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        """Publish these keys."""
        self.keys = list(keys)
        self.fetched = 0
        self.error: Exception | None = None
        self.now = 0.0

    async def fetch(self) -> bytes:
        """Count, then answer or fail."""
        self.fetched += 1
        if self.error:
            raise self.error
        return json.dumps({"keys": self.keys}).encode()

    def authenticator(self) -> TokenAuthenticator:
        """Make an authenticator that trusts this issuer."""
        key_set = KeySet(self.fetch, clock=lambda: self.now)
        return TokenAuthenticator(key_set.candidates, algorithms=("RS256", "ES256"), clock=clock)


def signed(key: Any, kid: str | None = None, algorithm: str = "RS256") -> dict[str, str]:
    """Sign a token."""
    headers = {"kid": kid} if kid else None
    return bearer(jwt.encode({"sub": "ann"}, key, algorithm=algorithm, headers=headers))


async def test_public_keys_verify_rsa_and_p256() -> None:
    """RS256 and ES256 work, with and without a key id, and one fetch serves them all."""
    issuer = Issuer(jwk(OTHER_RSA_KEY, "o"), jwk(RSA_KEY, "r"), jwk(EC_KEY, "e"))
    auth = issuer.authenticator()
    tokens = [signed(RSA_KEY, "r"), signed(RSA_KEY), signed(EC_KEY, "e", "ES256")]
    expected = ["ann", "ann", "ann"]

    actual = [(await auth.authenticate(token)).subject for token in tokens]

    assert expected == actual
    assert issuer.fetched == 1


async def test_a_public_key_cannot_be_used_as_a_secret() -> None:
    """A token signed with HMAC by the public key's own text is refused."""
    auth = Issuer(jwk(RSA_KEY, "r")).authenticator()
    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    body = f"{b64({'alg': 'HS256', 'kid': 'r'})}.{b64({'sub': 'eve', 'permissions': ['*']})}"
    forged = f"{body}.{b64(hmac.new(pem, body.encode(), hashlib.sha256).digest())}"

    with pytest.raises(Unauthenticated, match="RS256 or ES256"):
        await auth.authenticate(bearer(forged))


async def test_a_published_symmetric_key_is_never_used() -> None:
    """A secret in a public document is passed over."""
    oct_key = {"kty": "oct", "k": b64(SECRET.encode()), "kid": "s"}

    assert usable_keys(json.dumps({"keys": [oct_key]}).encode()) == ()


@pytest.mark.parametrize(
    "entry",
    [
        "x",
        {},
        {"kty": "RSA"},
        {"kty": "EC", "crv": "P-256", "x": "a", "y": "b"},
        jwk(RSA_KEY, "r", use="enc"),
        jwk(RSA_KEY, "r", alg="PS256"),
        jwk(rsa.generate_private_key(public_exponent=65537, key_size=1024), "short"),
        {**jwt.get_algorithm_by_name("ES384").to_jwk(
            ec.generate_private_key(ec.SECP384R1()).public_key(), as_dict=True), "kid": "e"},
    ],
)  # fmt: skip
def test_keys_of_no_use_are_passed_over(entry: Any) -> None:
    """One key that cannot be used does not spoil the others."""
    document = json.dumps({"keys": [entry, jwk(RSA_KEY, "good")]}).encode()
    expected = ["good"]

    actual = [key.key_id for key in usable_keys(document)]

    assert expected == actual


@pytest.mark.parametrize("document", [b"", b"[]", b'{"keys": 3}', b"<html>"])
def test_a_document_that_is_no_key_set_is_refused(document: bytes) -> None:
    """An error page is not taken for an empty set of keys."""
    with pytest.raises(Invalid):
        usable_keys(document)


async def test_an_unknown_key_id_fetches_again_but_not_often() -> None:
    """A new key is found after half a minute, and strangers cannot make us fetch at will."""
    issuer = Issuer(jwk(OTHER_RSA_KEY, "old"))
    auth = issuer.authenticator()
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await auth.authenticate(signed(RSA_KEY, "new"))
    assert issuer.fetched == 1
    issuer.keys.append(jwk(RSA_KEY, "new"))
    issuer.now += 31

    actual = await auth.authenticate(signed(RSA_KEY, "new"))

    assert actual.subject == "ann"
    assert issuer.fetched == 2


async def test_keys_outlive_an_issuer_that_is_down() -> None:
    """Known keys go on working while they cannot be fetched again."""
    issuer = Issuer(jwk(RSA_KEY, "r"))
    auth = issuer.authenticator()
    await auth.authenticate(signed(RSA_KEY, "r"))
    issuer.error = httpx.ConnectError("down")
    issuer.now += 700
    other = bearer(jwt.encode({"sub": "bob"}, RSA_KEY, algorithm="RS256", headers={"kid": "r"}))

    actual = await auth.authenticate(other)

    assert actual.subject == "bob"
    assert issuer.fetched == 2


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("down"), TimeoutError(), httpx.InvalidURL("no"), Invalid("huge")]
)
async def test_without_any_key_the_door_is_unavailable(error: Exception) -> None:
    """Not having the keys is our trouble, not the token's."""
    issuer = Issuer(jwk(RSA_KEY, "r"))
    issuer.error = error
    auth = issuer.authenticator()
    with pytest.raises(Unavailable):
        await auth.authenticate(signed(RSA_KEY, "r"))
    issuer.error = None
    issuer.now += 2

    actual = await auth.authenticate(signed(RSA_KEY, "r"))

    assert actual.subject == "ann"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (AuthOptions(), "TASKLOOM_JWT_SECRET"),
        (AuthOptions(secret="short"), "32 bytes"),
        (AuthOptions(secret="-----BEGIN PUBLIC KEY-----" + "a" * 40), "PEM"),
        (AuthOptions(mode="jwks"), "TASKLOOM_JWKS_URL"),
        (AuthOptions(mode="jwks", jwks_url="file:///keys"), "TASKLOOM_JWKS_URL"),
        (AuthOptions(mode="banana"), "disabled, jwks, jwt-secret"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_start(options: AuthOptions, says: str) -> None:
    """The setting to mend is named."""
    with pytest.raises(Permanent, match=says):
        make_authenticator(options, host="127.0.0.1")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])
def test_a_door_without_a_lock_opens_only_on_loopback(host: str) -> None:
    """Authentication can be switched off on one's own machine only."""
    with pytest.raises(Permanent, match="disabled"):
        make_authenticator(AuthOptions(mode="disabled"), host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "[::1]", "localhost"])
async def test_on_loopback_everyone_may_do_everything(host: str) -> None:
    """Without authentication the caller has every permission."""
    auth = make_authenticator(AuthOptions(mode="disabled"), host=host)
    principal = await auth.authenticate({})

    assert isinstance(auth, Everyone)
    assert all(principal.may(permission) for permission in Permission)


async def test_the_secret_is_not_shown() -> None:
    """Options can be logged without giving the secret away."""
    options = AuthOptions(secret=SECRET)
    token = jwt.encode({"sub": "ann"}, SECRET)

    principal = await make_authenticator(options, host="0.0.0.0").authenticate(bearer(token))

    assert principal.subject == "ann"
    assert SECRET not in repr(options)


async def test_a_custom_authenticator_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mode that is none of ours is an entry point, which is given the options."""

    def make(options: AuthOptions) -> Everyone:
        assert options.mode == "house"
        return Everyone()

    class Found:
        name = "house"

        def load(self) -> object:
            return make

    monkeypatch.setattr(auth, "entry_points", lambda **_: [Found()])

    made = make_authenticator(AuthOptions(mode="house"), host="0.0.0.0")

    assert isinstance(made, Everyone)


@pytest.mark.parametrize(
    ("held", "permission", "expected"),
    [
        ({"16007"}, Permission.TRIGGER_EVENTS, True),
        ({"16008"}, Permission.TRIGGER_EVENTS, False),
        ({"*"}, Permission.TRIGGER_EVENTS, True),
        ({"1"}, Permission.VIEW_WORKFLOWS, True),
        ({"ViewWorkflow"}, Permission.VIEW_WORKFLOWS, True),
        ({"2"}, Permission.VIEW_WORKFLOWS, False),
        (set(), Permission.VIEW_WORKFLOWS, False),
    ],
)
def test_codes_grant_permissions(held: set[str], permission: Permission, *, expected: bool) -> None:
    """A permission is granted by its code, its second code, or the star."""
    assert expected == granted(held, permission)


def test_no_code_grants_two_permissions() -> None:
    """Each code means one thing."""
    all_codes = [code for permission in Permission for code in codes(permission)]

    assert len(set(all_codes)) == len(all_codes)
