"""`atlas-mcp memory list`, `forget` and `purge`, beside a server that works."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import anyio
import pytest

from atlas_mcp.atlas import open_atlas
from atlas_mcp.settings import load_settings
from atlas_mcp.watch.state import IngestState, save_state
from tests.homes import contents

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio
MARKER = "quagga71x"


async def test_beside_a_server_the_command_line_shows_forgets_and_purges(home: Path) -> None:
    (home / "spool").mkdir(mode=0o700, parents=True)
    later = IngestState(retry_at=time.time() + 3_600)
    save_state(home / "spool", later)  # no process starts a carrier: else the purge waits until it has carried all
    async with open_atlas(load_settings()) as atlas:
        me = atlas.local_caller()
        document = await atlas.share_knowledge(me, "notes", f"The vault at Lund opens with {MARKER}.")
        kept = await atlas.memories.remember(me, "Tea is grown in Darjeeling.")
        assert kept.id in await command("list")
        assert "Would be forgotten: the document" in await command("forget", document.id)
        assert (await atlas.search_memory(me, "vault")).hits
        assert "Forgotten: the document" in await command("forget", document.id, "--yes")
        assert (await atlas.search_memory(me, "vault")).hits == []
        assert "1 forgotten things are gone" in await command("purge")
        assert [path for path, content in contents(home) if MARKER.encode() in content] == []


async def command(*arguments: str, code: int = 0) -> str:
    """What `atlas-mcp memory` with these arguments says."""
    whole = [sys.executable, "-m", "atlas_mcp", "memory", *arguments]
    with anyio.fail_after(120):
        done = await anyio.run_process(whole, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == code, said
    return said
