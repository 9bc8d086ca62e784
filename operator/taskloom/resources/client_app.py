"""ClientApp: a program that may post events and manage webhooks, and its credentials."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from taskloom.resources.base import (
    Column,
    Names,
    Part,
    Resource,
    Rule,
    at_most_one,
    ready_columns,
)
from taskloom.resources.fields import (
    LIST_SET,
    Count,
    DataKey,
    Duration,
    Host,
    Identifier,
    ObjectName,
    Timestamp,
)
from taskloom.resources.references import ObjectRef
from taskloom.resources.status import Status

Scope = Literal[
    "engine.start",
    "engine.work",
    "events.read",
    "events.trigger",
    "tasks.read",
    "tasks.write",
    "webhooks.manage",
]


class CredentialKeys(Part):
    """Under which keys of the Secret the credentials lie."""

    api_key: DataKey = "apiKey"
    """Key of the public half, which names the client."""
    api_secret: DataKey = "apiSecret"  # noqa: S105 - the name of a key, not a secret
    """Key of the secret that authenticates, and that signs x-task-signature."""
    signing_secret: DataKey = "signingSecret"  # noqa: S105 - the name of a key, not a secret
    """Key of the secret (whsec_...) that signs webhook-signature."""


class Rotation(Part):
    """When new secrets are made; the former ones stay valid for `overlap`."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="self.revision >= oldSelf.revision",
            message="`revision` must not be lowered",
            field="revision",
        ),
        Rule(
            rule="!has(self.interval) || duration(self.interval) > duration(self.overlap)",
            message="`interval` must be greater than `overlap`",
            field="interval",
        ),
    )

    revision: Count = 0
    """Raise it by any amount to rotate now."""
    interval: Duration | None = None
    """Rotate this often; unset means never by time."""
    overlap: Duration = "24h"
    """How long the former secrets stay valid."""


class GeneratedCredentials(Part):
    """Credentials that Taskloom makes and writes to a Secret; an existing Secret is adopted."""

    secret_name: ObjectName | None = None
    """Name of the Secret; the object's name with -credentials behind it by default."""
    creation_policy: Literal["Owner", "Orphan"] = "Owner"
    """Owner removes the Secret together with this object; Orphan leaves it."""
    keys: CredentialKeys = CredentialKeys()
    """Under which keys the credentials are written."""
    rotation: Rotation = Rotation()
    """When new secrets are made."""


class ImportedCredentials(Part):
    """Credentials that somebody else keeps in a Secret."""

    secret_ref: ObjectRef
    """The Secret that holds them."""
    keys: CredentialKeys = CredentialKeys()
    """Under which keys they lie; a signing secret that is missing is derived from the API
    secret: whsec_ and the base64 of its SHA-256."""


class Credentials(Part):
    """Where the credentials come from."""

    rules: ClassVar[tuple[Rule, ...]] = (at_most_one("generated", "imported"),)

    generated: GeneratedCredentials | None = None
    """Made by Taskloom; the default."""
    imported: ImportedCredentials | None = None
    """Taken from a Secret."""


class ClientAppSpec(Part):
    """A program that may post events and manage webhooks."""

    display_name: Annotated[str, Field(max_length=128)] | None = None
    """Name for people."""
    description: Annotated[str, Field(max_length=1024)] | None = None
    """What the program is for."""
    suspend: bool = False
    """Refuses every call made with these credentials, without deleting them."""
    scopes: Annotated[tuple[Scope, ...], Field(max_length=16, json_schema_extra=LIST_SET)] = (
        "events.trigger",
        "webhooks.manage",
    )
    """What the program may do."""
    credentials: Credentials = Credentials(generated=GeneratedCredentials())
    """Where its credentials come from."""
    deletion_policy: Literal["Delete", "Retain"] = "Delete"
    """Delete revokes the credentials; Retain leaves the client in the database."""

    def secret_name(self, object_name: str) -> str:
        """Tell which Secret holds the credentials of the object called `object_name`."""
        if self.credentials.imported is not None:
            return self.credentials.imported.secret_ref.name
        generated = self.credentials.generated or GeneratedCredentials()
        return generated.secret_name or f"{object_name}-credentials"

    def keys(self) -> CredentialKeys:
        """Tell under which keys of that Secret they lie."""
        source = self.credentials.imported or self.credentials.generated
        return source.keys if source is not None else CredentialKeys()


class Binding(Part):
    """A Provisioned Service of servicebinding.io."""

    name: Host | None = None
    """Name of the Secret to bind."""


class CredentialsStatus(Part):
    """The credentials in use."""

    secret_ref: ObjectRef | None = None
    """The Secret that holds them."""
    revision: Count | None = None
    """The revision that is in force."""
    issued_at: Timestamp | None = None
    """When they were made or taken over."""
    previous_valid_until: Timestamp | None = None
    """Until when the former secrets are accepted."""
    next_rotation_time: Timestamp | None = None
    """When they are made anew."""


class ClientAppStatus(Status):
    """What became of a ClientApp."""

    client_id: Identifier | None = None
    """Id of the client in the database."""
    api_key: Annotated[str, Field(max_length=320)] | None = None
    """The public half of the credentials."""
    binding: Binding | None = None
    """For servicebinding.io."""
    credentials: CredentialsStatus | None = None
    """The credentials in use."""


class ClientApp(Resource):
    """A program that may post events and manage webhooks, and its credentials."""

    names: ClassVar[Names] = Names(kind="ClientApp", plural="clientapps", short="capp")
    columns: ClassVar[tuple[Column, ...]] = (
        Column(name="Secret", path=".status.credentials.secretRef.name"),
        *ready_columns(
            Column(
                name="Rotation",
                path=".status.credentials.nextRotationTime",
                priority=1,  # a text: kubectl shows no date that is to come
            )
        ),
    )
    status_type: ClassVar[type[Part]] = ClientAppStatus

    kind: Literal["ClientApp"]
    spec: ClientAppSpec
