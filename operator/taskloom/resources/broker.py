"""Connections to message brokers, shared by EventSource and EventSink."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from taskloom.resources.base import Part, Rule, exactly_one, immutable
from taskloom.resources.fields import (
    FREE_FORM,
    LIST_BY_NAME,
    LIST_SET,
    DataKey,
    Host,
    ObjectName,
    Url,
)
from taskloom.resources.references import CaRef, ObjectRef, SecretKeyRef

BootstrapServers = Annotated[
    tuple[
        Annotated[
            str,
            Field(min_length=3, max_length=261, pattern=r"^[A-Za-z0-9._\[\]:-]+:[0-9]{1,5}$"),
        ],
        ...,
    ],
    Field(min_length=1, max_length=16, json_schema_extra=LIST_SET),
]
KafkaTopic = Annotated[str, Field(min_length=1, max_length=249, pattern=r"^[a-zA-Z0-9._-]+$")]


NatsName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_-]+$")]
NatsSubject = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\s]+$")]


class NamedSecretRef(Part):
    """A value of a Secret, and the name it is given by."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
    """The name it is given by."""
    secret_key_ref: SecretKeyRef
    """The value."""


class UsernameRef(Part):
    """A user name in a Secret."""

    atomic: ClassVar[bool] = True

    name: ObjectName
    """Name of the Secret."""
    key: DataKey = "username"
    """Key in its data."""


class PasswordRef(Part):
    """A password in a Secret."""

    atomic: ClassVar[bool] = True

    name: ObjectName
    """Name of the Secret."""
    key: DataKey = "password"
    """Key in its data."""


class OAuth(Part):
    """OAuth client credentials."""

    token_endpoint: Url
    """Where tokens are asked for."""
    client_id_ref: SecretKeyRef
    """The client's id."""
    client_secret_ref: SecretKeyRef
    """The client's secret."""
    scope: Annotated[str, Field(max_length=256)] | None = None
    """The scope to ask for."""


class Sasl(Part):
    """How to log in to Kafka."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="!(self.mechanism in ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512']) "
            "|| (has(self.usernameRef) && has(self.passwordRef))",
            message="`usernameRef` and `passwordRef` must be specified for this mechanism",
        ),
        Rule(
            rule="(self.mechanism == 'OAUTHBEARER') == has(self.oauth)",
            message="`oauth` must be specified for OAUTHBEARER and may not be otherwise",
            field="oauth",
        ),
        Rule(
            rule="(self.mechanism == 'AWS_MSK_IAM') == has(self.awsRegion)",
            message="`awsRegion` must be specified for AWS_MSK_IAM and may not be otherwise",
            field="awsRegion",
        ),
    )

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"]
    """The SASL mechanism."""
    username_ref: UsernameRef | None = None
    """The user's name."""
    password_ref: PasswordRef | None = None
    """The user's password."""
    oauth: OAuth | None = None
    """For OAUTHBEARER."""
    aws_region: Annotated[str, Field(max_length=64)] | None = None
    """For AWS_MSK_IAM."""


class BrokerTls(Part):
    """TLS towards a broker."""

    ca_ref: CaRef | None = None
    """Authorities to trust instead of the system's."""
    client_certificate_ref: ObjectRef | None = None
    """A kubernetes.io/tls Secret (tls.crt, tls.key) to show to the broker."""
    server_name: Host | None = None
    """The name to expect in the broker's certificate."""
    insecure_skip_verify: bool = False
    """Accepts any certificate; for trials only."""


class NatsAuth(Part):
    """How to log in to NATS."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one("userRef", "tokenRef", "credentialsRef"),
        Rule(
            rule="has(self.userRef) == has(self.passwordRef)",
            message="`userRef` and `passwordRef` must be specified together",
        ),
    )

    user_ref: SecretKeyRef | None = None
    """A user's name."""
    password_ref: SecretKeyRef | None = None
    """The user's password."""
    token_ref: SecretKeyRef | None = None
    """A token."""
    credentials_ref: SecretKeyRef | None = None
    """A credentials file: a JWT and an NKey seed."""


class NatsServers(Part):
    """Servers of NATS."""

    servers: Annotated[
        tuple[
            Annotated[
                str,
                Field(
                    min_length=8,
                    max_length=261,
                    pattern=r"^(nats|tls)://[A-Za-z0-9._\[\]:-]+:[0-9]{1,5}$",
                ),
            ],
            ...,
        ],
        Field(min_length=1, max_length=16, json_schema_extra=LIST_SET),
    ]
    """Servers to begin with, nats://host:port."""
    auth: NatsAuth | None = None
    """How to log in."""
    tls: BrokerTls | None = None
    """TLS towards the servers."""


class CustomConnector(Part):
    """A connector that an installed package offers."""

    rules: ClassVar[tuple[Rule, ...]] = (
        immutable("kind", of="custom."),
        Rule(
            rule="!(self.kind in ['kafka', 'http', 'sqs', 'nats', 'cron', 'custom'])",
            message="`kind` is one of Taskloom's own; another is needed",
            field="kind",
        ),
    )

    kind: Annotated[
        str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    ]
    """The kind that the package gives itself."""
    config: Annotated[dict[str, Any], Field(json_schema_extra=FREE_FORM)] | None = None
    """What the connector is to know: its own documentation says what."""
    secrets: (
        Annotated[
            tuple[NamedSecretRef, ...],
            Field(min_length=1, max_length=32, json_schema_extra=LIST_BY_NAME),
        ]
        | None
    ) = None
    """Values of Secrets that it is given, by name."""


class SqsAuth(Part):
    """How to log in to SQS; empty means the surroundings' own identity."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="has(self.accessKeyIdRef) == has(self.secretAccessKeyRef)",
            message="`accessKeyIdRef` and `secretAccessKeyRef` must be specified together",
        ),
    )

    access_key_id_ref: SecretKeyRef | None = None
    """The access key's id."""
    secret_access_key_ref: SecretKeyRef | None = None
    """The access key's secret."""
    session_token_ref: SecretKeyRef | None = None
    """A session token."""
    role_arn: Annotated[str, Field(max_length=2048)] | None = None
    """A role to assume."""


class SqsQueue(Part):
    """A queue of Amazon SQS or of something that speaks like it."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule=r"self.queueUrl.matches('^(?i:https?)://[^/?#@\\s]+(/\\S*)?$')",
            message="`queueUrl` must be an absolute http or https URL",
            field="queueUrl",
        ),
    )

    queue_url: Url
    """URL of the queue."""
    region: Annotated[str, Field(max_length=64)] | None = None
    """AWS region; taken from the URL by default."""
    endpoint: Url | None = None
    """Another endpoint than AWS's."""
    auth: SqsAuth | None = None
    """How to log in."""
