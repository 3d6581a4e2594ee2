"""The demonstration does the main job for real, and says honestly how it went."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(400)
COMMAND = [sys.executable, "-m", "atlas_mcp", "demo"]


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": "160"},
    )


def test_a_new_user_sees_the_main_job_done(home: Path) -> None:
    done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    for seen in (
        "MCP 2026-07-28",
        "offline model",
        "document_researcher",
        "Please remember",
        "Result: round",
        "Evidence (",
        "Ratings, round 1",
        "What librarian remembers",
        "atlas-mcp traces",
        "atlas-mcp runs show run_",
        "atlas-mcp install",
        str(home),
    ):
        assert seen in done.stdout, seen
    assert "Traceback" not in done.stdout + done.stderr


def test_a_text_and_a_goal_of_ones_own_are_worked_on(tmp_path: Path) -> None:
    note = tmp_path / "tea.md"
    note.write_text("Tea is grown in Assam. It came to Europe in 1610. The Dutch carried it.")
    done = demo("--file", str(note), "--goal", "Who carried tea to Europe?", "--rounds", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Who carried tea to Europe?" in done.stdout
    assert "The Dutch carried it" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals between processes")
def test_an_interrupt_ends_it_cleanly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATLAS_OFFLINE_DELAY", "20")
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "A chat with one" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=90)
    assert process.returncode == 130
    assert errors.strip() == "atlas-mcp: interrupted"
