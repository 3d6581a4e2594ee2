"""ATLAS inside another program, whose umask and home folder are those of any program."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from atlas_mcp.atlas import open_atlas
from atlas_mcp.model.task import TeamTask
from atlas_mcp.settings import load_settings
from atlas_mcp.store.locks import Locks
from atlas_mcp.watch.sidecar import LOCK
from atlas_mcp.watch.spool import anything_waits
from tests.homes import stats

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX"),
    pytest.mark.timeout(400),
]


@pytest.fixture(autouse=True)
def _common_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def open_to_others(home: Path) -> list[str]:
    """The files that other users may read, apart from locks, which hold nothing."""
    files = ((path, found) for path, found in stats(home) if path.parent.name != "locks")
    return sorted(str(path.relative_to(home)) for path, found in files if found.st_mode & 0o077)


@pytest.mark.parametrize("left_open", [False, True])
async def test_whatever_is_kept_is_its_owners_alone_also_in_a_home_that_others_may_enter(
    home: Path, left_open: bool
) -> None:
    home.mkdir(mode=0o755)
    if left_open:
        (home / "logs").mkdir()
        for name in ("atlas.db", "letta.db", "runs.db", "logs/ingest.log"):
            (home / name).touch(mode=0o644)
    held = Locks(home / "locks").try_hold(LOCK)  # nobody carries spans away before they are looked at
    assert held is not None
    async with open_atlas(load_settings()) as atlas:
        run = await atlas.run_team_task(atlas.local_caller(), TeamTask(goal="Where is tea grown?"))
        assert run.status == "completed"
        assert {path.name for path in home.glob("*.db-wal")} >= {"atlas.db-wal", "letta.db-wal", "runs.db-wal"}
        assert open_to_others(home) == []
    assert list(home.rglob("*.spans"))
    assert open_to_others(home) == []
    held.release()
    carrier = [sys.executable, "-P", "-m", "atlas_mcp.watch.ingest", str(home), "--once"]
    while anything_waits(home / "spool") or not (home / "mlflow.db").exists():  # another carrier may be at it already
        await anyio.run_process(carrier)
    assert open_to_others(home) == []


@pytest.mark.parametrize(
    ("mode", "text", "warned"),
    [
        (0o644, 'OPENAI_API_KEY = "sk-1"', True),
        (0o640, 'mlflow_tracking_uri = "http://bob:pw@127.0.0.1"', True),
        (0o600, 'OPENAI_API_KEY = "sk-1"', False),
        (0o644, "offline_delay = 0", False),
    ],
)
async def test_the_status_warns_of_keys_that_others_can_read(home: Path, mode: int, text: str, warned: bool) -> None:
    home.mkdir()
    file = home / "settings.toml"
    file.write_text(text)
    file.chmod(mode)
    async with open_atlas(load_settings()) as atlas:
        status = await atlas.status(atlas.local_caller())
    assert [note for note in status.notes if "chmod 600" in note and str(file) in note and "sk-1" not in note] == (
        [note for note in status.notes if "settings.toml" in note]
    )
    assert any("chmod 600" in note for note in status.notes) == warned
