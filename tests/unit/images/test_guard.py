"""Which addresses the service connects to for a caller's URL."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.images.guard import AddressGuard, AddressRefused

REFUSED = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.2.1",
    "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "fe80::1", "fe80::1%eth0",
    "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2002:7f00:1::", "2002:808:808::1", "2001::1",
    "2001:0:4136:e378::1", "2001:db8::1", "3fff::1", "64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::1",
    "100::1", "5f00::1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001::200e"]


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not AddressGuard().permits(address, 443)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_permitted(address: str) -> None:
    assert AddressGuard().permits(address, 443)


@given(
    st.ip_addresses(network="::ffff:0:0/96")
    | st.ip_addresses(network="2002::/16")
    | st.ip_addresses(network="10.0.0.0/8")
)
def test_no_way_of_writing_an_inner_address_gets_through(address: object) -> None:
    assert not AddressGuard().permits(str(address), 80)


@pytest.mark.parametrize(
    ("port", "permitted"), [(80, True), (443, True), (1024, True), (8080, True), (22, False), (25, False)]
)
def test_low_ports_other_than_the_web_s_are_refused(port: int, permitted: bool) -> None:
    assert AddressGuard().permits("8.8.8.8", port) is permitted


def test_an_allowed_network_is_let_through_and_no_other() -> None:
    guard = AddressGuard(["127.0.0.0/8"])
    assert guard.permits("127.0.0.1", 22)
    assert not guard.permits("10.0.0.1", 80)


@pytest.mark.parametrize(
    ("host", "refused"),
    [
        ("10.0.0.1", True),
        ("::ffff:10.0.0.1", True),
        ("2130706433", True),
        ("127.1", True),
        ("0x8.8.8.8", True),  # public, but in no form in which an address comes
        ("8.8.8.8", False),
        ("localhost", False),  # a name: what it stands for is seen later
        ("0x7f.example", False),
        ("bücher.example", False),
    ],
)
def test_a_host_that_is_an_address_can_be_refused_before_it_is_connected_to(host: str, refused: bool) -> None:
    assert AddressGuard().refuses(host, 443) is refused


def test_the_socket_is_made_for_permitted_addresses_only() -> None:
    stream = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    AddressGuard().socket_for((*stream, ("8.8.8.8", 443))).close()
    with pytest.raises(AddressRefused):
        AddressGuard().socket_for((*stream, ("127.0.0.1", 443)))
