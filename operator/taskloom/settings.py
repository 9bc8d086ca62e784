"""Every setting, with its default and its unit; ``docs/reference/settings.md`` is made from this.

Each is read from the environment as ``TASKLOOM_`` and its name in capitals.
"""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Role = Literal["api", "connectors", "worker", "relay", "dispatcher", "controller"]
ROLES: tuple[Role, ...] = ("api", "connectors", "worker", "relay", "dispatcher", "controller")


class Settings(BaseSettings):
    """How one process of Taskloom runs."""

    model_config = SettingsConfigDict(env_prefix="TASKLOOM_", extra="ignore")

    roles: Annotated[tuple[Role, ...], NoDecode] = Field(
        default=ROLES, description="What this process does; all of it by default."
    )
    data_dir: Path = Field(
        default=Path(".taskloom"),
        description="Where the embedded database, generated keys and credentials are kept.",
    )
    files: Path | None = Field(
        default=None, description="A folder of resources to reconcile; none by default."
    )
    kubernetes: bool = Field(
        default=False,
        description="Whether to reconcile a cluster's resources: the cluster of the pod that this "
        "process runs in, else the kubeconfig's.",
    )
    namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="The cluster's namespaces to reconcile; all by default."
    )
    selector: str | None = Field(
        default=None,
        description="A label selector: only the cluster's resources that it selects are "
        "reconciled.",
    )
    lease_name: str = Field(
        default="taskloom-controller",
        description="The Lease that decides which of several controllers leads.",
    )
    lease_namespace: str | None = Field(
        default=None, description="The namespace of that Lease; the pod's own by default."
    )
    kubernetes_callers: bool = Field(
        default=False,
        description="Whether the cluster's ServiceAccounts may call the API, with the rights that "
        "its roles give them; other tokens go by the auth mode.",
    )
    kubernetes_audience: str = Field(
        default="taskloom",
        min_length=1,
        description="The audience that their tokens must be meant for.",
    )
    kubernetes_namespace: str | None = Field(
        default=None,
        description="The namespace whose roles give them rights; the pod's own by default.",
    )
    resync_seconds: float = Field(
        default=300.0,
        ge=5,
        le=86_400,
        description="How often all resources are looked at though nothing changed, in seconds: "
        "what was changed by hand is put right then, and what the watch missed is found.",
    )
    outage_grace_seconds: float = Field(
        default=10.0,
        ge=0,
        le=3600,
        description="How long the database does not answer before the cluster's resources in "
        "force are told so, in seconds.",
    )
    host: str = Field(default="127.0.0.1", description="The address the API listens on.")
    port: int = Field(default=8080, ge=0, le=65535, description="The port the API listens on.")
    health_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="A port that answers /healthz, /readyz and /metrics only, whatever this "
        "process does; none by default, as the API's port answers them too.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="The task database; an embedded PostgreSQL in the data folder by default.",
    )
    workflow_database_url: SecretStr | None = Field(
        default=None,
        description="The database of workflows and of the embedded engine; the same by default.",
    )
    engine: Literal["embedded", "camunda"] = Field(
        default="embedded",
        description="What runs workflows: the engine in the workflow database, or Camunda 7, "
        "Operaton or CIB seven by its REST API.",
    )
    engine_url: str | None = Field(
        default=None,
        description="The base of that REST API, such as https://host/engine-rest.",
    )
    engine_user: str | None = Field(default=None, description="Who we are to it, by a password.")
    engine_password: SecretStr | None = Field(default=None, description="That user's password.")
    engine_token: SecretStr | None = Field(
        default=None, description="A bearer token for it, instead of a user."
    )
    engine_oauth_token_url: str | None = Field(
        default=None,
        description="Where OAuth2 tokens for it are handed out to clients, instead of a user.",
    )
    engine_oauth_client_id: str | None = Field(default=None, description="The OAuth2 client's id.")
    engine_oauth_client_secret: SecretStr | None = Field(
        default=None, description="The OAuth2 client's secret."
    )
    engine_oauth_scope: str | None = Field(
        default=None, description="The scope of the token, if one is to be named."
    )
    engine_ca: Path | None = Field(
        default=None,
        description="A file of the authorities that may sign its certificate; the system's by "
        "default.",
    )
    engine_certificate: Path | None = Field(
        default=None, description="A file with the certificate that we show it."
    )
    engine_key: Path | None = Field(
        default=None, description="The file of that certificate's key, if it is another one."
    )
    engine_tenant: str | None = Field(
        default=None,
        min_length=1,
        description="The tenant that workflows are deployed for and run in; none by default.",
    )
    engine_history_days: int = Field(
        default=180,
        ge=1,
        le=36_500,
        description="How many days it keeps ended instances of models that do not say so.",
    )
    webhooks: bool = Field(
        default=True, description="Whether client apps are served and subscribers told."
    )
    auth_mode: str = Field(
        default="jwt-secret",
        description="How callers are known: jwt-secret, jwks, disabled (on loopback only), "
        "or the name of an entry point in the group taskloom.auth.",
    )
    jwt_secret: SecretStr | None = Field(
        default=None,
        description="The secret of HS256 tokens; made in the data folder by default.",
    )
    jwks_url: str | None = Field(
        default=None, description="Where the public keys of RS256 and ES256 tokens are."
    )
    jwt_audience: str | None = Field(default=None, description="The `aud` that tokens must have.")
    jwt_issuer: str | None = Field(default=None, description="The `iss` that tokens must have.")
    encryption_keys: SecretStr | None = Field(
        default=None,
        description="Fernet keys that seal secrets at rest, the newest first, separated by "
        "commas; made in the data folder by default.",
    )
    egress_allow_loopback: bool = Field(
        default=True, description="Whether webhooks may go to addresses of this machine."
    )
    egress_allow_private: bool = Field(
        default=True, description="Whether webhooks may go to private addresses."
    )
    egress_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Networks (CIDR) that webhooks may go to besides."
    )
    egress_deny: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Networks (CIDR) that webhooks may never go to."
    )
    worker_concurrency: int = Field(
        default=8, ge=1, le=1000, description="External tasks run at once."
    )
    relay_concurrency: int = Field(default=8, ge=1, le=1000, description="Jobs run at once.")
    delivery_concurrency: int = Field(
        default=64, ge=1, le=10_000, description="Webhooks under way at once."
    )
    connector_pool: str = Field(
        default="default",
        description="The pool whose event sources this process runs: those whose "
        "`placement.pool` is it.",
    )
    connector_source: str | None = Field(
        default=None,
        description="The one event source that this process runs, as namespace/name: one whose "
        "`placement.mode` is Dedicated. Set by the controller.",
    )
    worker_template: Path | None = Field(
        default=None,
        description="A Deployment in YAML: what the pods of dedicated event sources are made of.",
    )
    worker_owner: str | None = Field(
        default=None,
        description="The ConfigMap beside the Lease that these belong to: they go when it goes.",
    )
    lease_seconds: float = Field(
        default=30.0, ge=5, le=3600, description="How long claimed work is held, in seconds."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe lines that are logged."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto", description="How lines look; auto is console on a terminal, else json."
    )

    @field_validator("roles", "namespaces", "egress_allow", "egress_deny", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("connector_source")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        if value is not None and not all(value.partition("/")[::2]):
            raise ValueError("write namespace/name")
        return value

    @field_validator("engine_url", "engine_oauth_token_url")
    @classmethod
    def _plain_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("write a URL such as https://host/engine-rest")
        if parts.username is not None or parts.password is not None:
            raise ValueError("give user and password by settings of their own")
        return value

    @model_validator(mode="after")
    def _engine_can_be_reached(self) -> Self:
        if self.engine == "embedded":
            if self.engine_url is not None:
                raise ValueError("TASKLOOM_ENGINE_URL needs TASKLOOM_ENGINE=camunda")
            return self
        if self.engine_url is None:
            raise ValueError("TASKLOOM_ENGINE=camunda needs TASKLOOM_ENGINE_URL")
        oauth = (
            self.engine_oauth_token_url,
            self.engine_oauth_client_id,
            self.engine_oauth_client_secret,
        )
        if any(oauth) and not all(oauth):
            raise ValueError(
                "OAuth2 needs all of TASKLOOM_ENGINE_OAUTH_TOKEN_URL, _CLIENT_ID and _CLIENT_SECRET"
            )
        if sum(map(bool, (self.engine_user, self.engine_token, any(oauth)))) > 1:
            raise ValueError(
                "give one of TASKLOOM_ENGINE_USER, TASKLOOM_ENGINE_TOKEN and "
                "TASKLOOM_ENGINE_OAUTH_TOKEN_URL"
            )
        if self.engine_key is not None and self.engine_certificate is None:
            raise ValueError("TASKLOOM_ENGINE_KEY needs TASKLOOM_ENGINE_CERTIFICATE")
        return self

    @model_validator(mode="after")
    def _one_provider(self) -> Self:
        if self.kubernetes and self.files is not None:
            raise ValueError("resources come from a folder or from a cluster, not from both")
        return self


def reveal(secret: SecretStr | None) -> str | None:
    """Give a secret setting's text, or None if it is not set."""
    return None if secret is None else secret.get_secret_value()
