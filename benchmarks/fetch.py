"""A hundred pages fetched at once from a site on loopback: by ATLAS, and by bare httpx in the same run.

    python benchmarks/fetch.py

Bare httpx gets the bytes and does nothing with them; ATLAS judges each connection, keeps to the site's rules, asks for
six at a time, reads the text of each page in another process and keeps it in the record. So the ways between are shown
too: httpx with six connections, ATLAS' way out alone, and the reading of one page. The site is a process of its own.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import anyio
import httpx
from _machine import machine_line

from atlas_mcp.model.caller import Caller
from atlas_mcp.reach.readers import Readers
from atlas_mcp.reach.web.address import parse_address
from atlas_mcp.reach.web.connecting import Allowed, CheckedBackend
from atlas_mcp.reach.web.fetching import Fetcher
from atlas_mcp.reach.web.manners import AT_ONCE
from atlas_mcp.reach.web.web import Web
from atlas_mcp.server.loop import loop_options
from atlas_mcp.store.record import open_record

Get = Callable[[str], Coroutine[Any, Any, object]]
PAGES, ROUNDS = 100, 5
WORDS = "The keeper lit the lamp at dusk and trimmed the wick every four hours, as the log of the tower says. "
ARTICLE = "".join(f"<p>{n}. {WORDS * 4}<a href='/page/{n}'>Page {n}</a></p>" for n in range(60))
HTML = f"<!doctype html><html><head><title>Lamps</title></head><body><nav>{'<a href=/>Home</a> ' * 40}</nav>"
HTML += f"<article><h1>Lamps of the coast</h1>{ARTICLE}</article><footer>Imprint</footer></body></html>"
BODY = HTML.encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        found = self.path != "/robots.txt"
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(BODY) if found else 0))
        self.end_headers()
        self.wfile.write(BODY if found else b"")

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 256


def serve(told: Connection) -> None:
    server = Server(("127.0.0.1", 0), Handler)
    told.send(server.server_address[1])
    server.serve_forever()


async def at_once(get: Get, addresses: list[str]) -> float:
    """The seconds that getting all of them takes."""
    begun = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for address in addresses:
            tasks.start_soon(get, address)
    return time.perf_counter() - begun


async def shown(name: str, get: Get, rounds: list[list[str]], bare: float) -> float:
    took = [await at_once(get, addresses) for addresses in rounds]
    middle = statistics.median(took)
    ratio = f"{middle / bare:6.1f} times bare httpx" if bare else ""
    print(f"{name:46s} {middle * 1e3:8.1f} ms   {middle / PAGES * 1e3:6.2f} ms a page   {ratio}")
    return middle


async def measure(site: str) -> None:
    number = iter(range(1_000_000))
    place = site.removeprefix("http://")

    def rounds() -> list[list[str]]:
        """Addresses that nobody has asked for yet."""
        return [[f"{site}/page/{next(number)}" for _ in range(PAGES)] for _ in range(ROUNDS)]

    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        await at_once(client.get, rounds()[0])
        bare = await shown("bare httpx", client.get, rounds(), 0.0)
    few = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(trust_env=False, timeout=60, limits=few) as client:
        await shown(f"bare httpx, {AT_ONCE} connections", client.get, rounds(), bare)

    fetcher = Fetcher(CheckedBackend(Allowed([place])))
    await shown("ATLAS, the way out alone", lambda a: fetcher.get(parse_address(a), seconds=60), rounds(), bare)
    await fetcher.close()

    me = Caller(id="local:me")
    with tempfile.TemporaryDirectory() as home:
        async with open_record(Path(home)) as record, Web(record, (place,)).opened() as web:
            await at_once(lambda a: web.page(me, a), rounds()[0][:4])  # its processes are started
            asked = rounds()
            await shown("ATLAS, pages read and kept", lambda a: web.page(me, a), asked, bare)
            newest = [asked[-1]] * ROUNDS
            await shown("ATLAS, pages that it has kept", lambda a: web.page(me, a), newest, bare)
    await reading()


async def reading() -> None:
    readers = Readers()
    options = {"kind": "html", "charset": "utf-8", "address": "http://127.0.0.1/"}
    took: list[float] = []
    for _ in range(60):
        begun = time.perf_counter()
        await readers.call("atlas_mcp.reach.web.reading:read", BODY, seconds=60, **options)
        took.append((time.perf_counter() - begun) * 1e3)
    await readers.close()
    kilobytes = len(BODY) / 1e3
    print(f"reading one page of {kilobytes:.0f} kB: first {took[0]:.0f} ms, then {statistics.median(took[5:]):.1f} ms")


def main() -> None:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    print(machine_line())
    print(f"{PAGES} pages of {len(BODY) / 1e3:.0f} kB at once, median of {ROUNDS} rounds")
    try:
        anyio.run(measure, f"http://127.0.0.1:{ours.recv()}", backend_options=loop_options())
    finally:
        server.kill()
    print(machine_line())


if __name__ == "__main__":
    main()
