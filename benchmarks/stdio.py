"""What ATLAS costs a host over stdio, as ratios to a one-tool server of the bare SDK, measured in turns in one run.

Asked of it: start to tools listed at most 1.5 times the bare server's, `list_agents` at most 3 times its echo tool.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks._machine import machine_line, summary

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_AT_START, MOST_A_CALL = 1.5, 3.0
BARE = """
from mcp.server import MCPServer
server = MCPServer("bare")
@server.tool()
async def echo(text: str) -> str:
    "Say it again."
    return text
server.run()
"""
ATLAS = [sys.executable, "-m", "atlas_mcp", "serve"]


class Host:
    """The smallest host there is: JSON-RPC lines to a subprocess and back."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._id = 0

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """One request, answered."""
        self._id += 1
        self._send({"id": self._id, "method": method, "params": params})
        assert self._process.stdout is not None
        while True:
            message = json.loads(self._process.stdout.readline())
            if message.get("id") == self._id:
                return message["result"]

    def open(self) -> int:
        """Shake hands and list the tools; how many there are."""
        who = {"name": "benchmark", "version": "1"}
        self.ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=who)
        self._send({"method": "notifications/initialized"})
        return len(self.ask("tools/list")["tools"])

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self._process.stdin.flush()


@contextmanager
def server(command: list[str], home: str) -> Iterator[tuple[Host, float]]:
    """A started server whose tools are listed, and the milliseconds that took from before the start."""
    environment = os.environ | {"ATLAS_HOME": home}
    begun = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        host = Host(process)
        host.open()
        yield host, (time.perf_counter() - begun) * 1000
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


def call(host: Host, tool: str, arguments: dict[str, Any]) -> float:
    """The milliseconds of one call."""
    begun = time.perf_counter()
    result = host.ask("tools/call", name=tool, arguments=arguments)
    took = (time.perf_counter() - begun) * 1000
    assert not result.get("isError"), result
    return took


def starts(count: int, bare: list[str], home: str) -> float:
    """Start both in turns; the ratio of the medians."""
    took: dict[str, list[float]] = {"bare": [], "atlas": []}
    for _ in range(count + 1):
        for name, command in (("bare", bare), ("atlas", ATLAS)):
            with server(command, home) as (_, milliseconds):
                took[name].append(milliseconds)
    return report("start to tools listed", {name: samples[1:] for name, samples in took.items()}, MOST_AT_START)


def calls(count: int, bare: list[str], home: str) -> float:
    """Call both in turns; the ratio of the medians."""
    took: dict[str, list[float]] = {"bare": [], "atlas": []}
    with server(bare, home) as (echo, _), server(ATLAS, home) as (atlas, _):
        for _ in range(count + 20):
            took["bare"].append(call(echo, "echo", {"text": "hello"}))
            took["atlas"].append(call(atlas, "list_agents", {}))
    return report("echo / list_agents", {name: samples[20:] for name, samples in took.items()}, MOST_A_CALL)


def report(what: str, took: dict[str, list[float]], most: float) -> float:
    """Print both sides and their ratio."""
    ratio = statistics.median(took["atlas"]) / statistics.median(took["bare"])
    print(f"{what}\n  bare SDK  {summary(took['bare'])}\n  ATLAS     {summary(took['atlas'])}")
    print(f"  ratio     {ratio:.2f} (at most {most}): {'kept' if ratio <= most else 'NOT KEPT'}")
    return ratio / most


def main() -> int:
    """Measure; exit code 1 when a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=7, help="starts of each server")
    parser.add_argument("--calls", type=int, default=400, help="calls of each tool")
    given = parser.parse_args()
    print(machine_line())
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "bare.py"
        program.write_text(BARE)
        bare = [sys.executable, str(program)]
        home = str(Path(folder) / "home")
        worst = max(starts(given.starts, bare, home), calls(given.calls, bare, home))
    print(f"load afterwards: {machine_line().split('load ')[1].split(';')[0]}")
    return 0 if worst <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
