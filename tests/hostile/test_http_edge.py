"""Whatever bytes come to the port, the server lives on, answers others, tells nothing of itself, logs no forgery."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile.arguments import anything
from tests.hostile.house import LONGEST_REFUSAL, ROOT, TRACES
from tests.hostile.wire import MODERN, PATIENCE, Wire, dumped, received, resident, rpc, status
from tests.server.doors import http_server

KNOWN = {0, 200, 202, 204, 400, 401, 403, 404, 405, 406, 408, 409, 411, 413, 415, 421, 429, 431}
"""What may be answered. 0 is a connection that was closed without an answer; no 5xx is among them."""
MODERN_HEADERS: dict[str, str | None] = {"Mcp-Protocol-Version": MODERN}
MEGABYTE = 1024 * 1024


@dataclass
class Served:
    """A server in a process of its own, and what it has logged."""

    wire: Wire
    process: int
    log: list[str] = field(default_factory=list)

    def check(self, answer: bytes, *, longest: int = LONGEST_REFUSAL) -> int:
        """No answer tells of the machine; its status."""
        text = answer.decode("utf-8", "replace")
        assert status(answer) in KNOWN, text[:500]
        assert not TRACES.search(text), text[:2_000]
        assert str(ROOT) not in text
        assert len(answer) < longest or status(answer) == 200, f"{len(answer)} bytes are no refusal"
        return status(answer)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("edge") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATLAS_HOME", str(home))
        with http_server() as (address, key, process):
            one = Served(Wire(address, key), process.pid)
            assert process.stderr is not None
            lines = process.stderr
            reader = threading.Thread(target=lambda: one.log.extend(lines), daemon=True)
            reader.start()
            yield one
            assert process.poll() is None, "the server has ended"


@pytest.fixture(autouse=True)
def _lives(served: Served) -> Iterator[None]:
    """After each test the server is there, as big as before, and its log is whole lines of its own."""
    before = resident(served.process)
    yield
    assert served.wire.healthy()
    assert resident(served.process) < before + 300 * MEGABYTE
    for line in list(served.log):
        assert isinstance(json.loads(line), dict), line
        assert line[:-1].isprintable(), line


BODIES = [
    b"",
    b"null",
    b"0",
    b'"text"',
    b"[]",
    b"{}",
    b"\xef\xbb\xbf" + dumped(rpc("ping")),
    b"\xff\xfe" + dumped(rpc("ping")),
    b'{"jsonrpc":"2.0","id":1,"method":"\xff\xfe"}',
    b"{" * 100_000,
    b"[" * 1_000_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    b"1" * 100_000,
    b'{"jsonrpc":"2.0","id":' + b"9" * 5_000 + b',"method":"ping"}',
    b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":1e999,"method":"ping"}',
    b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping","method":"tools/list"}',
    b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}',
    b'{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}',
    b'{"jsonrpc":"2.0","id":1,"method":"ping"}garbage',
    b'{"jsonrpc":"2.0","id":1,"method":"pi',
    b"\x00" * 1_000,
    dumped([rpc("ping"), rpc("ping", 2)]),
    dumped([rpc("tools/list", n) for n in range(1_000)]),
    dumped({**rpc("ping"), "jsonrpc": "1.0"}),
    dumped({"jsonrpc": "2.0", "method": "ping"}),
    dumped({"jsonrpc": "2.0", "id": 1, "result": {}}),
    dumped({"jsonrpc": "2.0", "id": 1, "error": {"code": "x", "message": None}}),
    dumped({"jsonrpc": "2.0", "id": 7, "method": "notifications/cancelled", "params": {"requestId": 1}}),
    dumped({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": [], "progress": "x"}}),
    dumped(rpc("tools/call", name="__import__", arguments={})),
    dumped(rpc("tools/call", name="../../x", arguments=[])),
    dumped(rpc("tools/call", name="get_status", arguments=None)),
    dumped(rpc("resources/read", uri="atlas://runs/" + "../" * 100 + "etc/passwd")),
    dumped(rpc("resources/read", uri="file:///etc/passwd")),
    dumped(rpc("resources/read", uri="atlas://runs/%2e%2e%2f%00")),
    dumped(rpc("resources/subscribe", uri="x" * 1_000_000)),
    dumped(rpc("subscriptions/listen", notifications={"resourceSubscriptions": ["x"] * 100_000})),
    dumped(rpc("completion/complete", ref={"type": "ref/prompt", "name": "x" * 100_000}, argument={})),
    dumped(rpc("logging/setLevel", level="\x1b[31m")),
    dumped(rpc("tasks/get", taskId="x" * 100_000)),
    dumped(rpc("sampling/createMessage")),
    dumped(rpc("__class__")),
]


@pytest.mark.parametrize("number", range(len(BODIES)))
def test_a_body_that_is_no_request_is_refused(served: Served, number: int) -> None:
    for headers in (MODERN_HEADERS, {}):
        served.check(served.wire.send(served.wire.request(BODIES[number], headers), close=False))


IDS = st.sampled_from([1, 0, -1, 1.5, 2**64, "", "a", "\n", None, True, [], {}, [1], "x" * 10_000])
METHODS = st.sampled_from(
    [
        *("tools/call", "tools/list", "resources/read", "resources/list", "prompts/get", "prompts/list", "ping"),
        *("completion/complete", "tasks/get", "tasks/cancel", "tasks/update", "server/discover", "initialize"),
        *("resources/templates/list", "resources/unsubscribe", "notifications/initialized", "no/such", "", "\n"),
    ]
)
NAMES = ("name", "arguments", "uri", "ref", "argument", "taskId", "cursor", "_meta", "protocolVersion", "capabilities")


def test_requests_with_anything_in_them_are_answered(served: Served) -> None:
    @settings(max_examples=200)
    @given(IDS, METHODS, st.dictionaries(st.sampled_from(NAMES), anything, max_size=4), st.booleans())
    def one(id: Any, method: str, params: dict[str, Any], modern: bool) -> None:
        body = rpc(method, id)
        body["params"] |= params
        headers = MODERN_HEADERS | {"Mcp-Method": method.strip() or "x"} if modern else None
        served.check(served.wire.send(served.wire.request(dumped(body), headers), close=False))

    one()


def test_bytes_that_are_no_http_are_refused(served: Served) -> None:
    good = served.wire.request(dumped(rpc("ping")), MODERN_HEADERS)

    @settings(max_examples=200)
    @given(st.integers(0, len(good) - 1), st.binary(max_size=40), st.integers(0, 40))
    def one(place: int, put: bytes, gone: int) -> None:
        served.check(served.wire.send(good[:place] + put + good[place + gone :]))

    one()
    for raw in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x00" * 100_000,
    ):
        served.check(served.wire.send(raw))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Host": "127.0.0.1:1"}, 421),
        ({"Host": "\x9b31m"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1.evil.example"}, 403),
        ({"Host": "evil.example", "X-Forwarded-Host": "127.0.0.1", "X-Forwarded-For": "127.0.0.1"}, 421),
        ({"Authorization": None}, 401),
        ({"Authorization": "Basic eDp4"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Bearer \xff\xfe"}, 401),
        ({"Authorization": "Bearer " + "x" * 50_000}, 401),
        ({"Authorization": None, "X-Forwarded-User": "admin", "Cookie": "key=1"}, 401),
        ({"Content-Type": "text/plain"}, 400),
        ({"Content-Type": None}, 400),
        ({"Content-Type": "application/json; charset=utf-7"}, None),
        ({"Accept": "text/html"}, 406),
        ({"X-Long": "x" * 60_000}, None),
        ({"X-Long": "x" * 200_000}, 400),
        ({f"X-{n}": "x" for n in range(2_000)}, None),
        ({"Mcp-Session-Id": "0" * 32}, 404),
        ({"Mcp-Session-Id": "../../x"}, 404),
        ({"Mcp-Session-Id": "x" * 50_000}, 404),
        ({"Mcp-Protocol-Version": "9999-99-99"}, 400),
        ({"Transfer-Encoding": "gzip"}, None),
        ({"Content-Length": "-1"}, 400),
        ({"Content-Length": "5, 6"}, 400),
        ({"Content-Length": str(10**30)}, None),
        ({"Expect": "200-maybe"}, None),
        ({"Upgrade": "websocket", "Connection": "Upgrade"}, None),
        ({"X-Bad": "a\x00b"}, 400),
        ({"X-Bad": "a\nInjected: b"}, None),
    ],
    ids=lambda value: str(value)[:50],
)
def test_headers_that_lie_open_nothing(served: Served, headers: dict[str, str | None], expected: int | None) -> None:
    for revision in (MODERN_HEADERS, {}):
        body = dumped(rpc("tools/list"))
        got = served.check(served.wire.send(served.wire.request(body, revision | headers), close=False))
        assert expected is None or got == expected or (got in {400, 404} and revision and "Mcp-Session-Id" in headers)


@pytest.mark.parametrize("path", ["/mcp", "/sse", "/messages/", "/messages/?session_id=../x", "/health", "/", "/..%2f"])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "TRACE", "OPTIONS", "PATCH", "CONNECT", "HEAD", "FOO"])
def test_other_methods_and_places_give_nothing(served: Served, path: str, method: str) -> None:
    raw = served.wire.request(b"{}", MODERN_HEADERS, path=path, method=method)
    assert served.check(served.wire.send(raw)) in {0, 200, 307, 400, 404, 405, 406} - (
        {200} if path == "/mcp" else set()
    )


def test_a_body_that_is_too_long_is_refused_declared_or_not(served: Served) -> None:
    wire, chunked = served.wire, {"Transfer-Encoding": "chunked"}
    for revision in (MODERN_HEADERS, dict[str, str | None]()):
        declared = wire.request(b"{", revision | {"Content-Length": str(17 * MEGABYTE)})
        assert served.check(wire.send(declared, close=False)) == 413
        head = wire.request(b"", revision | chunked, length=False)
        chunk = b"100000\r\n" + b" " * MEGABYTE + b"\r\n"
        assert served.check(wire.send(head + chunk * 18 + b"0\r\n\r\n", close=False)) in {413, 0}
        endless = wire.request(b"", revision | chunked | {"Authorization": "Bearer wrong"}, length=False)
        assert served.check(wire.send(endless + chunk * 40, close=False)) in {401, 0}


def test_clients_that_send_slowly_hold_up_nobody_and_are_given_up(served: Served) -> None:
    wire, whole = served.wire, dumped(rpc("tools/list"))
    begun = [
        b"",
        b"POST /mcp HTTP/1.1\r\nHost: a\r\nX-A: b\r\n",
        wire.request(whole, MODERN_HEADERS)[:-10],
        wire.request(b"", MODERN_HEADERS | {"Transfer-Encoding": "chunked"}, length=False) + b"5\r\n{",
    ]
    held = [wire.connect() for _ in range(200)]
    try:
        for number, connection in enumerate(held):
            connection.sendall(begun[number % len(begun)])
        for _ in range(20):
            assert wire.healthy()
            good = wire.request(whole, MODERN_HEADERS | {"Mcp-Method": "tools/list"})
            assert status(wire.send(good, close=False)) == 200
        assert ends_though_it_goes_on(held[1]), "a head that trickles may take for ever"
        for number, connection in enumerate(held):
            if number % len(begun) < 2 and number != 1:  # those without a whole head: their time is short
                assert status(received(connection)) in {0, 408}
    finally:
        for connection in held:
            connection.close()


def ends_though_it_goes_on(connection: socket.socket) -> bool:
    """Whether the server gives up on a head of which a line comes now and then."""
    end = time.monotonic() + PATIENCE
    connection.settimeout(0.2)
    while time.monotonic() < end:
        try:
            connection.sendall(b"X: y\r\n")
            if not (answer := connection.recv(1_000)) or b" 408 " in answer:
                return True
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False


def test_connections_that_end_in_the_middle_leave_nothing(served: Served) -> None:
    good = served.wire.request(dumped(rpc("tools/list")), MODERN_HEADERS)
    before = resident(served.process)
    for cut in range(1, len(good), 3):
        with served.wire.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            connection.sendall(good[:cut])
    assert resident(served.process) < before + 50 * MEGABYTE


def test_a_clients_name_forges_no_line_of_the_log(served: Served) -> None:
    forged = '\n{"level": "error", "text": "forged"}\r\n\x1b[2J\u2028\u009b31m\u202e'
    body = rpc("tools/call", name="get_run\n" + forged, arguments={"run_id": forged})
    body["params"]["_meta"]["io.modelcontextprotocol/clientInfo"]["name"] = forged
    served.check(served.wire.send(served.wire.request(dumped(body), MODERN_HEADERS), close=False))
    initialize = {"protocolVersion": forged, "capabilities": {}, "clientInfo": {"name": forged, "version": forged}}
    legacy = {"jsonrpc": "2.0", "id": forged, "method": "initialize", "params": initialize}
    served.check(served.wire.send(served.wire.request(dumped(legacy)), close=False))
    for name in ("Host", "Origin", "Mcp-Session-Id", "Last-Event-ID", "Mcp-Method"):
        served.check(served.wire.send(served.wire.request(b"", {name: "x\x9b31m\x85forged"}), close=False))
    assert not any(json.loads(line).get("text") == "forged" for line in list(served.log))
