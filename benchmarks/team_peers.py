"""A team task of a supervisor and three workers whose models answer at once: ATLAS beside those who do the like.

    python benchmarks/team_peers.py [name ...]

Each peer is installed in an environment of its own, in the user's cache folder, and measured in a process of its own,
turn about with ATLAS. ATLAS's task is durable (record, checkpoints, journal, engine) and typed, and takes six model
calls; the peers keep nothing, unless it is said. What cannot be installed is named and left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from _machine import machine_line

HERE = Path(__file__).parent
PYTHON = "3.11"
SILENT = {
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "OTEL_SDK_DISABLED": "true",
}
LANGGRAPH = ["langgraph==1.2.22", "langgraph-checkpoint-sqlite==3.1.2"]
PEERS: dict[str, tuple[list[str], list[str]]] = {
    "langgraph": (LANGGRAPH, ["plain_langgraph.py"]),
    "langgraph-sqlite": (LANGGRAPH, ["plain_langgraph.py", "sqlite"]),
    "langgraph-supervisor": (["langgraph-supervisor==0.0.31", "langgraph==1.2.22", "langchain"], ["supervisor.py"]),
    "openai-agents": (["openai-agents==0.24.0"], ["openai_sdk.py"]),
    "autogen": (["autogen-agentchat==0.7.5"], ["autogen_chat.py"]),
    "agent-framework": (
        ["agent-framework-core==1.23.0", "agent-framework-orchestrations==1.4.0"],
        ["agent_framework_sdk.py"],
    ),
    "deepagents": (["deepagents==0.7.32"], ["deep_agents.py"]),
    "crewai": (["crewai==1.15.30"], ["crew.py"]),
}


def python_of(name: str, requirements: list[str]) -> Path:
    """The interpreter of the peer's environment, installed if it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "atlas-mcp-benchmarks"
    folder = cache / "-".join([name, *(r.replace("==", "-") for r in requirements)])
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "-q", "--clear", "-p", PYTHON, str(folder)], check=True, capture_output=True)
        install = [*uv, "pip", "install", "-q", "--compile-bytecode", "-p", str(python), *requirements]
        subprocess.run(install, check=True, capture_output=True)
        (folder / "installed").touch()
    return python


def measured(name: str) -> dict[str, Any] | str:
    """The peer's figures, or why there are none."""
    requirements, script = PEERS[name]
    try:
        python = python_of(name.removesuffix("-sqlite"), requirements)
        ran = subprocess.run(
            [str(python), "-W", "ignore", str(HERE / "peers" / script[0]), *script[1:]],
            check=True, capture_output=True, text=True, timeout=180, env=os.environ | SILENT,
        )  # fmt: skip
    except subprocess.CalledProcessError as failure:
        said = failure.stderr if isinstance(failure.stderr, str) else failure.stderr.decode()
        return said.strip().splitlines()[-1] if said.strip() else "no reason given"
    except subprocess.TimeoutExpired:
        return "it took more than 180 s"
    return next(json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{"))


def atlas() -> str:
    """ATLAS's own figure, measured now."""
    ran = subprocess.run(
        [sys.executable, str(HERE / "team_task.py"), "40"], check=True, capture_output=True, text=True, timeout=300
    )
    return (
        next(line for line in ran.stdout.splitlines() if line.startswith("team task, claim")).split(":", 1)[1].strip()
    )


def main() -> None:
    """Print the table."""
    wanted = sys.argv[1:] or list(PEERS)
    print(machine_line())
    print(f"{'ATLAS, durable, claim to final event':42s} {atlas()}")
    for name in wanted:
        told = measured(name)
        if isinstance(told, str):
            print(f"{name:42s} not measured: {told}")
            continue
        print(
            f"{told['peer']:42s} min {told['least_ms']:.3f} ms, median {told['median_ms']:.3f} ms, "
            f"{told['calls']:g} calls, import {told['import_s']:.2f} s, {told['rss_mb']:.0f} MB"
        )
    print(f"{'ATLAS, again':42s} {atlas()}")


if __name__ == "__main__":
    main()
