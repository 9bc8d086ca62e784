"""The settings of this process: what was given on the command line, else the environment."""

from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from taskloom.errors import Invalid
from taskloom.settings import Settings

_DRIVER = "postgresql+psycopg"
_SCHEMES = frozenset({"postgres", "postgresql", _DRIVER})


def read_settings(**given: Any) -> Settings:
    """Read the settings; those `given` as None are left to the environment and the defaults."""
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as exc:
        said = "; ".join(_said(error, given) for error in exc.errors(include_input=False))
        raise Invalid(f"The settings are not valid: {said}.") from exc
    urls = {name: getattr(settings, name) for name in ("database_url", "workflow_database_url")}
    checked = {
        name: SecretStr(_checked(url.get_secret_value(), _shown(name, given)))
        for name, url in urls.items()
        if url is not None
    }
    return settings.model_copy(update=checked)


def _checked(url: str, shown: str) -> str:
    """Give a database's URL with the driver that is used; it may hold a password: never shown."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in _SCHEMES or "://" not in url:
        raise Invalid(f"{shown} is no URL such as postgresql://user:password@host:5432/name.")
    return f"{_DRIVER}{url[len(parts.scheme) :]}"


def _said(error: Any, given: dict[str, Any]) -> str:
    name = str(error["loc"][0]) if error["loc"] else "settings"
    return f"{_shown(name, given)}: {error['msg']}"


def _shown(name: str, given: dict[str, Any]) -> str:
    """Name a setting as it was given: by its option or by its variable."""
    if given.get(name) is not None:
        return f"--{name.replace('_', '-')}"
    return f"TASKLOOM_{name.upper()}"
