"""Calls a second and latency of ATLAS' cheapest tool, over stdio and over HTTP, against the bare SDK's one-tool server.

Both servers run at once and are called turn about, so that both meet the same load of the machine. The clients are raw
(`_wire.py`): the SDK's own would cost as much as the server. Over stdio all clients share the one pipe that there is,
with that many calls under way; over HTTP each has a connection of its own.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks._machine import machine_line, summary
from benchmarks._wire import ATLAS, Http, over_http, piped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Call = Callable[[], Awaitable[dict[str, Any]]]

BARE = """
import sys
from mcp.server import MCPServer
server = MCPServer("bare")
@server.tool()
async def echo(text: str) -> str:
    "Say it again."
    return text
if len(sys.argv) == 1:
    server.run()
else:
    import socket, uvicorn
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    port = listening.getsockname()[1]
    app = server.streamable_http_app()
    config = uvicorn.Config(app, http="h11", ws="none", log_config=None, access_log=False, timeout_keep_alive=75)
    print(f"http://127.0.0.1:{port} is ready", file=sys.stderr, flush=True)
    uvicorn.Server(config).run(sockets=[listening])
"""
ECHO = {"name": "echo", "arguments": {"text": "hello"}}
LIST = {"name": "list_agents", "arguments": {}}
WARM = 20


async def turn(calls: Sequence[Call], count: int, into: list[float]) -> float:
    """Make `count` calls by each of these clients at once; the seconds it took."""

    async def client(call: Call) -> None:
        for _ in range(count):
            begun = time.perf_counter()
            result = await call()
            into.append((time.perf_counter() - begun) * 1000)
            assert not result.get("isError"), result

    begun = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(client, call)
    return time.perf_counter() - begun


async def compare(what: str, both: dict[str, Sequence[Call]], turns: int, count: int) -> None:
    """Call both turn about, and print both and their ratio."""
    took: dict[str, list[float]] = {"bare": [], "atlas": []}
    seconds = {"bare": 0.0, "atlas": 0.0}
    for calls in both.values():
        await turn(calls, WARM, [])
    for _ in range(turns):
        for name, calls in both.items():
            seconds[name] += await turn(calls, count, took[name])
    rates = {name: len(took[name]) / seconds[name] for name in both}
    print(f"{what}, {len(both['bare'])} at once")
    print(f"  bare SDK  {rates['bare']:7.0f} calls/s   {summary(took['bare'])}")
    print(f"  ATLAS     {rates['atlas']:7.0f} calls/s   {summary(took['atlas'])}")
    print(f"  ATLAS takes {rates['bare'] / rates['atlas']:.2f} times as long a call")


async def over_stdio(program: Path, home: str, clients: Sequence[int], turns: int, calls: int) -> None:
    """Compare both over stdio."""
    bare_command = [sys.executable, str(program)]
    async with piped(bare_command, {}) as (bare, _), piped(ATLAS, {"ATLAS_HOME": home}) as (atlas, _):
        for count in clients:
            sides: dict[str, Sequence[Call]] = {
                "bare": [functools.partial(bare.ask, "tools/call", **ECHO)] * count,
                "atlas": [functools.partial(atlas.ask, "tools/call", **LIST)] * count,
            }
            await compare("stdio", sides, turns, max(1, calls // count))


async def by_http(program: Path, home: str, clients: Sequence[int], turns: int, calls: int) -> None:
    """Compare both over HTTP."""
    bare_server = over_http([sys.executable, str(program), "http"], {}, "is ready")
    atlas_server = over_http([*ATLAS, "--http", "--port", "0"], {"ATLAS_HOME": home}, "Ctrl-C")
    with ExitStack() as servers:
        bare_address, bare_key, _ = servers.enter_context(bare_server)
        atlas_address, atlas_key, _ = servers.enter_context(atlas_server)
        for count in clients:
            async with AsyncExitStack() as connections:
                sides: dict[str, Sequence[Call]] = {}
                doors = {"bare": (bare_address, bare_key, ECHO), "atlas": (atlas_address, atlas_key, LIST)}
                for name, (address, key, tool) in doors.items():
                    those = [Http(address, key) for _ in range(count)]
                    for one in those:
                        connections.push_async_callback(one.aclose)
                    sides[name] = [functools.partial(one.ask, "tools/call", **tool) for one in those]
                await compare("HTTP", sides, turns, max(1, calls // count))


async def measure(clients: Sequence[int], turns: int, calls: int) -> None:
    """All of it, with a home and a program of its own."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "bare.py"
        program.write_text(BARE)
        await over_stdio(program, str(Path(folder) / "stdio"), clients, turns, calls)
        await by_http(program, str(Path(folder) / "http"), clients, turns, calls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 32], help="how many at once, in turn")
    parser.add_argument("--turns", type=int, default=10, help="turns of each server")
    parser.add_argument("--calls", type=int, default=320, help="calls a turn, of all clients together")
    given = parser.parse_args()
    print(machine_line())
    anyio.run(measure, given.clients, given.turns, given.calls)
    print(f"load afterwards: {machine_line().split('load ')[1].split(';')[0]}")


if __name__ == "__main__":
    main()
