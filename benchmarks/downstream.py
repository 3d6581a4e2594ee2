"""What the manager of other MCP servers costs: added to one call over calling the server directly, and to the start.

The same server is called, over the same transport and in turns, by the SDK's client and through ATLAS: once by the tool
alone, once as an agent's turn calls it (with its span, the guard, and the answer kept as a source). Then ATLAS is
started with ten servers configured that never answer, and with none. Asked of it: no start that waits for a server,
1.1 times the start without at most.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters

sys.path.insert(0, str(Path(__file__).parent.parent))
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.model.caller import Caller
from atlas_mcp.reach.context import CallContext
from atlas_mcp.reach.servers.config import ServersFile, read_servers
from atlas_mcp.reach.servers.servers import Servers
from atlas_mcp.settings import load_settings
from atlas_mcp.store.home import open_home
from atlas_mcp.store.record import open_record
from benchmarks._machine import machine_line, summary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    Call = Callable[[], Awaitable[object]]

MOST_AT_START = 1.1
SERVERS = 10
BARE = """
import sys
from mcp.server import MCPServer
from mcp.types import ToolAnnotations
server = MCPServer("bare")
@server.tool(annotations=ToolAnnotations(read_only_hint=True))
async def echo(text: str) -> str:
    "Say it again."
    return text
if sys.argv[1:]:
    server.run("streamable-http", port=int(sys.argv[1]))
else:
    server.run()
"""


_numbers = itertools.count()


def said() -> dict[str, Any]:
    """Arguments that no call had before: an answer that was given once is not kept again."""
    return {"text": f"hello {next(_numbers)}"}


@asynccontextmanager
async def kept(folder: Path, entry: dict[str, Any]) -> AsyncIterator[Call]:
    """The tool alone: a session that the manager keeps, checked arguments, a bounded answer."""

    async def nothing(*_: object, **__: object) -> None: ...

    home = open_home(folder / "alone")
    home.prepare_databases()
    context = CallContext(Caller(id="local:bench"), "web_researcher", None, nothing, nothing)
    async with open_record(home.path) as record, anyio.create_task_group() as tasks:
        servers = Servers(_file(folder, entry), home.logs, record, lambda _: "")
        tasks.start_soon(servers.keep)
        await servers.settled()
        (tool,) = servers.tools
        yield lambda: tool.call(context, said())
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def in_a_turn(folder: Path, entry: dict[str, Any]) -> AsyncIterator[Call]:
    """The tool as an agent's turn calls it, in an open ATLAS."""
    from atlas_mcp._keeper import open_rooms
    from atlas_mcp.constellation.tool_turn import ToolTurn

    _file(folder, entry)
    os.environ["ATLAS_MCP_SERVERS"] = str(folder / "mcp.json")
    async with open_rooms(load_settings(home=folder / "turn")) as keeper:
        caller = Caller(id=f"local:{keeper.home.local_id}", kind="local")
        rooms = await keeper.rooms()
        async with rooms.visit(caller) as agents:
            spec = load_roster(None).agent("web_researcher")
            session = agents.toolbox.session(spec, None, ToolTurn("turn_bench", None, None))
            yield lambda: session.call("bare_echo", said())


async def calls(folder: Path, program: Path, count: int) -> None:
    """Call the server directly and through ATLAS in turns, over each transport."""
    with serving(program) as address:
        here = {"command": sys.executable, "args": [str(program)]}
        ways = {
            "stdio": (StdioServerParameters(command=sys.executable, args=[str(program)]), here),
            "HTTP": (address, {"url": address}),
        }
        for name, (server, entry) in ways.items():
            async with (
                Client(server) as client,
                kept(folder / name, entry) as alone,
                in_a_turn(folder / name, entry) as turn,
            ):
                took: dict[str, list[float]] = {"directly": [], "by the manager": [], "in a turn": []}

                async def directly(client: Client = client) -> object:
                    return await client.call_tool("echo", said())

                for _ in range(count + 10):
                    for way, call in zip(took, (directly, alone, turn), strict=True):
                        took[way].append(await timed(call))
                report_calls(name, {way: samples[10:] for way, samples in took.items()})


async def timed(call: Call) -> float:
    """The milliseconds of one call."""
    begun = time.perf_counter()
    await call()
    return (time.perf_counter() - begun) * 1000


def report_calls(name: str, took: dict[str, list[float]]) -> None:
    """Print each way, and what it adds to the direct one."""
    print(f"one call over {name}")
    base = statistics.median(took["directly"])
    for way, samples in took.items():
        added = statistics.median(samples) - base
        print(f"  {way:<15} {summary(samples)}" + ("" if way == "directly" else f"; adds {added:.3f} ms"))


def starts(folder: Path, count: int) -> float:
    """Start ATLAS with and without servers in turns; the ratio of the medians."""
    homes = {"none": folder / "none", "ten": folder / "ten"}
    for home in homes.values():
        home.mkdir()
    mute = {"command": sys.executable, "args": ["-c", "import time; time.sleep(3600)"]}
    entries = {"mcpServers": {f"s{n}": mute for n in range(SERVERS)}}
    (homes["ten"] / "mcp_servers.json").write_text(json.dumps(entries))
    took: dict[str, list[float]] = {name: [] for name in homes}
    for _ in range(count + 1):
        for name, home in homes.items():
            took[name].append(listed(home))
    ratio = statistics.median(took["ten"][1:]) / statistics.median(took["none"][1:])
    print("start of ATLAS to tools listed")
    for name, samples in took.items():
        print(f"  {name:<5} servers {summary(samples[1:])}")
    print(f"  ratio {ratio:.2f} (at most {MOST_AT_START}): {'kept' if ratio <= MOST_AT_START else 'NOT KEPT'}")
    return ratio


def listed(home: Path) -> float:
    """Milliseconds from before the start of ATLAS on that home until its tools are listed."""
    from benchmarks.stdio import ATLAS, server

    with server(ATLAS, str(home)) as (_, milliseconds):
        return milliseconds


@contextmanager
def serving(program: Path) -> Iterator[str]:
    """The bare server over HTTP; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, str(program), str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    ) as process:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
        process.terminate()


def _file(folder: Path, entry: dict[str, Any]) -> ServersFile:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"bare": entry}}))
    return read_servers(folder / "mcp.json", lambda *names: {})


def main() -> int:
    """Measure; exit code 1 when the promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=300, help="calls each way, over each transport")
    parser.add_argument("--starts", type=int, default=7, help="starts of ATLAS with and without servers")
    given = parser.parse_args()
    print(machine_line())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        program = folder / "bare.py"
        program.write_text(BARE)
        anyio.run(calls, folder, program, given.calls)
        ratio = starts(folder, given.starts)
    print(f"load afterwards: {machine_line().split('load ')[1].split(';')[0]}")
    return 0 if ratio <= MOST_AT_START else 1


if __name__ == "__main__":
    sys.exit(main())
