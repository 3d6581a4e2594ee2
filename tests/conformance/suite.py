"""The protocol's official conformance suite, from npm, against a server of ours."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests import npm
from tests.conformance.keyed_proxy import keyed_proxy
from tests.server.doors import http_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = "@modelcontextprotocol/conformance"

_FOLDER = re.compile(r"server-(.+)-\d{4}-\d\d-\d\dT")

needs_suite = npm.needs(PACKAGE)


@dataclass(frozen=True)
class Scenario:
    """What came of one scenario: its checks, each with the suite's words."""

    checks: list[dict[str, Any]]

    @property
    def failed(self) -> list[str]:
        """The checks that failed."""
        return [f"{c['id']}: {c.get('errorMessage')}" for c in self.checks if c["status"] == "FAILURE"]

    @property
    def passed(self) -> int:
        """How many did not."""
        return sum(check["status"] == "SUCCESS" for check in self.checks)


@dataclass(frozen=True)
class Outcome:
    """What came of all scenarios of a revision of the protocol, by their names; and what was printed."""

    code: int
    scenarios: dict[str, Scenario]
    printed: str


@contextmanager
def served(home: Path) -> Iterator[str]:
    """`serve --http --conformance` on that home: an address at which the suite needs no key."""
    with pytest.MonkeyPatch.context() as patch, keyed_proxy() as proxy:
        patch.setenv("ATLAS_HOME", str(home))
        with http_server("--conformance", "--allow-host", f"127.0.0.1:{proxy.port}") as (address, key, _):
            proxy.lead(address, key)
            yield f"http://127.0.0.1:{proxy.port}/mcp"


def run_suite(url: str, revision: str, results: Path) -> Outcome:
    """Run all scenarios that the suite has for a revision, those that it does not score as well."""
    wanted = ["server", "--url", url, "--requirements", revision, "-o", str(results)]
    command = [*npm.program(PACKAGE, "conformance"), *wanted]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    scenarios = {
        named[1]: Scenario(json.loads(file.read_text(encoding="utf-8")))
        for file in results.rglob("checks.json")
        if (named := _FOLDER.match(file.parent.name))
    }
    return Outcome(done.returncode, scenarios, done.stdout + done.stderr)
