"""Camunda's form of dates: ``2026-11-24T10:00:00.000+0000``."""

import re
from datetime import UTC, datetime

from taskloom.api.engine_rest.faults import Fault

_FORM = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4}")
_FORMAT = "%Y-%m-%dT%H:%M:%S.%f%z"


def write_date(moment: datetime) -> str:
    """Write a moment in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + (
        f"{moment.microsecond // 1000:03d}+0000"
    )


def is_date(text: str) -> bool:
    """Tell whether a text is a date in just this form."""
    if _FORM.fullmatch(text) is None:
        return False
    try:
        datetime.strptime(text, _FORMAT)  # noqa: DTZ007 - it has a zone
    except ValueError:
        return False
    return True


def read_date(name: str, text: str) -> datetime:
    """Read a query's date."""
    if not is_date(text):
        raise Fault(
            400,
            "InvalidRequestException",
            f"Cannot set query parameter '{name}' to value '{text}': write it as "
            "2026-11-24T10:00:00.000+0000",
        )
    return datetime.strptime(text, _FORMAT).astimezone(UTC)
