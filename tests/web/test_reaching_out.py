"""Nothing but the public web is connected to, whichever way an address leads elsewhere; what is too much is cut."""

from __future__ import annotations

import datetime as dt
import gzip
import ssl
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from atlas_mcp.errors import ToolFailed
from atlas_mcp.reach.web.address import parse_address
from atlas_mcp.reach.web.connecting import Allowed, CheckedBackend
from atlas_mcp.reach.web.fetching import MOST_BYTES, Fetcher
from tests.web.conftest import Agent
from tests.web.site import PUBLIC, Asked, Reply, Site, to

pytestmark = pytest.mark.anyio
METADATA = "http://169.254.169.254/latest/meta-data/"


async def refused(agent: Agent, address: str) -> str:
    """What an agent is told that cannot have this page; nothing is kept of it."""
    with pytest.raises(ToolFailed) as told:
        await agent.fetch(address)
    assert agent.found == []
    return str(told.value)


@pytest.mark.parametrize(
    ("host", "what"),
    [
        ("127.0.0.1:9", "belongs to another protocol"),
        ("127.0.0.1:8080", "loopback"),
        ("2130706433:8080", "loopback"),
        ("0x7f.0.0.1:8080", "loopback"),
        ("017700000001:8080", "loopback"),
        ("127.1.:8080", "loopback"),
        ("localhost:8080", "loopback"),
        ("[::1]:8080", "loopback"),
        ("[::ffff:127.0.0.1]:8080", "loopback"),
        ("[64:ff9b::a9fe:a9fe]", "link-local"),
        ("[2002:0a00:0001::]", "private"),
        ("[fe80::1]", "link-local"),
        ("169.254.169.254", "link-local"),
        ("100.100.100.200", "shared by a carrier's customers"),
        ("10.0.0.1", "private"),
        ("0.0.0.0", "unspecified"),
        ("255.255.255.255", "reserved"),
    ],
)
async def test_what_is_not_the_public_web_is_refused_however_it_is_written(
    agent: Agent, site: Site, host: str, what: str
) -> None:
    site.connected.clear()
    assert what in await refused(agent, f"http://{host}/")
    assert site.connected == []


async def test_a_host_that_the_user_allowed_by_name_and_port_is_fetched_from(agent: Agent, site: Site) -> None:
    site.on("/allowed", Reply(body=b"<p>Welcome to the house.</p>"))
    assert (await agent.fetch(f"{site.here}/allowed")).text == "Welcome to the house."
    assert agent.found == [(f"{site.here}/allowed", "Welcome to the house.", "")]


async def test_an_allowed_host_is_open_to_who_owns_the_home_and_to_nobody_else(agent: Agent, site: Site) -> None:
    site.on("/house", Reply(body=b"<p>Welcome to the house.</p>"))
    site.names["public.test"] = [[PUBLIC]]
    site.on("/inside", to(f"{site.here}/house"), host="public.test")
    others, by_key = Agent(agent.web, "key:bob"), Agent(agent.web, "key:http")
    before = len(site.asked)
    for address in (f"{site.here}/house", f"http://2130706433:{site.port}/house"):
        assert "it is open to who owns this ATLAS alone" in await refused(others, address)
    assert len(site.asked) == before  # not for its rules, either
    assert (await agent.fetch(f"{site.here}/house")).text == "Welcome to the house."
    assert "it is open to who owns" in await refused(others, f"{site.here}/house")  # the connection is open now
    assert "it is open to who owns" in await refused(others, "http://public.test/inside")
    assert site.paths().count("/house") == 1
    assert (await by_key.fetch("http://public.test/inside")).text == "Welcome to the house."


async def test_a_name_is_refused_if_any_of_its_addresses_is_private(agent: Agent, site: Site) -> None:
    site.names["both.test"] = [[PUBLIC, "10.0.0.8"]]
    site.connected.clear()
    assert "both.test is not fetched from: it leads to an address that is private" in await refused(
        agent, "http://both.test/"
    )
    assert site.connected == []


@pytest.mark.parametrize("target", [METADATA, "http://metadata.test/", "//10.1.2.3/", "http://127.0.0.1:8080/admin"])
async def test_a_redirect_is_judged_as_the_address_was(agent: Agent, site: Site, target: str) -> None:
    site.names |= {"public.test": [[PUBLIC]], "metadata.test": [["169.254.169.254"]]}
    site.on("/moved", to(target), host="public.test")
    site.connected.clear()
    assert "is not fetched from" in await refused(agent, "http://public.test/moved")
    assert set(site.connected) == {PUBLIC}


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://example.org/x", "http://me:secret@example.org/"])
async def test_a_redirect_out_of_the_web_is_not_followed(agent: Agent, site: Site, target: str) -> None:
    site.on("/out", to(target))
    told = await refused(agent, f"{site.here}/out")
    assert "leads to another address, and that cannot be used" in told
    assert "secret" not in told


async def test_a_name_that_means_something_else_a_moment_later_gains_nothing(agent: Agent, site: Site) -> None:
    """The connection goes to the address that was judged; the next one is judged anew."""
    site.names["rebind.test"] = [[PUBLIC], [PUBLIC], ["127.0.0.1"]]
    site.on("/robots.txt", Reply(404, {"Connection": "close"}), host="rebind.test")

    async def once() -> AsyncIterator[bytes]:
        yield b"<p>The public page.</p>"

    site.on("/a", Reply(body=once), host="rebind.test")
    site.connected.clear()
    site.looked_up.clear()
    assert (await agent.fetch("http://rebind.test/a")).text == "The public page."
    assert len(site.looked_up) == len(site.connected) <= 2
    assert set(site.connected) == {PUBLIC}
    site.names["rebind.test"] = [["127.0.0.1"]]
    with pytest.raises(ToolFailed, match="loopback"):
        await agent.fetch("http://rebind.test/b")
    assert set(site.connected) == {PUBLIC}


async def test_redirects_are_followed_to_where_the_page_is_and_it_is_cited_by_that(agent: Agent, site: Site) -> None:
    site.on("/old", to("/older?x=1", 301))
    site.on("/older?x=1", to(f"{site.here}/new#part", 308))
    site.on("/new", Reply(body=b"<title>New</title><p>Here it is.</p>"))
    page = await agent.fetch(f"{site.here}/old")
    assert (page.address, page.text, page.title) == (f"{site.here}/new", "Here it is.", "New")
    assert agent.found == [(page.address, page.text, "New")]


async def test_a_redirect_loop_and_an_endless_way_are_told(agent: Agent, site: Site) -> None:
    site.on("/round", to("/about"))
    site.on("/about", to("/round"))
    assert "leads around in circles" in await refused(agent, f"{site.here}/round")
    for n in range(20):
        site.on(f"/on{n}", to(f"/on{n + 1}"))
    assert "leads on more than 10 times" in await refused(agent, f"{site.here}/on0")


async def test_a_page_of_100_mb_is_cut_off_on_the_wire(agent: Agent, site: Site) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1_000):
            yield b"<p>word</p>" * 9_000

    site.on("/huge", Reply(body=endless))
    site.sent = 0
    told = await refused(agent, f"{site.here}/huge")
    assert "is larger than 10 MB" in told
    assert "a single chapter" in told
    assert site.sent < 3 * MOST_BYTES
    site.on("/said", Reply(headers={"Content-Length": "100000000"}, body=b"x"))
    assert "100,000,000 bytes, it says" in await refused(agent, f"{site.here}/said")


@pytest.mark.parametrize("name", ["gzip", "deflate"])
async def test_a_bomb_is_cut_at_the_limit_when_it_is_unpacked(agent: Agent, site: Site, name: str) -> None:
    packed = (gzip.compress if name == "gzip" else zlib.compress)(b"<p>0</p>" * 12_500_000)
    assert len(packed) < MOST_BYTES / 20
    site.on(f"/bomb-{name}", Reply(headers={"Content-Encoding": name}, body=packed))
    assert "is larger than 10 MB (unpacked)" in await refused(agent, f"{site.here}/bomb-{name}")


async def test_packed_pages_are_read_and_packings_that_were_not_asked_for_are_refused(agent: Agent, site: Site) -> None:
    def packed(asked: Asked) -> Reply:
        assert asked.headers["accept-encoding"] == "gzip, deflate"
        return Reply(headers={"Content-Encoding": "gzip"}, body=gzip.compress(b"<p>One, ") + gzip.compress(b"two.</p>"))

    site.on("/packed", packed)
    assert (await agent.fetch(f"{site.here}/packed")).text == "One, two."
    raw = zlib.compressobj(wbits=-15)
    site.on("/bare", Reply(headers={"Content-Encoding": "deflate"}, body=raw.compress(b"<p>Bare.</p>") + raw.flush()))
    assert (await agent.fetch(f"{site.here}/bare")).text == "Bare."
    filled_up = gzip.compress(b"<p>Full.</p>" + b" " * 40_000) + bytes(512)
    site.on("/full", Reply(headers={"Content-Encoding": "gzip"}, body=filled_up))
    assert (await agent.fetch(f"{site.here}/full")).text == "Full."
    agent.found.clear()
    for name, body, why in [
        ("br", b"\x0b\x02\x80ab\x03", "packed as 'br', which was not asked for"),
        ("zstd", b"\x28\xb5\x2f\xfd", "packed as 'zstd', which was not asked for"),
        ("gzip", b"no gzip at all", "cannot be unpacked"),
        ("gzip", gzip.compress(b"<p>cut</p>")[:-9], "cannot be unpacked"),
        ("gzip", gzip.compress(b"<p>junk</p>") + b"junk", "cannot be unpacked"),
        ("gzip", gzip.compress(b"") * 400_000, "it has more than 1,000 parts"),
    ]:
        site.on("/odd", Reply(headers={"Content-Encoding": name}, body=body))
        assert why in await refused(agent, f"{site.here}/odd")


async def test_a_server_that_drips_is_given_up_and_a_header_without_end_is_refused(agent: Agent, site: Site) -> None:
    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b"."
            await anyio.sleep(0.02)

    site.on("/drip", Reply(body=drip))
    site.on("/header", Reply(headers={"X-Long": "x" * 300_000}))
    fetcher = Fetcher(CheckedBackend(Allowed([f"127.0.0.1:{site.port}"]), site.network))
    with anyio.fail_after(60), pytest.raises(ToolFailed, match="did not send all of it within 1 s"):
        await fetcher.get(parse_address(f"{site.here}/drip"), seconds=1)
    await fetcher.close()
    assert "is not proper HTTP" in await refused(agent, f"{site.here}/header")


@pytest.mark.parametrize(
    ("status", "headers", "what"),
    [
        (404, {}, "answered 404 Not Found. There is no such page"),
        (403, {}, "answered 403 Forbidden. It is not open to everybody"),
        (429, {"Retry-After": "120"}, "It asks to be left alone for 120 s"),
        (503, {}, "answered 503 Service Unavailable. Try once more later"),
        (799, {}, "answered 799."),
        (304, {}, "answered 304 Not Modified."),
    ],
)
async def test_an_error_status_says_what_to_do(
    agent: Agent, site: Site, status: int, headers: dict[str, str], what: str
) -> None:
    site.on(f"/status{status}", Reply(status, headers))
    assert what in await refused(agent, f"{site.here}/status{status}")


async def test_hosts_that_do_not_exist_or_do_not_answer_are_told(agent: Agent, site: Site) -> None:
    site.names |= {"nobody.test": [[]], "closed.test": [["192.0.2.1"]]}
    assert "there is no host 'nobody.test'" in await refused(agent, "http://nobody.test/")
    with anyio.fail_after(60):
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as gone:
            port = gone.extra(anyio.abc.SocketAttribute.local_port)
        fetcher = Fetcher(CheckedBackend(Allowed([f"127.0.0.1:{port}"]), site.network))
        with pytest.raises(ToolFailed, match="cannot be reached: no connection was taken"):
            await fetcher.get(parse_address(f"http://127.0.0.1:{port}/"), seconds=30)
        await fetcher.close()


async def test_tls_verifies_the_name_and_not_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls, authority = certificate("tls.test", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    async with Site(tls) as secure:
        secure.names |= {"tls.test": [[PUBLIC]], "other.test": [[PUBLIC]]}
        secure.on("/", Reply(body=b"<p>Safe.</p>"))
        fetcher = Fetcher(CheckedBackend(Allowed(), secure.network))
        got = await fetcher.get(parse_address("https://tls.test/"), seconds=30)
        assert got.body == b"<p>Safe.</p>"
        with pytest.raises(ToolFailed, match="its identity could not be verified"):
            await fetcher.get(parse_address("https://other.test/"), seconds=30)
        await fetcher.close()


def certificate(name: str, folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's side of TLS for that name, and the file of the authority that says so."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "cert.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    return context, pem
