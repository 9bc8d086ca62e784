"""What the tables are made of: names of constraints, JSON kept as text, columns that recur."""

from typing import Any

from sqlalchemy import Boolean, Column, DateTime, Text, text
from sqlalchemy.types import UserDefinedType

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class JsonText(UserDefinedType[str]):
    """PostgreSQL ``json``, bound and fetched as text: nothing is parsed on the way."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Name the column type."""
        return "JSON"


def instant(name: str, **options: Any) -> Column[Any]:
    """Give a column of a moment, with its time zone."""
    return Column(name, DateTime(timezone=True), **options)


def created_on() -> Column[Any]:
    """Give the column of when a row was made."""
    return instant("created_on", nullable=False, server_default=text("now()"))


def modified_on() -> Column[Any]:
    """Give the column of when a row was changed last."""
    return instant("modified_on", nullable=False, server_default=text("now()"))


def audit() -> list[Column[Any]]:
    """Give the columns of when and by whom a row was made, changed and marked deleted."""
    return [
        created_on(),
        modified_on(),
        Column("created_by", Text),
        Column("modified_by", Text),
        Column("deleted", Boolean, nullable=False, server_default=text("false")),
        instant("deleted_on"),
        Column("deleted_by", Text),
    ]


def managed_by() -> Column[Any]:
    """Give the column of who looks after a row: ``api``, or ``<provider>:<kind>/<ns>/<name>``."""
    return Column("managed_by", Text, nullable=False, server_default=text("'api'"))
