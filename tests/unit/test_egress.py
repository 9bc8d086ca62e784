"""Which addresses a call may go out to."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskloom.bootstrap.parts import egress_policy
from taskloom.domain.egress import (
    STANDALONE,
    EgressPolicy,
    decide,
    decide_host,
    parse_networks,
)
from taskloom.errors import Invalid
from taskloom.settings import Settings

STRICT = EgressPolicy()
OPEN = EgressPolicy(
    allow_loopback=True, allow_private=True, allow=parse_networks(["0.0.0.0/0", "::/0"])
)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.0.1",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fe80::1",
        "fe80::1%eth0",
        "febf::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "::ffff:100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "::ffff:0.0.0.0",
        "224.0.0.1",
        "239.255.255.255",
        "ff02::1",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.0.8",
        "2001::1",
        "100::1",
        "4000::1",
        "5f00::1",
        "::2",
    ],
)
def test_some_addresses_are_refused_whatever_the_policy(address: str) -> None:
    """Metadata, link-local, multicast, unspecified and reserved ones, however they are written."""
    assert not decide(address, OPEN).allowed
    assert not decide(address, STANDALONE).allowed
    assert not decide(address, STRICT).allowed


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "2002:7f00:1::"],
)
def test_loopback_is_the_policys_choice(address: str) -> None:
    """Loopback is dialled only where the policy says so."""
    expected = "loopback, which the egress policy does not allow"

    assert expected in decide(address, EgressPolicy(allow_private=True)).reason
    assert decide(address, EgressPolicy(allow_loopback=True)).allowed


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "198.18.0.1",
        "203.0.113.5",
        "fc00::1",
        "fd12:3456::1",
        "fec0::1",
        "2001:db8::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
    ],
)
def test_private_addresses_are_the_policys_choice(address: str) -> None:
    """What the internet does not route is dialled only where the policy says so."""
    expected = "private, which the egress policy does not allow"

    assert expected in decide(address, EgressPolicy(allow_loopback=True)).reason
    assert decide(address, EgressPolicy(allow_private=True)).allowed


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "172.32.0.1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "223.255.0.1",
    ],
)
def test_the_internet_is_open_unless_denied(address: str) -> None:
    """Public addresses need no permission; a denied network takes it away."""
    denied = EgressPolicy(
        allow=parse_networks(["0.0.0.0/0", "::/0"]), deny=parse_networks(["0.0.0.0/1", "2600::/8"])
    )

    assert decide(address, STRICT).allowed
    if ipaddress.ip_address(address).is_global and address.startswith(("8", "2606", "::ffff")):
        assert decide(address, denied).reason.endswith("in a denied network")


def test_an_allowed_network_opens_private_addresses() -> None:
    """One network can be opened without all the others."""
    policy = EgressPolicy(allow=parse_networks(["10.1.0.0/16", "127.0.0.1"]))

    assert decide("10.1.2.3", policy).allowed
    assert decide("127.0.0.1", policy).allowed
    assert not decide("10.2.0.1", policy).allowed
    assert not decide("127.0.0.2", policy).allowed


def test_denied_outweighs_allowed() -> None:
    """A network on both lists is closed."""
    networks = parse_networks(["10.0.0.0/8"])

    assert not decide("10.0.0.1", EgressPolicy(allow=networks, deny=networks)).allowed


@given(st.ip_addresses(v=4))
def test_an_address_in_disguise_is_the_address(address: ipaddress.IPv4Address) -> None:
    """An IPv4 address within an IPv6 one is decided about as itself."""
    number = int(address)
    mapped = ipaddress.IPv6Address((0xFFFF << 32) | number)
    translated = ipaddress.IPv6Address((0x64FF9B << 96) | number)
    six_to_four = ipaddress.IPv6Address((0x2002 << 112) | (number << 80))
    for policy in (STRICT, STANDALONE, OPEN):
        expected = decide(address, policy).allowed

        assert expected == decide(mapped, policy).allowed
        assert expected == decide(translated, policy).allowed
        assert expected == decide(six_to_four, policy).allowed


def test_what_is_no_address_is_refused() -> None:
    """Only addresses are decided about; a name is never taken for one."""
    assert not decide("localhost", OPEN).allowed
    assert not decide("", OPEN).allowed


@pytest.mark.parametrize(
    "host", ["metadata.google.internal", "METADATA.google.internal.", "metadata"]
)
def test_names_of_metadata_services_are_refused(host: str) -> None:
    """They are refused by name, wherever they lead."""
    assert not decide_host(host).allowed
    assert decide_host("metadata.example.com").allowed


def test_a_malformed_network_is_refused_by_name() -> None:
    """The text at fault is in the message."""
    with pytest.raises(Invalid, match=r"10\.0\.0\.1/8"):
        parse_networks(["10.0.0.1/8"])


@pytest.mark.parametrize(
    "host", ["2130706433", "127.1", "0x7f.0.0.1", "0177.0.0.1", "0x7f000001", "127.0.0.001", "0"]
)
def test_addresses_in_disguise_are_refused(host: str) -> None:
    """A form that only some programs read as an address is told how to be written."""
    assert "write it as" in decide_host(host).reason


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "::1", "example.com", "cafe", "1.example", "", "\x00"]
)
def test_other_hosts_are_left_to_the_dialled_address(host: str) -> None:
    """What is plainly an address or a name is decided about when it is dialled."""
    assert decide_host(host).allowed


@pytest.mark.parametrize("host", ["10.96.0.1", "fd00:10:96::1", "[fd00:10:96::1]", "203.0.113.9"])
def test_a_pod_never_calls_its_api_server(host: str) -> None:
    """Whatever the settings allow: who may declare a webhook may not speak for our pod there."""
    settings = Settings(egress_allow=(host.strip("[]"),), egress_deny=("192.0.2.1",))

    policy = egress_policy(settings, {"KUBERNETES_SERVICE_HOST": host})

    assert "in a denied network" in decide(host.strip("[]"), policy).reason
    assert "in a denied network" in decide("192.0.2.1", policy).reason
    assert decide("10.96.0.2", policy).allowed


@pytest.mark.parametrize("environ", [{}, {"KUBERNETES_SERVICE_HOST": "kubernetes.default.svc"}])
def test_outside_of_a_pod_nothing_else_is_denied(environ: dict[str, str]) -> None:
    """There is no API server to keep from, or none with an address that is known."""
    assert STANDALONE == egress_policy(Settings(), environ)
