"""What people say of work: recorded once, of one's own work only, found on its trace, forgotten with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from mcp.client import Client

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.errors import InvalidInput, OverLimit, UnknownRun
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.feedback import Subject
from atlas_mcp.model.forgetting import Target
from atlas_mcp.model.task import TeamTask
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from atlas_mcp.watch.calls import hashed_caller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("_uncarried")]
STRANGER = Caller(id="local:stranger")


@pytest.fixture
async def atlas() -> AsyncIterator[Atlas]:
    async with open_atlas(load_settings()) as opened:
        yield opened


@pytest.fixture
async def client(atlas: Atlas) -> AsyncIterator[Client]:
    async with Client(create_server(atlas, transport="stdio")) as connected:
        yield connected


def notes_in(home: Path) -> list[dict[str, Any]]:
    """The notes of feedback that wait in the spool, oldest first."""
    files = sorted((home / "spool").rglob("*.spans"), key=lambda path: path.name)
    rows = [json.loads(line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    return [row["note"] for row in rows if row.get("kind") == "feedback"]


def flush(atlas: Atlas) -> None:
    """See to it that what was told is on disk."""
    tracing = atlas._keeper.tracing  # pyright: ignore[reportPrivateUsage]
    assert tracing is not None
    assert tracing.flush(60)


def given_in(home: Path) -> list[dict[str, Any]]:
    return [note for note in notes_in(home) if note["name"] == "user_feedback"]


async def called(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content


async def test_a_reply_is_found_by_its_trace_and_what_was_recorded_is_given_back(
    atlas: Atlas, client: Client, home: Path
) -> None:
    reply = await called(client, "chat_with_agent", agent="librarian", message="hello")
    given = await called(client, "give_feedback", trace_id=reply["trace_id"], good=True, comment=" just right ")
    assert (given["good"], given["comment"], given["replaced"]) == (True, "just right", False)
    assert given["trace_id"] == reply["trace_id"]
    assert given["turn_id"]
    flush(atlas)
    (note,) = given_in(home)
    assert (note["trace_id"], note["value"], note["rationale"]) == (reply["trace_id"], True, "just right")
    assert (note["source"], note["source_id"]) == ("human", hashed_caller(atlas.local_caller().id))


async def test_another_one_for_the_same_thing_replaces_the_first(atlas: Atlas, client: Client, home: Path) -> None:
    reply = await called(client, "chat_with_agent", agent="librarian", message="hello")
    first = await called(client, "give_feedback", trace_id=reply["trace_id"], good=True, comment="good")
    second = await called(client, "give_feedback", turn_id=first["turn_id"], good=False, comment="on reflection, not")
    assert second["replaced"]
    (kept,) = await atlas.feedback.listed(atlas.local_caller())
    assert (kept.good, kept.comment) == (False, "on reflection, not")
    flush(atlas)
    assert len({note["key"].split("@")[0] for note in given_in(home)}) == 1


async def test_a_run_is_named_by_its_id_or_its_trace(atlas: Atlas) -> None:
    me = atlas.local_caller()
    run = await atlas.run_team_task(me, TeamTask(goal="Name a colour.", max_rounds=0))
    by_id = await atlas.feedback.give(me, Subject(run_id=run.run_id), good=True)
    by_trace = await atlas.feedback.give(me, Subject(trace_id=run.trace_id), good=False, comment="grey is none")
    assert (by_id.run_id, by_id.turn_id, by_trace.run_id) == (run.run_id, None, run.run_id)
    assert by_trace.replaced
    turn = next(event.turn_id for event in run.events if event.turn_id)
    of_turn = await atlas.feedback.give(me, Subject(turn_id=turn), good=True)
    assert (of_turn.turn_id, of_turn.replaced) == (turn, False)
    assert {one.comment for one in await atlas.feedback.listed(me, [run.run_id])} == {"grey is none", ""}


async def test_what_is_another_callers_does_not_exist(atlas: Atlas) -> None:
    reply = await atlas.chat(atlas.local_caller(), "librarian", "hello")
    mine = await atlas.feedback.give(atlas.local_caller(), Subject(trace_id=reply.trace_id), good=True)
    for subject in (Subject(trace_id=reply.trace_id), Subject(turn_id=mine.turn_id), Subject(run_id=mine.run_id)):
        with pytest.raises(UnknownRun) as refused:
            await atlas.feedback.give(STRANGER, subject, good=False, comment="not mine")
        assert refused.value.argument == subject.named[0]
    assert await atlas.feedback.listed(STRANGER) == []
    assert [one.good for one in await atlas.feedback.listed(atlas.local_caller())] == [True]


@pytest.mark.parametrize("subject", [Subject(), Subject(run_id="run_a", trace_id="tr-b")])
async def test_exactly_one_thing_is_to_be_named(atlas: Atlas, subject: Subject) -> None:
    with pytest.raises(InvalidInput, match="exactly one"):
        await atlas.feedback.give(atlas.local_caller(), subject, good=True)


async def test_a_comment_that_is_too_long_is_refused_whole(atlas: Atlas) -> None:
    reply = await atlas.chat(atlas.local_caller(), "librarian", "hello")
    with pytest.raises(OverLimit):
        await atlas.feedback.give(
            atlas.local_caller(), Subject(trace_id=reply.trace_id), good=True, comment="x" * 10_001
        )
    assert await atlas.feedback.listed(atlas.local_caller()) == []


async def test_a_forgotten_run_takes_its_comments_along_also_those_on_their_way(atlas: Atlas, home: Path) -> None:
    me, words = atlas.local_caller(), "Aunt Wilhelmina's violet harmonium is none of it"
    run = await atlas.run_team_task(me, TeamTask(goal="Name a colour.", max_rounds=0))
    await atlas.feedback.give(me, Subject(run_id=run.run_id), good=False, comment=words)
    await atlas.forget(me, Target(run_id=run.run_id), confirm=True)
    assert await atlas.feedback.listed(me) == []
    flush(atlas)
    assert [note["rationale"] for note in given_in(home)] == [words]
    await atlas.purge_forgotten()
    assert all("harmonium" not in path.read_text(encoding="utf-8") for path in (home / "spool").rglob("*.spans"))
    assert len(given_in(home)) == 1


async def test_a_comment_that_holds_what_is_forgotten_loses_it(atlas: Atlas) -> None:
    me, secret = atlas.local_caller(), "the violet harmonium stands in Aunt Wilhelmina's attic"
    kept = await atlas.memories.remember(me, secret)
    reply = await atlas.chat(me, "librarian", "hello")
    await atlas.feedback.give(me, Subject(trace_id=reply.trace_id), good=True, comment=f"You knew that {secret}.")
    done = await atlas.forget(me, Target(id=kept.id), confirm=True)
    assert "comments on work" in {place.place for place in done.deleted}
    (left,) = await atlas.feedback.listed(me)
    assert "harmonium" not in left.comment
