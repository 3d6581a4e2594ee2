"""Texts as versions: once each whoever comes first, in order, and those that lead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from sqlalchemy import func, select

from atlas_mcp.model.agent import AgentSpec
from atlas_mcp.store.quality_tables import prompt
from atlas_mcp.store.record import open_record
from atlas_mcp.watch.prompts import rows
from atlas_mcp.watch.prompts.versions import Versions

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.store.postgres import Postgres
    from atlas_mcp.store.record import Record

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
NAME = "persona.editor"
EDITOR = AgentSpec(name="editor", role="worker", description="edits", persona="I edit.")


async def kept(record: Record, text: str) -> int:
    async with record.write(rows.WRITER) as db:
        return (await rows.keep(db, NAME, text, "file"))[0].version


async def leads(record: Record) -> int | None:
    async with record.look() as db:
        found = (await rows.leading(db)).get(NAME)
    return found.version if found else None


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An existing home folder."""
    return tmp_path


async def test_a_text_is_one_version_however_many_processes_use_it_first(home: Path, database: Postgres | None) -> None:
    async with open_record(home, database) as one, open_record(home, database) as other:
        users = [Versions(record, {"editor": "I edit."}) for record in (one, other) for _ in range(4)]
        found: list[list[str]] = []

        async def use(versions: Versions) -> None:
            found.append(await versions.used(EDITOR))

        async with anyio.create_task_group() as tasks:
            for versions in users:
                tasks.start_soon(use, versions)
        async with one.read() as db:
            assert (await db.execute(select(func.count()).select_from(prompt))).scalar_one() == 1
    assert found == [["persona.editor/1"]] * 8


async def test_a_changed_file_is_a_new_version_and_an_old_text_is_its_old_one(
    home: Path, database: Postgres | None
) -> None:
    async with open_record(home, database) as record:
        assert [await kept(record, text) for text in ("a", "b", "a", "c")] == [1, 2, 1, 3]
        async with record.look() as db:
            found = await rows.versions_of(db, NAME)
    assert [one.origin for one in found] == ["file", "edited", "edited"]
    assert found[0].made_at < found[1].made_at < found[2].made_at


async def test_the_version_promoted_last_leads_until_it_is_taken_back(home: Path, database: Postgres | None) -> None:
    async with open_record(home, database) as record:
        for text in ("a", "b", "c"):
            await kept(record, text)
        seen = [await leads(record)]
        for version in (3, 2):
            async with record.write(rows.WRITER) as db:
                await rows.promote(db, NAME, version)
            seen.append(await leads(record))
        for version in (2, 3):
            async with record.write(rows.WRITER) as db:
                await rows.take_back(db, NAME, version)
            seen.append(await leads(record))
    assert seen == [None, 3, 2, 3, None]


async def test_agents_of_callers_and_of_runs_leave_no_version(home: Path, database: Postgres | None) -> None:
    async with open_record(home, database) as record:
        versions = Versions(record, {"editor": "another text, which is the roster's"})
        assert await versions.used(EDITOR) == []
        assert await versions.used(EDITOR, ("task.plan", "Plan it.")) == ["task.plan/1"]
        async with record.look() as db:
            assert await rows.numbers(db) == {"task.plan": {rows.hash_of("Plan it."): 1}}
