"""A constellation goes through a file and is the same afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atlas_mcp.constellation.portable_rows import OWN, STAYING
from atlas_mcp.store.tables import metadata
from tests.portable.conftest import atlas_on, content, fill

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]


async def test_a_constellation_that_went_through_a_file_is_exported_again_as_the_same(tmp_path: Path) -> None:
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    async with atlas_on(tmp_path / "a") as here:
        await fill(here, task=True)
        written = await here.portable.export(here.local_caller(), first)
    async with atlas_on(tmp_path / "b") as there:
        me = there.local_caller()
        read = await there.portable.import_(me, first)
        assert await there.portable.export(me, second) == written == read
    assert content(second) == content(first)
    assert written.agents > 2
    assert written.passages == 2
    assert written.runs == 2


async def test_no_table_of_a_caller_s_things_is_left_behind() -> None:
    theirs = {table.name for table in metadata.sorted_tables if "caller" in table.c}
    assert {table.name for table in (*OWN, *STAYING)} == theirs, "say in portable_rows what becomes of a new table"
