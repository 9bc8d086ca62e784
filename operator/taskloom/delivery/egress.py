"""The guard on the way out: an address is checked at the moment it is dialled.

A name is resolved once for a connection, and what is checked is what is connected to,
so a name that changes its mind in between gains nothing.
"""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from taskloom.domain.egress import EgressPolicy, decide

# Below the five seconds after which Node.js closes an idle connection: a request must not
# start on a connection that is just being closed.
_KEEP_ALIVE_SECONDS: Final = 4.0
_DNS_CACHE_SECONDS: Final = 10
_DNS_THREADS: Final = 32


class RefusedAddress(OSError):
    """The egress policy refuses the address; `reason` names it."""

    def __init__(self, reason: str) -> None:
        # All refusals of one host read alike: the dialler keeps the type of equal errors only.
        super().__init__("the egress policy refuses the address")
        self.reason = reason


def guarded_connector(policy: EgressPolicy, resolver: AbstractResolver) -> aiohttp.TCPConnector:
    """Make a connector that dials only what `policy` allows.

    It sets no bound on connections: how much is under way is the dispatcher's to say.
    """
    return aiohttp.TCPConnector(
        resolver=resolver,
        socket_factory=_guarded_socket(policy),
        limit=0,
        keepalive_timeout=_KEEP_ALIVE_SECONDS,
        ttl_dns_cache=_DNS_CACHE_SECONDS,
    )


def _guarded_socket(policy: EgressPolicy) -> Callable[[Any], socket.socket]:
    def open_socket(address_info: Any) -> socket.socket:
        family, kind, protocol, _, address = address_info
        decision = decide(address[0], policy)
        if not decision.allowed:
            raise RefusedAddress(decision.reason)
        return socket.socket(family=family, type=kind, proto=protocol)

    return open_socket


class ThreadResolver(AbstractResolver):
    """Resolves names in threads of its own, so that dead name servers hold up nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_DNS_THREADS, thread_name_prefix="dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Look `host` up as the system does, its hosts file included."""
        look_up = partial(
            socket.getaddrinfo,
            host,
            port,
            family=family,
            type=socket.SOCK_STREAM,
            flags=socket.AI_ADDRCONFIG,
        )
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Let go of the threads without waiting for their answers."""
        self._threads.shutdown(wait=False, cancel_futures=True)
