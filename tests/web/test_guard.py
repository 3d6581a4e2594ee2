"""The guard holds for every address there is, and every way to write one."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_mcp.errors import ToolFailed
from atlas_mcp.reach.web.address import WebAddress, parse_address
from atlas_mcp.reach.web.connecting import Allowed
from atlas_mcp.reach.web.forbidden import why_forbidden

CLOSED_V4 = """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
    192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4
"""
CLOSED_V6 = "::/96 ::1/128 100::/64 2001:db8::/32 2001::/32 fc00::/7 fe80::/10 fec0::/10 ff00::/8 5f00::/16"
closed_v4 = st.sampled_from(CLOSED_V4.split()).flatmap(lambda network: st.ip_addresses(v=4, network=network))
closed_v6 = st.sampled_from(CLOSED_V6.split()).flatmap(lambda network: st.ip_addresses(v=6, network=network))
any_v4 = st.ip_addresses(v=4)


@given(st.one_of(closed_v4, closed_v6))
def test_no_address_of_a_closed_network_passes(address: IPv4Address | IPv6Address) -> None:
    assert why_forbidden(str(address))


@given(any_v4)
def test_what_passes_is_public_for_python_too(address: IPv4Address) -> None:
    if why_forbidden(str(address)) is None:
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


@given(any_v4, st.sampled_from(["mapped", "nat64", "6to4"]), st.integers(0, 2**80 - 1))
def test_an_ipv4_address_inside_of_an_ipv6_one_is_judged_as_itself(v4: IPv4Address, how: str, rest: int) -> None:
    number = {
        "mapped": 0xFFFF << 32 | int(v4),
        "nat64": 0x64FF9B << 96 | int(v4),
        "6to4": 0x2002 << 112 | int(v4) << 80 | rest,
    }[how]
    assert why_forbidden(str(IPv6Address(number))) == why_forbidden(str(v4))


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_outside_of_the_public_part_passes(address: IPv6Address) -> None:
    if why_forbidden(str(address)) is None:
        embedded = address in ip_network("::ffff:0:0/96") or address in ip_network("64:ff9b::/96")
        assert embedded or address in ip_network("2000::/3")


@given(any_v4, st.data())
def test_an_ipv4_address_is_the_same_however_it_is_spelled_or_refused(v4: IPv4Address, data: st.DataObject) -> None:
    spell = st.sampled_from([str, hex, lambda n: f"0{n:o}" if n else "0", lambda n: f"0X{n:X}"])
    octets = list(v4.packed)
    parts = data.draw(st.integers(1, 4))
    numbers = [*octets[: parts - 1], int.from_bytes(bytes(octets[parts - 1 :]), "big")]
    host = ".".join(data.draw(spell)(n) for n in numbers) + data.draw(st.sampled_from(["", "."]))
    try:
        read = parse_address(f"http://{host}/")
    except ToolFailed:
        return  # one that nobody should be able to mistake is as good
    assert read.host == str(v4)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_is_refused_with_a_reason(text: str) -> None:
    for given_text in (text, f"http://{text}", f"https://example.org{text}", f"http://example.org/{text}"):
        try:
            address = parse_address(given_text)
        except ToolFailed:
            continue
        assert address.scheme in ("http", "https")
        assert address.host.isascii()
        assert address.host == address.host.lower()
        assert not set(address.host) & set("/@?# \\%")
        assert str(address).isascii()
        assert parse_address(str(address)) == address


@given(st.text(max_size=60))
def test_where_a_redirect_leads_is_an_address_or_is_refused(location: str) -> None:
    here = WebAddress("http", "example.org", 80, "/a/b?c")
    try:
        there = here.join(location)
    except ToolFailed:
        return
    assert parse_address(str(there)) == there


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("HTTP://EXAMPLE.ORG:80", "example.org", 80),
        ("https://example.org.", "example.org", 443),
        ("https://bücher.example/ä?ö=ü#ß", "xn--bcher-kva.example", 443),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443),
        ("http://[2606:2800:0220::0001]:8080/", "2606:2800:220::1", 8080),
        ("http://127。0。0。1/", "127.0.0.1", 80),
    ],
)
def test_an_address_is_taken_apart_once(text: str, host: str, port: int) -> None:
    address = parse_address(text)
    assert (address.host, address.port) == (host, port)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not begin with http"),
        ("example.org", "does not begin with http"),
        ("file:///etc/passwd", "does not begin with http"),
        ("http://", "is no host"),
        ("http:/example.org", "is no host"),
        ("http://user@example.org/", "a user's name or password"),
        ("http://example.org:25/", "port 25 belongs to another protocol"),
        ("http://example.org:0/", "port 0 belongs to another protocol"),
        ("http://example.org:99999/", "there is no port 99999"),
        ("http://exa mple.org/", "blanks or control characters"),
        ("http://1.2.3.4.5/", "is no host"),
        ("http://256.1.1.1/", "cannot be read"),
        ("http://[fe80::1%25eth0]/", "is no host"),
        ("http://[::1/", "cannot be read"),
        ("http://example..org/", "is no host"),
        ("https://example.org/" + "a" * 2_000, "2,000 at most"),
    ],
)
def test_what_is_no_address_is_refused_with_what_would_be_right(text: str, why: str) -> None:
    with pytest.raises(ToolFailed, match=r"https://example\.org/page") as told:
        parse_address(text)
    assert why in str(told.value)


def test_a_host_is_allowed_by_name_or_by_name_and_port() -> None:
    allowed = Allowed(["Wiki.corp", "127.0.0.1:8080", "[::1]:9000", "fd00::5"])
    for place in [("wiki.corp", 1), ("127.0.0.1", 8080), ("::1", 9000), ("fd00::5", 80)]:
        assert place in allowed
    for place in [("corp", 80), ("x.wiki.corp", 80), ("127.0.0.1", 8081), ("::1", 9001), ("127.0.0.2", 8080)]:
        assert place not in allowed
    assert why_forbidden(str(ip_address("8.8.8.8"))) is None
    assert why_forbidden("2606:4700:4700::1111") is None
    assert why_forbidden("168.63.129.16") == "a cloud's own"
    assert why_forbidden("no address") == "unreadable"
