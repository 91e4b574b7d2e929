"""Which addresses a receiver may have: none that leads into our own network. Pure.

An address hides in another: IPv4 in IPv6 (mapped, translated, compatible, NAT64, 6to4, Teredo, ISATAP). All that are inside are looked at, not
only the outermost.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from enum import StrEnum
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PORTS = frozenset({80, 443, 8080, 8443})
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_LAST_32_BITS = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::ffff:0:0:0/96"))
_BLOCKED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
        "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "::/128", "::1/128", "64:ff9b:1::/48",
        "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip


class Refusal(StrEnum):
    """Why a receiver's address is not used."""

    SCHEME = "only https, or http to an allowed network"
    USERINFO = "a user name or password in the address"
    HOST = "no host"
    PORT = "a port other than 80, 443, 8080 and 8443"
    ADDRESS = "an address of a private, local or reserved network"
    UNRESOLVED = "a name that does not resolve"


def insides(address: Address) -> list[Address]:
    """The address and those that are wrapped in it.

    >>> [str(each) for each in insides(ipaddress.ip_address("64:ff9b::7f00:1"))]
    ['64:ff9b::7f00:1', '127.0.0.1']
    """
    found: list[Address] = [address]
    if isinstance(address, ipaddress.IPv4Address):
        return found
    low = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped is not None:
        found.append(address.ipv4_mapped)
    elif address.sixtofour is not None:
        found.append(address.sixtofour)
    elif address.teredo is not None:
        found.extend(address.teredo)
    elif any(address in network for network in _LAST_32_BITS) or (address in _COMPATIBLE and int(address) > 1):
        found.append(low)
    if int(address) >> 32 & 0xFFFFFFFF in (0x00005EFE, 0x02005EFE):  # ISATAP
        found.append(low)
    return found


def networks(text: str) -> tuple[Network, ...]:
    """The setting JOBTIDE_WEBHOOK_ALLOW. Raises ValueError naming what is no network."""
    return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())


def allowed(address: Address, allow: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in allow)


def blocked(address: Address, allow: Sequence[Network] = ()) -> bool:
    """Whether nothing may be sent there."""
    if allowed(address, allow):
        return False
    found = insides(address)
    # `is_global` alone would let wrapped addresses through, and is wrong about mapped ones: the list above is what is inside judged by.
    return any(_inside_blocked(each) for each in found) or (len(found) == 1 and not address.is_global)


def _inside_blocked(address: Address) -> bool:
    return any(address.version == network.version and address in network for network in _BLOCKED)


def refuse_url(url: str) -> Refusal | None:
    """What can be said without resolving: whether the address has the form of a receiver's. Port and scheme are judged with the address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return Refusal.HOST
    if parts.scheme not in ("https", "http"):
        return Refusal.SCHEME
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        return Refusal.USERINFO
    if not parts.hostname or port == 0:
        return Refusal.HOST if port != 0 else Refusal.PORT
    return None


def refuse_endpoint(scheme: str, port: int, resolved: Iterable[str], allow: Sequence[Network] = ()) -> Refusal | None:
    """The verdict on all addresses a name resolves to: one bad one is enough."""
    found = [ipaddress.ip_address(text.split("%")[0]) for text in resolved]
    if not found:
        return Refusal.UNRESOLVED
    if any(blocked(each, allow) for each in found):
        return Refusal.ADDRESS
    if all(allowed(each, allow) for each in found):
        return None
    if port not in PORTS:
        return Refusal.PORT
    return None if scheme == "https" else Refusal.SCHEME
