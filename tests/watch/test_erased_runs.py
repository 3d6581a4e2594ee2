"""What is purged is gone from MLflow's runs and their artifacts as well, and from notes on their way there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atlas_mcp.watch.calls import hashed_caller
from atlas_mcp.watch.erasing import erase_traces
from atlas_mcp.watch.notes import RunNote, tell
from atlas_mcp.watch.tracing import open_tracing
from tests.homes import contents

pytestmark = pytest.mark.timeout(300)

MARKER = "quagga71x"


def run_of(caller: str, key: str) -> RunNote:
    return RunNote(
        key=key,
        name=f"Where does {MARKER} live?",
        status="completed",
        started_ms=1,
        ended_ms=2,
        params={"goal": f"Where does {MARKER} live?"},
        tags={"atlas.error": f"{MARKER} was not found"},
        artifacts={"result.md": f"It lives in\n{MARKER}", "result.json": f'{{"output": "in\\n{MARKER}"}}'},
        user=hashed_caller(caller),
    )


def mend(value: Any, beside: bool) -> Any:
    if isinstance(value, dict):
        made = {name: mend(one, beside) for name, one in value.items()}
        return made if made != value else value
    return value.replace(MARKER, "[forgotten]") if isinstance(value, str) and MARKER in value else value


def files_with_it(home: Path) -> list[str]:
    return sorted(file.name for file, content in contents(home) if MARKER.encode() in content)


def test_a_purge_reaches_runs_their_artifacts_and_notes_that_wait(
    ready_home: Path, ingest: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    home = ready_home
    with open_tracing(home):
        tell(run_of("me", "carried"))
    assert ingest(home).returncode == 0
    with open_tracing(home):
        tell(run_of("me", "waiting"))
    assert len(files_with_it(home)) >= 4
    assert erase_traces(home, {"me": mend}) == 2
    assert [name for name in files_with_it(home) if not name.startswith("mlflow.db")] == []
    assert erase_traces(home, {"me": mend}) == 0
    assert ingest(home).returncode == 0, "what waited can still be carried"


def test_a_purge_leaves_the_runs_of_others(
    ready_home: Path, ingest: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    home = ready_home
    with open_tracing(home):
        tell(run_of("another", "carried"))
    assert ingest(home).returncode == 0
    before = files_with_it(home)
    assert {"result.md", "result.json"} <= set(before)
    assert erase_traces(home, {"me": mend}) == 0
    assert files_with_it(home) == before
