"""Which network addresses are on the public internet, and nothing else."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

#: The one part of IPv6 from which public addresses are given out. IPv4-mapped addresses, NAT64,
#: link-local, private and multicast ones are all outside.
PUBLIC_V6 = IPv6Network("2000::/3")
#: Parts of the above that carry an IPv4 address (Teredo, 6to4), were given back (6bone) or are for
#: documents alone, which Python 3.11 does not know of all.
NOT_PUBLIC_V6 = (
    IPv6Network("2001::/32"),
    IPv6Network("2002::/16"),
    IPv6Network("3ffe::/16"),
    IPv6Network("3fff::/20"),
)
#: What protocols use among themselves, and relays to 6to4: the standard library takes some of
#: these for public.
NOT_PUBLIC_V4 = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))


def is_public(text: str) -> bool:
    """Tell whether an address can belong to nobody but a host on the public internet."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return _is_public_v6(address) if isinstance(address, IPv6Address) else _is_public_v4(address)


def _is_public_v4(address: IPv4Address) -> bool:
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    return not any(address in network for network in NOT_PUBLIC_V4)


def _is_public_v6(address: IPv6Address) -> bool:
    # An address with a zone, as `fe80::1%eth0`, is one of a local link whatever its number.
    if address.scope_id or address not in PUBLIC_V6 or not address.is_global:
        return False
    return not any(address in network for network in NOT_PUBLIC_V6)
