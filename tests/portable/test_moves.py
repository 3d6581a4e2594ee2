"""A constellation moves from one Letta to another, and is the same there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atlas_mcp.constellation import moves
from atlas_mcp.constellation.portable_planting import plant
from atlas_mcp.errors import ConstellationMoving, IllegalChange, InvalidInput
from tests.portable.conftest import atlas_on, content, fill
from tests.portable.lettas import HERE, Second, second_letta

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.scripted_model import ScriptedModel

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Second]:
    with second_letta(tmp_path / "second") as letta:
        yield letta


def both(second: Second) -> dict[str, Any]:
    """Settings with two Lettas, of which new constellations come to the one inside."""
    return {"letta_servers": [HERE, second.server | {"weight": 0}]}


async def test_a_drained_letta_has_nothing_left_and_everything_is_on_the_other(tmp_path: Path, second: Second) -> None:
    before, after = tmp_path / "before.zip", tmp_path / "after.zip"
    async with atlas_on(tmp_path / "home") as atlas:
        await fill(atlas)
        await atlas.portable.export(atlas.local_caller(), before)
    async with atlas_on(tmp_path / "home", letta_servers=[HERE | {"weight": 0}, second.server]) as atlas:
        me = atlas.local_caller("a host")
        moved = await atlas.portable.drain("embedded")
        assert [(m.caller, m.to, m.problem) for m in moved] == [(me.id, "second", None)]
        assert await atlas.portable.drain("embedded") == []
        await atlas.portable.export(me, after)
        assert content(after) == content(before)
        rooms = await atlas._keeper.rooms()  # pyright: ignore[reportPrivateUsage]
        left = await rooms.lettas.named("embedded")
        assert await left.find_agents(["atlas"]) == []
        assert len(second.agents()) == moved[0].carried.agents
        assert all(any(t.startswith("atlas-caller:") for t in a["tags"]) for a in second.agents())
        assert not any(
            t.startswith("atlas-move:") for thing in (*second.agents(), *second.blocks()) for t in thing["tags"]
        )
        reply = await atlas.chat(me, "librarian", "Are you still there?")
        assert reply.status == "completed"
        undone = await atlas.undo_memory(me, "librarian", "human", 1)
        assert undone.revision > 1


async def test_a_constellation_moves_away_and_back_again(tmp_path: Path, second: Second) -> None:
    before, after = tmp_path / "before.zip", tmp_path / "after.zip"
    async with atlas_on(tmp_path / "home", **both(second)) as atlas:
        me = atlas.local_caller("a host")
        await fill(atlas)
        await atlas.portable.export(me, before)
        await atlas.portable.move(me, "second")
        await atlas.portable.move(me, "embedded")
        await atlas.portable.export(me, after)
    assert content(after) == content(before)
    assert second.agents() == []
    assert second.blocks() == []


async def test_what_was_left_on_another_letta_is_brought_over_and_never_lost_unasked(
    tmp_path: Path, second: Second
) -> None:
    async with atlas_on(tmp_path / "home") as atlas:
        me = atlas.local_caller("a host")
        await atlas.update_memory(me, "librarian", "human", value="Ada keeps bees.")
    async with atlas_on(tmp_path / "home", letta_servers=[second.server]) as atlas:
        await atlas.update_memory(me, "librarian", "human", value="Somebody new.")
        with pytest.raises(IllegalChange, match="--replace"):
            await atlas.portable.move(me, source="embedded")
        assert (await atlas.get_memory(me, "librarian", "human"))[0].value == "Somebody new."
        carried = await atlas.portable.move(me, source="embedded", replace=True)
        assert (await atlas.get_memory(me, "librarian", "human"))[0].value == "Ada keeps bees."
        assert carried.backup is not None
        assert "Somebody new." in str(content(carried.backup))
        assert len(second.agents()) == 1


async def test_a_turn_that_runs_is_waited_for_and_what_comes_meanwhile_is_told(
    tmp_path: Path, second: Second, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with atlas_on(tmp_path / "home", offline_delay=1.0, **both(second)) as atlas:
        me = atlas.local_caller("a host")
        moving, go_on = anyio.Event(), anyio.Event()

        async def held(*arguments: Any) -> Any:
            moving.set()
            await go_on.wait()
            return await plant(*arguments)

        monkeypatch.setattr(moves, "plant", held)
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                handle = await atlas.chat(me, "librarian", "Remember this: my name is Ada.", wait_seconds=0)
                tasks.start_soon(atlas.portable.move, me, "second")
                await moving.wait()
                for call in (
                    atlas.get_memory(me, "librarian"),
                    atlas.update_memory(me, "librarian", "human", value="Lost?"),
                    atlas.chat(me, "librarian", "Hello"),
                    atlas.portable.move(me, "second"),
                ):
                    with pytest.raises(ConstellationMoving, match="being moved"):
                        await call
                go_on.set()
        run = await atlas.get_run(me, handle.run_id or "")
        assert run.status == "completed", run.error
        assert "Ada" in (await atlas.get_memory(me, "librarian", "human"))[0].value
    assert {a["name"] for a in second.agents()} >= {"librarian"}


async def test_a_move_that_cannot_have_the_constellation_to_itself_leaves_it_where_it_is(
    tmp_path: Path, scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLAS_MODEL", "openai:scripted-1")
    monkeypatch.setenv("OPENAI_BASE_URL", scripted_model.url)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    scripted_model.hold()
    with second_letta(tmp_path / "second") as second:  # with the same model
        async with atlas_on(tmp_path / "home", **both(second)) as atlas:
            me = atlas.local_caller("a host")
            handle = await atlas.chat(me, "librarian", "Remember this: my name is Ada.", wait_seconds=0)
            await scripted_model.arrived(1)
            with pytest.raises(ConstellationMoving, match="stays where it is"):
                await atlas.portable.move(me, "second", wait_seconds=0.1)
            assert second.agents() == []
            scripted_model.release()
            with anyio.fail_after(60):
                while (await atlas.get_run(me, handle.run_id or "", wait_seconds=10)).status != "completed":
                    pass


async def test_a_drain_without_another_letta_is_refused(tmp_path: Path) -> None:
    async with atlas_on(tmp_path / "home") as atlas:
        with pytest.raises(InvalidInput, match="no other Letta"):
            await atlas.portable.drain("embedded")
