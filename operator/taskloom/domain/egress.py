"""Which addresses a call may go out to.

The decision is about an address, never about a name: a name may resolve to anything,
and to something else a moment later.
"""

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from taskloom.errors import Invalid

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressPolicy:
    """Where calls may go; addresses of the public internet are allowed unless denied.

    `deny` outweighs `allow`, and both outweigh the two flags.
    Metadata services, link-local, multicast, unspecified and reserved addresses are refused always.
    """

    allow_loopback: bool = False
    allow_private: bool = False
    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressDecision:
    """Whether an address may be dialled, and why not."""

    allowed: bool
    reason: str = ""


STANDALONE: Final = EgressPolicy(allow_loopback=True, allow_private=True)


def decide(address: Address | str, policy: EgressPolicy) -> EgressDecision:
    """Decide about an address to be dialled, and about the IPv4 address within an IPv6 one."""
    try:
        # A zone ("fe80::1%eth0") names a way to the address, not another address.
        parsed = ipaddress.ip_address(str(address).partition("%")[0])
    except ValueError:
        return EgressDecision(allowed=False, reason=f"{address} is no IP address")
    for candidate in _with_embedded(parsed):
        reason = _reason_against(candidate, policy)
        if reason:
            return EgressDecision(allowed=False, reason=f"{parsed} is {reason}")
    return EgressDecision(allowed=True)


def decide_host(host: str) -> EgressDecision:
    """Decide about a host as it is written, before it is resolved.

    Names of metadata services are refused wherever they lead,
    and so is an IPv4 address in disguise (``2130706433``, ``0x7f.1``).
    """
    if host.lower().rstrip(".") in _METADATA_NAMES:
        return EgressDecision(allowed=False, reason=f"{host} is a metadata service")
    try:
        plain = socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, ValueError):
        return EgressDecision(allowed=True)
    if plain != host:
        return EgressDecision(
            allowed=False, reason=f"{host} is an address in disguise: write it as {plain}"
        )
    return EgressDecision(allowed=True)


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read networks in CIDR notation (a lone address is a network of one)."""
    networks = []
    for text in texts:
        try:
            networks.append(ipaddress.ip_network(text.strip()))
        except ValueError as error:
            raise Invalid(f"{text!r} is no network such as 10.0.0.0/8: {error}") from None
    return tuple(networks)


def _with_embedded(address: Address) -> tuple[Address, ...]:
    """Give what the packet may end up at: the address, or the IPv4 address it stands for too."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.is_loopback or address.is_unspecified:
        return (address,)
    if address.ipv4_mapped:
        return (address.ipv4_mapped,)
    if address.sixtofour:
        return address, address.sixtofour
    if any(address in network for network in _TRANSLATED):
        return (IPv4Address(int(address) & 0xFFFF_FFFF),)
    return (address,)


def _reason_against(address: Address, policy: EgressPolicy) -> str:
    for reason, networks in (*_NEVER, ("in a denied network", policy.deny)):
        if _is_in(address, networks):
            return reason
    if not _is_in(address, _ASSIGNED):
        return "reserved"
    if _is_in(address, policy.allow):
        return ""
    for is_allowed, name, networks in (
        (policy.allow_loopback, "loopback", _LOOPBACK),
        (policy.allow_private, "private", _PRIVATE),
    ):
        if not is_allowed and _is_in(address, networks):
            return f"{name}, which the egress policy does not allow"
    return ""


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


_METADATA_NAMES: Final = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data"}
    | {"instance-data.ec2.internal"}
)
_NEVER: Final = (
    (
        "a metadata service",  # AWS, GCP, Alibaba, Azure, Oracle
        parse_networks(
            [
                "169.254.169.254",
                "fd00:ec2::254",
                "fd20:ce::254",
                "100.100.100.200",
                "168.63.129.16",
                "192.0.0.192",
            ]
        ),
    ),
    ("link-local", parse_networks(("169.254.0.0/16", "fe80::/10"))),
    ("multicast", parse_networks(("224.0.0.0/4", "ff00::/8"))),
    ("unspecified", parse_networks(("0.0.0.0/8", "::/128"))),
    # 2001::/23 holds Teredo's tunnels
    ("reserved", parse_networks(["192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4", "2001::/23"])),
)
_LOOPBACK: Final = parse_networks(("127.0.0.0/8", "::1"))
# Whatever is not reached over the internet: of one's own, shared, for tests, for documentation.
_PRIVATE: Final = parse_networks(
    [
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "198.18.0.0/15",
        "192.0.2.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "fc00::/7",
        "fec0::/10",
        "2001:db8::/32",
        "3fff::/20",
    ]
)
_ASSIGNED: Final = (*parse_networks(("0.0.0.0/0", "2000::/3")), *_LOOPBACK, *_PRIVATE)
_TRANSLATED: Final = parse_networks(("64:ff9b::/96", "64:ff9b:1::/48", "::/96"))
