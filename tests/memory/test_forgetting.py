"""What is forgotten is returned by nothing from then on, and after a purge no file of the home holds it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from mcp.client import Client

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.errors import IllegalChange, InvalidInput, UnknownBlock, UnknownRun
from atlas_mcp.memory.forgetting import delete_items, find
from atlas_mcp.model.forgetting import Target
from atlas_mcp.model.task import Material, TeamTask
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from atlas_mcp.store.locks import Locks
from atlas_mcp.watch import erasing
from atlas_mcp.watch.sidecar import LOCK, Sidecar
from atlas_mcp.watch.spool import anything_waits
from tests.homes import contents
from tests.server.doors import call, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from atlas_mcp.model.caller import Caller

pytestmark = pytest.mark.anyio
MARKER = "quagga71x"
SECRET = f"The vault at Lund opens with the words {MARKER}, and Ada keeps the second key of it."
OTHER = "Tea is grown on the slopes of Darjeeling, and picked twice a year."


@pytest.fixture(autouse=True)
def _uncarried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traces are carried when a test says so: a carrier that comes by itself keeps a purge waiting."""
    monkeypatch.setattr(Sidecar, "attend", lambda _: None)


@pytest.fixture
async def atlas() -> AsyncIterator[Atlas]:
    async with open_atlas(load_settings()) as opened:
        yield opened


async def found(atlas: Atlas, caller: Caller, query: str = "vault Lund words key") -> list[str]:
    return [hit.id for hit in (await atlas.search_memory(caller, query, limit=50)).hits if MARKER in hit.text]


async def forget(atlas: Atlas, caller: Caller, **target: str) -> dict[str, int]:
    done = await atlas.forget(caller, Target(**target), confirm=True)
    assert done.status == "forgotten"
    return {place.place: place.count for place in done.deleted}


def files_with(home: Path, marker: str = MARKER) -> list[str]:
    there = (path for path, content in contents(home) if marker.encode() in content.lower())
    return sorted(path.relative_to(home).as_posix() for path in there)


def carry_traces(home: Path) -> None:
    """Take what waits in the spool to MLflow's database in the home; one that carries already may do it."""
    command = [sys.executable, "-m", "atlas_mcp.watch.ingest", str(home), "--once"]
    while anything_waits(home / "spool"):
        subprocess.run(command, check=True, timeout=120, stdin=subprocess.DEVNULL)


async def spread_it(atlas: Atlas, me: Caller, home: Path) -> str:
    """Let the secret go wherever it can go; the id of the document."""
    document = await atlas.share_knowledge(me, "notes", SECRET)
    await atlas.chat(me, "librarian", f"Remember that {SECRET}")
    await atlas.chat(me, "librarian", "What opens the vault at Lund?")
    await atlas.update_memory(me, "global_supervisor", "human", append=SECRET)
    rooms = await atlas._keeper.rooms()  # pyright: ignore[reportPrivateUsage]  # agents archive in turns of a real model
    agents = await rooms.constellation(me)
    (kept, *_) = await agents.forgetting.agents()
    letta = await rooms.lettas.of(me)
    await letta.moves.add_passage(kept.letta_id, _passage(f"{OTHER}\n{SECRET}"))
    await letta.moves.add_passage(kept.letta_id, _passage(SECRET))
    task = TeamTask(goal="Say what opens the vault at Lund.", materials=(Material(name="m", text=f"{OTHER} {SECRET}"),))
    run = await atlas.run_team_task(me, task)
    while run.status not in {"completed", "failed"}:
        run = await atlas.follow_run(me, run.run_id)
    assert run.status == "completed"
    tracing = atlas._keeper.tracing  # pyright: ignore[reportPrivateUsage]  # to wait for no time
    assert tracing is not None
    await anyio.to_thread.run_sync(tracing.flush)
    await anyio.to_thread.run_sync(carry_traces, home)
    await atlas.chat(me, "global_supervisor", "What do you know of the vault at Lund?")
    await anyio.to_thread.run_sync(tracing.flush)
    return document.id


def _passage(text: str) -> Any:
    from datetime import UTC, datetime

    from atlas_mcp.letta.moving import PassageState

    return PassageState(text, ("log",), datetime.now(UTC))


async def test_what_was_forgotten_is_returned_by_nothing_and_after_a_purge_is_in_no_file(home: Path) -> None:
    async with open_atlas(load_settings()) as atlas:
        me = atlas.local_caller()
        document = await spread_it(atlas, me, home)
        places = set(files_with(home))
        assert {"atlas.db", "letta.db", "mlflow.db"} <= {name.removesuffix("-wal") for name in places}
        assert any(name.startswith("spool/") for name in places)
        assert len(await found(atlas, me)) >= 4

        gone = await forget(atlas, me, id=document)
        assert gone["documents"] == 1
        assert {"memory blocks", "archives of agents", "messages of agents", "runs", "journals"} <= set(gone)

        assert await found(atlas, me) == []
        for agent in ("librarian", "global_supervisor"):
            assert all(MARKER not in str(b) for b in await atlas.get_memory(me, agent, history=True))
            answer = await atlas.chat(me, agent, "What are the words that open the vault at Lund?")
            assert MARKER not in (answer.reply or "")
        runs, _ = await atlas.list_runs(me)
        for run in runs:
            assert MARKER not in (await atlas.get_run(me, run.run_id)).model_dump_json()
        assert OTHER in str((await atlas.search_memory(me, "tea Darjeeling", kinds=["archive"])).hits)

        done = await atlas.purge_forgotten()
        assert (done.problems, done.open) == ([], 0)
        assert {place.place for place in done.deleted} >= {"traces"}
        assert files_with(home) == []
        assert (await atlas.purge_forgotten()).deleted == []
    assert files_with(home) == []


async def test_without_confirm_it_is_only_told_what_would_go(atlas: Atlas) -> None:
    me = atlas.local_caller()
    document = await atlas.share_knowledge(me, "notes", SECRET)
    await atlas.chat(me, "librarian", f"Remember that {SECRET}")
    async with Client(create_server(atlas, transport="stdio")) as client:
        told = await call(client, "forget", id=document.id)
        assert (told["status"], told["deleted"][0]) == ("would_forget", {"place": "documents", "count": 1})
        assert "confirm=true" in told["next_step"]
        assert len(await found(atlas, me)) == 2
        done = await call(client, "forget", id=document.id, confirm=True)
        assert (done["status"], done["deleted"]) == ("forgotten", told["deleted"])
        assert await found(atlas, me) == []
        assert "nothing with the id" in await refused(client, "forget", id=document.id, confirm=True)


async def test_a_hit_names_what_it_is_of(atlas: Atlas) -> None:
    me = atlas.local_caller()
    await atlas.share_knowledge(me, "notes", SECRET)
    await atlas.update_memory(me, "librarian", "human", value=f"{OTHER}\n{SECRET}")
    hits = {hit.kind: hit.id for hit in (await atlas.search_memory(me, "vault Lund")).hits}
    await forget(atlas, me, id=hits["knowledge"])
    (block,) = await atlas.get_memory(me, "librarian", "human")
    assert block.value == OTHER
    await forget(atlas, me, id=hits["block"])
    (block,) = await atlas.get_memory(me, "librarian", "human", history=True)
    assert (block.value, [one.value for one in block.history or []]) == ("", [""])


async def test_a_block_is_emptied_with_all_that_it_ever_was(atlas: Atlas) -> None:
    me = atlas.local_caller()
    await atlas.chat(me, "librarian", f"Remember that {SECRET}")
    await atlas.update_memory(me, "librarian", "human", value="Nothing worth it.")
    await forget(atlas, me, agent="librarian", label="human")
    (block,) = await atlas.get_memory(me, "librarian", "human", history=True)
    assert [one.value for one in block.history or []] == [block.value] == [""]
    answer = await atlas.chat(me, "librarian", "What opens the vault at Lund?")
    assert MARKER not in (answer.reply or "")
    assert (await atlas.get_memory(me, "librarian", "persona"))[0].value


async def test_an_archives_text_is_forgotten_by_its_id_however_short(atlas: Atlas) -> None:
    me = atlas.local_caller()
    await atlas.chat(me, "librarian", "Good morning.")
    rooms = await atlas._keeper.rooms()  # pyright: ignore[reportPrivateUsage]  # agents archive in turns of a real model
    (kept, *_) = await (await rooms.constellation(me)).forgetting.agents()
    await (await rooms.lettas.of(me)).moves.add_passage(kept.letta_id, _passage("tea"))
    (hit,) = (await atlas.search_memory(me, "tea", kinds=["archive"])).hits
    told = await atlas.forget(me, Target(id=hit.id), confirm=True)
    assert any("too short" in line for line in told.remaining)
    assert (await atlas.search_memory(me, "tea", kinds=["archive"])).hits == []


async def test_all_that_a_run_stored_goes_with_it(atlas: Atlas, home: Path) -> None:
    me = atlas.local_caller()
    task = TeamTask(goal="Say what opens the vault at Lund.", materials=(Material(name="m", text=SECRET),))
    run = await atlas.run_team_task(me, task)
    while run.status not in {"completed", "failed"}:
        run = await atlas.follow_run(me, run.run_id)
    gone = await forget(atlas, me, run_id=run.run_id)
    assert gone["runs"] == 1
    assert (await atlas.list_runs(me))[0] == []
    with pytest.raises(UnknownRun):
        await atlas.get_run(me, run.run_id)
    with pytest.raises(UnknownRun):
        await atlas.forget(me, Target(run_id=run.run_id), confirm=True)
    assert await found(atlas, me) == []
    assert (await atlas.purge_forgotten()).open == 0
    assert [name for name in files_with(home) if name.startswith("atlas.db")] == []


async def test_another_caller_keeps_the_same_text(atlas: Atlas) -> None:
    me, somebody = atlas.local_caller(), atlas.access.key_caller()
    mine = await atlas.share_knowledge(me, "notes", SECRET)
    theirs = await atlas.share_knowledge(somebody, "notes", SECRET)
    for caller in (me, somebody):
        await atlas.chat(caller, "librarian", f"Remember that {SECRET}")
    before = await found(atlas, somebody)
    with pytest.raises(InvalidInput, match="nothing with the id"):
        await atlas.forget(me, Target(id=theirs.id), confirm=True)
    await forget(atlas, me, id=mine.id)
    await atlas.purge_forgotten()
    assert await found(atlas, me) == []
    assert await found(atlas, somebody) == before != []
    assert MARKER in ((await atlas.chat(somebody, "librarian", "What opens the vault at Lund?")).reply or "")


async def test_what_the_caller_wrote_elsewhere_stays_and_is_named(atlas: Atlas) -> None:
    me = atlas.local_caller()
    first = await atlas.share_knowledge(me, "notes", SECRET)
    second = await atlas.share_knowledge(me, "letter", f"{OTHER}\n\n{SECRET}")
    told = await atlas.forget(me, Target(id=first.id))
    assert any(second.id in line for line in told.remaining)
    await forget(atlas, me, id=first.id)
    assert await found(atlas, me) == [f"{second.id}/0"]


async def test_what_the_caller_shares_again_is_found_again_and_no_agent_may(atlas: Atlas) -> None:
    me = atlas.local_caller()
    document = await atlas.share_knowledge(me, "notes", SECRET)
    await forget(atlas, me, id=document.id)
    rooms = await atlas._keeper.rooms()  # pyright: ignore[reportPrivateUsage]  # as an agent's tool does
    with pytest.raises(InvalidInput, match="had it forgotten"):
        await rooms.library(me).desk("librarian").share("notes", f"{SECRET.upper()}\n")
    again = await atlas.share_knowledge(me, "notes", SECRET)
    assert await found(atlas, me) == [f"{again.id}/0"]


async def test_an_import_brings_nothing_back(atlas: Atlas, tmp_path: Path) -> None:
    me = atlas.local_caller()
    document = await atlas.share_knowledge(me, "notes", SECRET)
    await atlas.share_knowledge(me, "tea", OTHER)
    await atlas.portable.export(me, tmp_path / "before.zip")
    await forget(atlas, me, id=document.id)
    carried = await atlas.portable.import_(me, tmp_path / "before.zip", replace=True)
    assert any("forgotten" in note for note in carried.notes)
    assert await found(atlas, me) == []
    assert len((await atlas.search_memory(me, "Darjeeling")).hits) == 1
    purged = await atlas.purge_forgotten()
    assert any(line.startswith("exports/") for line in purged.remaining)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ({}, "exactly one thing"),
        ({"id": "x", "run_id": "y"}, "exactly one thing"),
        ({"agent": "librarian"}, "exactly one thing"),
        ({"label": "human"}, "exactly one thing"),
        ({"id": ""}, "nothing with the id"),
        ({"id": "doc-%_'\0"}, "nothing with the id"),
        ({"agent": "libarian", "label": "human"}, "'librarian'?"),
    ],
)
async def test_what_cannot_be_forgotten_is_told_in_words(atlas: Atlas, target: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidInput) as error:
        await atlas.forget(atlas.local_caller(), Target(**target), confirm=True)
    assert words in str(error.value)


async def test_an_unknown_block_is_told(atlas: Atlas) -> None:
    with pytest.raises(UnknownBlock):
        await atlas.forget(atlas.local_caller(), Target(agent="librarian", label="humans"), confirm=True)


async def test_a_run_that_goes_on_is_not_forgotten(atlas: Atlas) -> None:
    me = atlas.local_caller()
    task = TeamTask(goal="Say what opens the vault at Lund.", approve_plan=True)
    run = await atlas.run_team_task(me, task)
    assert run.status == "awaiting_answer"
    with pytest.raises(IllegalChange, match="cancel_run"):
        await atlas.forget(me, Target(run_id=run.run_id), confirm=True)
    document = await atlas.share_knowledge(me, "notes", SECRET)
    await forget(atlas, me, id=document.id)
    done = await atlas.purge_forgotten()
    assert (done.open, any("1 runs go on" in line for line in done.problems)) == (1, True)
    await atlas.cancel_run(me, run.run_id)
    assert (await forget(atlas, me, run_id=run.run_id))["runs"] == 1
    assert (await atlas.purge_forgotten()).problems == []


async def test_a_purge_that_could_not_reach_the_traces_says_so_and_the_next_one_does_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "_WAIT_SECONDS", 0.5)
    async with open_atlas(load_settings()) as atlas:
        me = atlas.local_caller()
        document = await atlas.share_knowledge(me, "notes", SECRET)
        await forget(atlas, me, id=document.id)
        held = Locks(home / "locks").try_hold(LOCK)
        assert held is not None
        with held:
            done = await atlas.purge_forgotten()
        assert done.open == 1
        assert any("traces are being carried" in line for line in done.problems)
        assert any(line.startswith("spool/") and "still holds it" in line for line in done.problems)
        done = await atlas.purge_forgotten()
        assert (done.problems, done.items, done.open) == ([], 1, 0)
        assert files_with(home) == []


async def test_what_was_cut_off_in_the_middle_is_gone_on_with_at_the_next_start(home: Path) -> None:
    async with open_atlas(load_settings()) as atlas:
        me = atlas.local_caller()
        document = await atlas.share_knowledge(me, "notes", SECRET)
        await atlas.chat(me, "librarian", f"Remember that {SECRET}")
        rooms = await atlas._keeper.rooms()  # pyright: ignore[reportPrivateUsage]  # as one that dies after its commit
        async with rooms.record.write(me.id) as db:
            await delete_items(db, rooms.record, me, await find(db, me, document.id))
        assert await found(atlas, me) == []  # its tombstone knows the block's text
        assert MARKER in str(await atlas.get_memory(me, "librarian"))
    async with open_atlas(load_settings()) as atlas:
        with anyio.fail_after(60):
            while MARKER in str(await atlas.get_memory(me, "librarian", history=True)):
                await anyio.lowlevel.checkpoint()
