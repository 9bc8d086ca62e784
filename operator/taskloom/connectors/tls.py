"""TLS towards the brokers, from what a resource and its Secrets say."""

import ssl
import tempfile
from collections.abc import Mapping
from typing import Any

from taskloom.domain.secret import Secret
from taskloom.errors import Invalid
from taskloom.resources.broker import BrokerTls


def tls_context(tls: BrokerTls, secrets: Mapping[str, Secret], *, at: str) -> ssl.SSLContext:
    """Make the TLS of `tls`, which stands in the spec `at`; `secrets` hold what it refers to.

    Raises `Invalid` for certificates that are none.
    """
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = tls.server_name
    authority = secrets.get("tls.ca")
    try:
        if authority is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cadata=authority.reveal())
    except (ssl.SSLError, ValueError) as error:
        raise Invalid(f"{at}.caRef does not hold certificates in PEM.") from error
    pair = secrets.get("tls.clientCertificate")
    if pair is not None:
        _load_pair(context, pair.reveal(), at)
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _load_pair(context: ssl.SSLContext, pem: str, at: str) -> None:
    """Load a certificate with its key, which OpenSSL takes from a file only."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # its owner alone reads it
        file.write(pem)
        file.flush()
        try:
            context.load_cert_chain(file.name)
        except (ssl.SSLError, ValueError) as error:
            raise Invalid(
                f"{at}.clientCertificateRef does not hold a certificate and its key."
            ) from error


class _NamedContext(ssl.SSLContext):
    """Expects another name in the brokers' certificates than the one they are dialled by."""

    server_name: str | None = None

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Begin TLS."""
        if self.server_name is not None:
            options["server_hostname"] = self.server_name
            arguments = arguments[:3]
        return super().wrap_bio(*arguments, **options)
