"""TLS contexts for endpoints with authorities or client certificates of their own."""

import asyncio
import ssl
import tempfile
from collections import OrderedDict
from typing import Final

from taskloom.domain.secret import Secret
from taskloom.ports.sender import TlsOptions

_MOST_CONTEXTS: Final = 256


class UnusableTls(Exception):
    """The TLS options of an endpoint cannot be used."""


class TlsContexts:
    """Makes contexts and keeps those in use, as making one is slow and connections hang on it."""

    def __init__(self) -> None:
        self._contexts: OrderedDict[TlsOptions, ssl.SSLContext] = OrderedDict()

    async def get(self, options: TlsOptions) -> ssl.SSLContext | bool:
        """Give the context for `options`, or True for the system's own.

        Raises `UnusableTls` saying which part cannot be read.
        """
        if options.ca_bundle is None and options.client_certificate is None:
            return True
        context = self._contexts.get(options)
        if context is None:
            context = await asyncio.to_thread(make_context, options)
            self._contexts[options] = context
            if len(self._contexts) > _MOST_CONTEXTS:
                self._contexts.popitem(last=False)
        else:
            self._contexts.move_to_end(options)
        return context


def make_context(options: TlsOptions) -> ssl.SSLContext:
    """Make a context that verifies host names, whatever the authorities."""
    if options.ca_bundle is not None and not options.ca_bundle.strip():
        raise UnusableTls("the CA bundle is empty")
    try:
        context = ssl.create_default_context(cadata=options.ca_bundle)
    except (ValueError, OSError) as error:
        raise UnusableTls(f"the CA bundle cannot be used: {_reason(error)}") from error
    if options.client_certificate is not None:
        try:
            _load_client_certificate(context, options.client_certificate)
        except (ValueError, OSError) as error:
            raise UnusableTls(f"the client certificate cannot be used: {_reason(error)}") from None
    return context


def _load_client_certificate(context: ssl.SSLContext, certificate: Secret) -> None:
    # OpenSSL reads chains from files only; this one is readable by its owner alone, and brief.
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(certificate.reveal())
        file.flush()
        context.load_cert_chain(file.name, password=_refuse_password)


def _refuse_password() -> str:
    raise ValueError("its key is encrypted: give the key without a password")


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error)
