"""Which engine runs workflows, by the settings."""

from pathlib import Path
from typing import Any

import pytest

from taskloom.bootstrap.engine import connection_of
from taskloom.cli.settings import read_settings
from taskloom.domain.secret import Secret
from taskloom.engines.camunda.connection import ClientCredentials, Connection
from taskloom.errors import Invalid

URL = "https://engine.example/engine-rest"
OAUTH = {
    "engine_oauth_token_url": "https://id.example/token",
    "engine_oauth_client_id": "me",
    "engine_oauth_client_secret": "s",
}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"engine": "camunda"}, "TASKLOOM_ENGINE=camunda needs TASKLOOM_ENGINE_URL"),
        ({"engine_url": URL}, "TASKLOOM_ENGINE_URL needs TASKLOOM_ENGINE=camunda"),
        ({"engine": "camunda", "engine_url": "engine:8080"}, "write a URL such as https"),
        ({"engine": "camunda", "engine_url": "http://a:b@c/"}, "give user and password by"),
        (
            {"engine": "camunda", "engine_url": URL, "engine_user": "a", "engine_token": "b"},
            "give one of TASKLOOM_ENGINE_USER, TASKLOOM_ENGINE_TOKEN",
        ),
        (
            {"engine": "camunda", "engine_url": URL, "engine_oauth_client_id": "me"},
            "OAuth2 needs all of",
        ),
        (
            {"engine": "camunda", "engine_url": URL, "engine_key": "key.pem"},
            "TASKLOOM_ENGINE_KEY needs TASKLOOM_ENGINE_CERTIFICATE",
        ),
        ({"engine": "zeebe"}, "--engine: Input should be 'embedded' or 'camunda'"),
    ],
)
def test_settings_that_cannot_go_together_are_told(given: dict[str, Any], said: str) -> None:
    """Which one is missing, or too many."""
    with pytest.raises(Invalid, match=said):
        read_settings(**given)


def test_connection_is_what_the_settings_say() -> None:
    """Every setting of the engine reaches it."""
    settings = read_settings(
        engine="camunda",
        engine_url=URL,
        engine_ca="ca.pem",
        engine_certificate="cert.pem",
        engine_key="key.pem",
        engine_tenant="shop",
        engine_history_days=30,
        engine_oauth_scope="engine",
        **OAUTH,
    )

    assert Connection(
        url=URL,
        oauth=ClientCredentials(
            token_url="https://id.example/token",
            client_id="me",
            client_secret=Secret("s"),
            scope="engine",
        ),
        ca=Path("ca.pem"),
        certificate=Path("cert.pem"),
        key=Path("key.pem"),
        tenant="shop",
        history_days=30,
    ) == connection_of(settings)


def test_secrets_are_not_shown() -> None:
    """Neither by the settings nor by the connection."""
    settings = read_settings(
        engine="camunda", engine_url=URL, engine_user="ann", engine_password="hidden!"
    )

    assert "hidden!" not in repr(settings) + repr(connection_of(settings))
