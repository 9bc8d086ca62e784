"""What a broker's credentials refer to, read for those who cannot read Secrets themselves."""

from taskloom.domain.secret import Secret
from taskloom.reconcilers.desired import World
from taskloom.reconcilers.references import ca_bundle, referenced_secret, secret_text
from taskloom.resources.broker import BrokerTls, Sasl, SqsAuth


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
    if tls is not None and tls.ca_ref is not None:
        found["tls.ca"] = Secret(ca_bundle(world, namespace, tls.ca_ref))
    if tls is not None and tls.client_certificate_ref is not None:
        name = tls.client_certificate_ref.name
        parts = (secret_text(world, namespace, name, key) for key in ("tls.crt", "tls.key"))
        found["tls.clientCertificate"] = Secret("\n".join(part.reveal() for part in parts) + "\n")
    return found


def sqs_secrets(world: World, namespace: str, auth: SqsAuth | None) -> dict[str, Secret]:
    """Read what logs in to SQS: ``accessKeyId``, ``secretAccessKey``, ``sessionToken``."""
    if auth is None:
        return {}
    refs = {
        "accessKeyId": auth.access_key_id_ref,
        "secretAccessKey": auth.secret_access_key_ref,
        "sessionToken": auth.session_token_ref,
    }
    return {
        name: referenced_secret(world, namespace, ref)
        for name, ref in refs.items()
        if ref is not None
    }
