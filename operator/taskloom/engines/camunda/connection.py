"""Where the engine is, and how it knows us."""

from dataclasses import dataclass
from pathlib import Path

from taskloom.domain.secret import Secret

DEFAULT_HISTORY_DAYS = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCredentials:
    """An OAuth2 client, for the grant of that name; `token_url` hands tokens out."""

    token_url: str
    client_id: str
    client_secret: Secret
    scope: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The REST API at `url` (``https://host/engine-rest``), of which one tenant's part is used.

    At most one of `password`, `token` and `oauth` says who we are; `certificate` and `key` may say
    so, too.  `history_days` is how long ended instances of models that do not say are kept.
    """

    url: str
    user: str | None = None
    password: Secret | None = None
    token: Secret | None = None
    oauth: ClientCredentials | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    tenant: str | None = None
    history_days: int = DEFAULT_HISTORY_DAYS
