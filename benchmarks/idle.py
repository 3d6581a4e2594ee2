"""What a thousand connected idle HTTP clients cost: memory of the server, its file handles, and a call's latency.

Half of them came by a handshake and hold the stream on which the server may speak to them; the others listen, as
clients do since 2026-07-28. Measured before they come, while they are there, and after they have gone.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks._machine import machine_line, summary
from benchmarks._wire import ATLAS, CLIENT, LEGACY, MODERN, Http, handles, over_http, request, resident_mib

CALLS = 50
AT_ONCE = 16


async def listening(client: Http) -> None:
    """Open a stream of the newer era, and see that it is open."""
    asked = request(1, "subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    await client.send(asked, {"mcp-protocol-version": MODERN, "mcp-method": "subscriptions/listen"})
    status, _ = await client.head()
    assert status == 200, status


async def shaken(client: Http) -> None:
    """Shake hands as before 2026-07-28, and open the stream of the session."""
    params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": CLIENT}
    await client.send({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}, {})
    headers, answer = await client.answer()
    assert "result" in answer, answer
    client.headers = {"mcp-session-id": headers["mcp-session-id"], "mcp-protocol-version": LEGACY}
    await client.send({"jsonrpc": "2.0", "method": "notifications/initialized"}, {})
    await client.answer()
    await client.open_stream()
    status, _ = await client.head()
    assert status == 200, status


async def state(what: str, address: str, key: str | None, pid: int) -> float:
    """Print how the server is; its resident memory in MiB."""
    caller, took = Http(address, key), list[float]()
    for _ in range(CALLS + 5):
        begun = time.perf_counter()
        await caller.ask("tools/call", name="list_agents", arguments={})
        took.append((time.perf_counter() - begun) * 1000)
    await caller.aclose()
    memory = resident_mib(pid)
    print(f"{what:<28} {memory:7.1f} MiB resident, {handles(pid):5} handles; list_agents {summary(took[5:])}")
    return memory


async def connected(clients: int, address: str, key: str | None, connections: AsyncExitStack) -> None:
    """Connect so many, some at a time; they stay until the stack is left."""
    allowed = anyio.CapacityLimiter(AT_ONCE)

    async def connect(number: int) -> None:
        async with allowed:
            client = Http(address, key)
            connections.push_async_callback(client.aclose)
            await (listening if number % 2 else shaken)(client)

    begun = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for number in range(clients):
            tasks.start_soon(connect, number)
    print(f"{clients} clients connected in {time.perf_counter() - begun:.1f} s")


async def measure(clients: int, rounds: int) -> None:
    """Connect, look, and disconnect."""
    with (
        tempfile.TemporaryDirectory() as home,
        over_http([*ATLAS, "--http", "--port", "0"], {"ATLAS_HOME": home}, "Ctrl-C") as (address, key, process),
    ):
        before = after = await state("before", address, key, process.pid)
        for _ in range(rounds):  # what a second thousand adds is lost; the rest the process keeps and uses again
            async with AsyncExitStack() as connections:
                await connected(clients, address, key, connections)
                during = await state(f"with {clients} idle clients", address, key, process.pid)
            earlier, after = after, await state("after they have gone", address, key, process.pid)
            print(f"a client costs {(during - earlier) / clients * 1024:.0f} KiB; {after - earlier:+.1f} MiB stay")
    print(f"at most {during - before:.1f} MiB more than without them")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1_000, help="how many connect and then do nothing")
    parser.add_argument("--rounds", type=int, default=2, help="how often they come and go")
    given = parser.parse_args()
    least = given.clients * 2 + 256
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (least if most == resource.RLIM_INFINITY else min(least, most), most))
    print(machine_line())
    anyio.run(measure, given.clients, given.rounds)
    print(f"load afterwards: {machine_line().split('load ')[1].split(';')[0]}")


if __name__ == "__main__":
    main()
