"""The address of a page, taken apart once: nothing behind this reads it differently.

Promise: the scheme is http or https, there are no credentials, the host is in small ASCII letters (or an IP address in
its usual spelling, however it was written), the port is one that browsers go to, and there is no fragment.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address

import httpx

from atlas_mcp.errors import ToolFailed

LONGEST = 2_000
_PORTS = {"http": 80, "https": 443}
# fmt: off
_BAD_PORTS = frozenset({
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531,
    532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060,
    5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
})
# fmt: on
"""The ports of other protocols, which browsers do not go to either (the Fetch standard's list)."""
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)")
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class WebAddress:
    """An address that may be asked, if its host may be; `target` is its path with the query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> str:
        """Its beginning, up to the path; the port stands there only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")

    def __str__(self) -> str:
        return self.origin + self.target

    def join(self, location: str) -> WebAddress:
        """Where a redirect or a link on this page leads. Raises ToolFailed as `parse_address` does."""
        try:
            return _made(httpx.URL(str(self)).join(location.strip()))
        except (httpx.InvalidURL, ValueError) as error:
            raise ToolFailed(f"{self} leads to an address that cannot be read ({error}).") from None


def parse_address(text: str) -> WebAddress:
    """The address that this text is. Raises ToolFailed, saying what would be right."""
    text = text.strip()
    if len(text) > LONGEST:
        raise _bad(f"it has {len(text):,} characters; an address has {LONGEST:,} at most")
    if re.search(r"[\x00-\x20\x7f]", text):
        raise _bad("there are blanks or control characters in it")
    if not re.match(r"(?i)https?:", text):
        raise _bad(f"{text!r} does not begin with http:// or https://")
    try:
        return _made(httpx.URL(text))
    except (httpx.InvalidURL, ValueError) as error:
        raise _bad(f"it cannot be read ({error})") from None


def _made(url: httpx.URL) -> WebAddress:
    if url.scheme not in _PORTS:
        raise _bad(f"pages are fetched by http and https, not by {url.scheme[:20]!r}")
    if url.userinfo:
        raise _bad("it carries a user's name or password; leave them out")
    port = _PORTS[url.scheme] if url.port is None else url.port
    if port > 65_535:
        raise _bad(f"there is no port {port}")
    if port in _BAD_PORTS:
        raise _bad(f"the port {port} belongs to another protocol than the web's")
    target = url.raw_path.decode("ascii")
    if len(target) > LONGEST:
        raise _bad(f"its path has {len(target):,} characters; {LONGEST:,} are the most")
    return WebAddress(url.scheme, _host(url), port, target)


def _host(url: httpx.URL) -> str:
    host = url.raw_host.decode("ascii").lower().removesuffix(".")
    if ":" in host:
        return _ipv6(host)
    if _NUMBER.fullmatch(host):  # an IPv4 address in one of its many spellings, as systems and browsers read them
        try:
            return str(IPv4Address(socket.inet_aton(host)))
        except OSError:
            raise _bad(f"{host!r} is no host") from None
    if len(host) > 253 or not _NAME.fullmatch(host) or ".." in host:
        raise _bad(f"{host[:80]!r} is no host")
    return host


def _ipv6(host: str) -> str:
    try:
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host))
    except OSError:
        raise _bad(f"[{host[:80]}] is no host") from None


def _bad(why: str) -> ToolFailed:
    return ToolFailed(f"{why}.", argument="address", next_step="Give a whole address such as https://example.org/page.")
