"""`atlas-mcp warm`: agents made ahead, and said so."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

from atlas_mcp.constellation.roster import load_roster
from tests.cli.test_command_line import COMMAND

if TYPE_CHECKING:
    from pathlib import Path


def warmed() -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, "warm"], capture_output=True, text=True, timeout=200, check=False)


def test_every_agent_is_created_ahead_and_the_next_time_there_is_nothing_to_do(home: Path) -> None:
    names = {agent.name for agent in load_roster().agents}
    first = warmed()
    assert first.returncode == 0, first.stderr
    assert set(re.findall(r"^(\w+): created$", first.stdout, re.MULTILINE)) == names
    assert first.stdout.splitlines()[-1] == f"{len(names)} agents: {len(names)} created."
    with closing(sqlite3.connect(home / "letta.db")) as letta:
        assert {name for (name,) in letta.execute("SELECT name FROM agent")} == names
        letta.execute("DELETE FROM agent WHERE name = 'librarian'")
        letta.commit()
    again = warmed().stdout
    assert "librarian: created anew\n" in again
    assert again.splitlines()[-1].startswith(f"{len(names)} agents: ")
    assert f"{len(names) - 1} ready" in again
