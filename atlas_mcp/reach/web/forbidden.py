"""Which internet addresses are not the public internet, and what each is.

Promise: an address that leads to this machine, its network, its cloud's own services, or nowhere is named as such. An
IPv4 address inside of an IPv6 one (mapped, 6to4, NAT64) counts as the IPv4 address; of the other IPv6 addresses, none
outside of 2000::/3 is public.

The table is that of the IANA registries of special-purpose addresses. `ipaddress.is_global` follows them too, each
release of Python another state of them.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_V4 = {
    IPv4Network(network): what
    for what, networks in {
        "unspecified": ("0.0.0.0/8",),
        "private": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
        "shared by a carrier's customers": ("100.64.0.0/10",),
        "loopback": ("127.0.0.0/8",),
        "link-local": ("169.254.0.0/16",),
        "a cloud's own": ("168.63.129.16/32",),
        "reserved": (
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "240.0.0.0/4",
        ),
        "multicast": ("224.0.0.0/4",),
    }.items()
    for network in networks
}
_V6 = {
    IPv6Network(network): what
    for what, networks in {
        "unspecified": ("::/128",),
        "loopback": ("::1/128",),
        "private": ("fc00::/7",),
        "link-local": ("fe80::/10", "fec0::/10"),
        "multicast": ("ff00::/8",),
        "reserved": ("2001::/23", "2001:db8::/32", "3fff::/20"),
    }.items()
    for network in networks
}
_PUBLIC_V6 = IPv6Network("2000::/3")
_MAPPED, _NAT64, _6TO4 = IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"), IPv6Network("2002::/16")


def why_forbidden(address: str) -> str | None:
    """What kind of address it is that may not be reached, such as "loopback"; None for one of the public internet.

    `address` is an IPv4 or IPv6 address as a resolver gives it. One that is none is "unreadable".
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return "unreadable"
    if isinstance(parsed, IPv4Address):
        return next((what for network, what in _V4.items() if parsed in network), None)
    if parsed.scope_id is not None:
        return "link-local"
    if (inside := _inside(parsed)) is not None:
        return why_forbidden(str(inside))
    if found := next((what for network, what in _V6.items() if parsed in network), None):
        return found
    return None if parsed in _PUBLIC_V6 else "reserved"


def _inside(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that traffic to this one really goes to."""
    if address in _MAPPED or address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _6TO4:
        return IPv4Address(int(address) >> 80 & 0xFFFFFFFF)
    return None
