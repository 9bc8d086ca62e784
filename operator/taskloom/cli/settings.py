"""The settings of this process: what was given on the command line, else the environment."""

from typing import Any

from pydantic import ValidationError

from taskloom.errors import Invalid
from taskloom.settings import Settings


def read_settings(**given: Any) -> Settings:
    """Read the settings; those `given` as None are left to the environment and the defaults."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as exc:
        said = "; ".join(_said(error, given) for error in exc.errors(include_input=False))
        raise Invalid(f"The settings are not valid: {said}.") from exc


def _said(error: Any, given: dict[str, Any]) -> str:
    name = str(error["loc"][0]) if error["loc"] else "settings"
    shown = f"--{name.replace('_', '-')}" if given.get(name) is not None else _variable(name)
    return f"{shown}: {error['msg']}"


def _variable(name: str) -> str:
    return f"TASKLOOM_{name.upper()}"
