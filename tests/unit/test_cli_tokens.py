"""Tokens for local use: who they speak for, what they permit, how long."""

import stat
from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner

from taskloom.api.auth import AuthOptions, make_authenticator
from taskloom.bootstrap import local_jwt_secret
from taskloom.cli.app import app
from taskloom.cli.local_token import own_token
from taskloom.domain.permissions import Permission, Principal


async def _principal(token: str, secret: str) -> Principal:
    door = make_authenticator(AuthOptions(secret=secret), host="127.0.0.1")
    return await door.authenticate({"authorization": f"Bearer {token}"})


def _token(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["token", *arguments])
    assert done.exit_code == 0, done.stderr
    return done.stdout.rstrip("\n")


async def test_a_token_opens_the_door(tmp_path: Path) -> None:
    """With the data folder's secret a server lets the token in, with everything permitted."""
    token = _token("--data-dir", str(tmp_path), "--permissions", "*", "--subject", "ann")

    principal = await _principal(token, local_jwt_secret(tmp_path))

    assert principal.subject == "ann"
    assert all(principal.may(permission) for permission in Permission)


async def test_permissions_are_given_as_lists_and_again(tmp_path: Path) -> None:
    """Commas and repetition both add codes, and no others are held."""
    token = _token(
        "--data-dir", str(tmp_path), "--permissions", "16002, 16003", "--permissions", "16007"
    )

    principal = await _principal(token, local_jwt_secret(tmp_path))

    assert frozenset({"16002", "16003", "16007"}) == principal.permissions


def test_only_the_token_is_printed(tmp_path: Path) -> None:
    """A code that nothing asks for is said on standard error, beside the token."""
    done = CliRunner().invoke(app, ["token", "--data-dir", str(tmp_path), "--permissions", "9"])

    assert done.exit_code == 0
    assert done.stdout.count(".") == 2
    assert len(done.stdout.split()) == 1
    assert "No call here asks for the permission 9" in done.stderr


def test_the_secret_is_made_once_for_its_owner(tmp_path: Path) -> None:
    """The first token makes the secret, with mode 0600; the second uses it."""
    folder = tmp_path / "data"
    _token("--data-dir", str(folder))
    secret = (folder / "jwt.secret").read_text()
    _token("--data-dir", str(folder))

    assert secret == (folder / "jwt.secret").read_text()
    assert stat.S_IMODE((folder / "jwt.secret").stat().st_mode) == 0o600


def test_a_token_ends(tmp_path: Path) -> None:
    """--ttl is what lies between its times."""
    token = _token("--data-dir", str(tmp_path), "--ttl", "1h30m")

    claims = jwt.decode(token, options={"verify_signature": False})

    assert claims["exp"] - claims["iat"] == 5400


def test_the_environment_outweighs_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is given a secret, an audience and an issuer gets tokens that fit."""
    secret = "s" * 40
    monkeypatch.setenv("TASKLOOM_JWT_SECRET", secret)
    monkeypatch.setenv("TASKLOOM_JWT_AUDIENCE", "tasks")
    monkeypatch.setenv("TASKLOOM_JWT_ISSUER", "here")

    claims = jwt.decode(
        own_token(tmp_path), secret, algorithms=["HS256"], audience="tasks", issuer="here"
    )

    assert claims["permissions"] == ["*"]
    assert not (tmp_path / "jwt.secret").exists()


def test_no_token_is_made_where_others_make_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With keys of an issuer there is no secret to sign with."""
    monkeypatch.setenv("TASKLOOM_AUTH_MODE", "jwks")

    done = CliRunner().invoke(app, ["token", "--data-dir", str(tmp_path)])

    assert done.exit_code == 1
    assert "jwks" in done.stderr
    assert not (tmp_path / "jwt.secret").exists()
