"""What a broker's credentials refer to, read for those who cannot read Secrets themselves."""

from collections.abc import Mapping

from taskloom.domain.secret import Secret
from taskloom.reconcilers.desired import World
from taskloom.reconcilers.references import ca_bundle, referenced_secret, secret_text
from taskloom.resources.broker import (
    BrokerTls,
    CustomConnector,
    NatsServers,
    Sasl,
    SqsAuth,
)
from taskloom.resources.event_sink import EventSinkSpec
from taskloom.resources.event_source import EventSourceSpec
from taskloom.resources.references import SecretKeyRef


def broker_secrets(
    world: World, namespace: str, spec: EventSourceSpec | EventSinkSpec
) -> dict[str, Secret]:
    """Read what a source's or sink's references hold, by the names its connector knows."""
    if spec.kafka is not None:
        return kafka_secrets(world, namespace, spec.kafka.sasl, spec.kafka.tls)
    if spec.sqs is not None:
        return sqs_secrets(world, namespace, spec.sqs.auth)
    if spec.nats is not None:
        return nats_secrets(world, namespace, spec.nats)
    if spec.custom is not None:
        return custom_secrets(world, namespace, spec.custom)
    return {}


def kafka_secrets(
    world: World, namespace: str, sasl: Sasl | None, tls: BrokerTls | None
) -> dict[str, Secret]:
    """Read what logs in to Kafka: ``sasl.…`` and ``tls.…``, certificates in PEM."""
    found: dict[str, Secret] = {}
    if sasl is not None:
        for name, ref in (("username", sasl.username_ref), ("password", sasl.password_ref)):
            if ref is not None:
                found[f"sasl.{name}"] = secret_text(world, namespace, ref.name, ref.key)
        if sasl.oauth is not None:
            oauth = sasl.oauth
            found["sasl.clientId"] = referenced_secret(world, namespace, oauth.client_id_ref)
            found["sasl.clientSecret"] = referenced_secret(
                world, namespace, oauth.client_secret_ref
            )
    return found | _tls_secrets(world, namespace, tls)


def nats_secrets(world: World, namespace: str, servers: NatsServers) -> dict[str, Secret]:
    """Read what logs in to NATS: ``user``, ``password``, ``token``, ``credentials``, ``tls.…``."""
    found = _tls_secrets(world, namespace, servers.tls)
    if servers.auth is None:
        return found
    refs = {
        "user": servers.auth.user_ref,
        "password": servers.auth.password_ref,
        "token": servers.auth.token_ref,
        "credentials": servers.auth.credentials_ref,
    }
    return found | _read(world, namespace, refs)


def custom_secrets(world: World, namespace: str, custom: CustomConnector) -> dict[str, Secret]:
    """Read what a connector of somebody else's is given, by the names it is given by."""
    refs = {ref.name: ref.secret_key_ref for ref in custom.secrets or ()}
    return _read(world, namespace, refs)


def sqs_secrets(world: World, namespace: str, auth: SqsAuth | None) -> dict[str, Secret]:
    """Read what logs in to SQS: ``accessKeyId``, ``secretAccessKey``, ``sessionToken``."""
    if auth is None:
        return {}
    refs = {
        "accessKeyId": auth.access_key_id_ref,
        "secretAccessKey": auth.secret_access_key_ref,
        "sessionToken": auth.session_token_ref,
    }
    return _read(world, namespace, refs)


def _tls_secrets(world: World, namespace: str, tls: BrokerTls | None) -> dict[str, Secret]:
    found: dict[str, Secret] = {}
    if tls is not None and tls.ca_ref is not None:
        found["tls.ca"] = Secret(ca_bundle(world, namespace, tls.ca_ref))
    if tls is not None and tls.client_certificate_ref is not None:
        name = tls.client_certificate_ref.name
        parts = (secret_text(world, namespace, name, key) for key in ("tls.crt", "tls.key"))
        found["tls.clientCertificate"] = Secret("\n".join(part.reveal() for part in parts) + "\n")
    return found


def _read(
    world: World, namespace: str, refs: Mapping[str, SecretKeyRef | None]
) -> dict[str, Secret]:
    return {
        name: referenced_secret(world, namespace, ref)
        for name, ref in refs.items()
        if ref is not None
    }
