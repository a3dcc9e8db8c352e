"""Which network addresses a URL from a caller may make this service connect to. Must not know what is fetched.

The rule is applied to the address that is about to be connected to (`AddressGuard.socket_for`), so neither a name that
resolves to two things nor a redirect gets round it.
"""

import socket
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohappyeyeballs import AddrInfoType

Network = IPv4Network | IPv6Network

# IANA's IPv4 special-purpose registry. Written out because ipaddress.is_global differs between Python 3.11 and 3.13.
_REFUSED_4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches loopback on Linux
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; also one cloud's metadata service
        "127.0.0.0/8",
        "168.63.129.16/32",  # public by number, but one cloud's host agent
        "169.254.0.0/16",  # link-local; most clouds' metadata service
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# For IPv6 the rule is the other way round: only global unicast, less what hides an IPv4 address or is documentation. So
# ::1, ::, IPv4-mapped, NAT64 (64:ff9b::/96), unique local, link-local and multicast addresses all fall out of
# themselves.
_UNICAST_6 = IPv6Network("2000::/3")
_REFUSED_6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
    )
)


class AddressRefused(OSError):
    """The address is not a public one. Always with the same text, so that connecting to several keeps this class."""

    def __init__(self) -> None:
        super().__init__("the address is not a public one")


class AddressGuard:
    """Public addresses only, on ports 80, 443 and from 1024 up.

    Lower ports belong to mail, file and login services that have nothing to do with pictures; higher ones are where
    object stores and development servers listen. `allow` names networks that are let through whatever they are, on any
    port.
    """

    def __init__(self, allow: Sequence[Network | str] = ()) -> None:
        self._allow = tuple(ip_network(network) for network in allow)

    def permits(self, host: str, port: int) -> bool:
        """Whether the IP address `host` (a scope such as %eth0 is ignored) may be connected to."""
        address = ip_address(host.partition("%")[0])
        if any(address in network for network in self._allow):
            return True
        if port < 1024 and port not in (80, 443):
            return False
        if isinstance(address, IPv6Address):
            return address in _UNICAST_6 and not any(address in network for network in _REFUSED_6)
        return not any(address in network for network in _REFUSED_4)

    def refuses(self, host: str, port: int) -> bool:
        """Whether a URL's host can be refused as it stands: an address that is not permitted, or a number in another
        form than an address's usual one. A name is not refused: what it stands for is known when it is connected to."""
        try:
            return not self.permits(host, port)
        except ValueError:
            return _is_odd_number(host)

    def socket_for(self, addr_info: AddrInfoType) -> socket.socket:
        """A socket for that address, or AddressRefused: aiohttp's socket factory, called for each attempt to
        connect."""
        family, kind, protocol, _, address = addr_info
        if not self.permits(address[0], address[1]):
            raise AddressRefused
        return socket.socket(family, kind, protocol)


def _is_odd_number(host: str) -> bool:
    """Whether C's inet_aton reads it as an IPv4 address, as it does 2130706433, 127.1 and 0x7f.0.0.1."""
    try:
        socket.inet_aton(host)
    except (OSError, UnicodeError):
        return False
    return True
