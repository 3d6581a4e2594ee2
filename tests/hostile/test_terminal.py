"""What others wrote is shown to a person in a terminal as text: it steers nothing, and breaks no page."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.server.doors import COMMAND, MODERN, call, over_stdio, until_ended

pytestmark = pytest.mark.anyio

EVIL = "boat \x1b]0;owned\x07\x1b[2J\x9b31m [/nope] [link=https://evil.example]here[/link] [bold \u202egnp"
_STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def shown(*arguments: str) -> str:
    """What a command writes, in a terminal or not; it must not fail."""
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, timeout=120, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr.decode()
    return (done.stdout + done.stderr).decode()


async def test_pages_show_what_was_written_and_obey_nothing_of_it() -> None:
    async with over_stdio(MODERN) as client:
        await call(client, "update_agent_memory", agent="librarian", label="human", value=EVIL)
        await call(client, "share_knowledge", name=f"Tide {EVIL}", text=f"Tides. {EVIL}")
        run = await call(client, "run_team_task", goal=f"What of the tides? {EVIL}", max_rounds=0, wait_seconds=20)
        run = await until_ended(client, run)
    for command in (
        ("memory", "list"),
        ("runs", "list"),
        ("runs", "show", run["run_id"]),
        ("debug", run["run_id"]),
        ("audit",),
        ("costs",),
        ("report",),
    ):
        text = shown(*command)
        assert not _STEERS.search(text), f"{command}: {_STEERS.findall(text)}"
    assert "[/nope]" in shown("runs", "show", run["run_id"])
