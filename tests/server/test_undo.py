"""Taking changes of memory back, as a client does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.server.doors import call, refused

if TYPE_CHECKING:
    from mcp.client import Client

pytestmark = pytest.mark.anyio
HUMAN = {"agent": "librarian", "label": "human"}


async def test_a_change_is_seen_in_the_history_and_taken_back(client_of_each_era: Client) -> None:
    client = client_of_each_era
    await call(client, "update_agent_memory", **HUMAN, value="Ada.")
    await call(client, "update_agent_memory", **HUMAN, append="Likes tea.")
    (block,) = (await call(client, "get_agent_memory", **HUMAN, history=True))["blocks"]
    assert [(r["revision"], r["operation"], r["author"]) for r in block["history"]] == [
        (3, "append", "caller"),
        (2, "value", "caller"),
        (1, "created", "roster"),
    ]
    assert [r["value"] for r in block["history"]] == ["Ada.\nLikes tea.", "Ada.", ""]
    undone = await call(client, "undo_memory", **HUMAN, revision=2)
    assert (undone["value"], undone["revision"]) == ("Ada.", 4)
    (block,) = (await call(client, "get_agent_memory", **HUMAN, history=True))["blocks"]
    assert (block["history"][0]["operation"], block["history"][0]["restores"]) == ("undo", 2)


async def test_what_an_agent_noted_itself_is_taken_back(client: Client) -> None:
    reply = await call(client, "chat_with_agent", agent="librarian", message="Remember that I like tea.")
    (change,) = reply["memory_changes"]
    label, before = change["label"], change["revision"] - 1
    (block,) = (await call(client, "get_agent_memory", agent="librarian", label=label, history=True))["blocks"]
    assert (block["history"][0]["author"], block["history"][0]["tool"]) == ("agent:librarian", "memory_insert")
    undone = await call(client, "undo_memory", agent="librarian", label=label, revision=before)
    assert undone["value"] == change["before"]


async def test_the_history_of_all_blocks_is_told_when_no_label_is_given(client: Client) -> None:
    blocks = (await call(client, "get_agent_memory", agent="librarian", history=True))["blocks"]
    assert all(len(block["history"]) == 1 for block in blocks)
    assert "human" in {block["label"] for block in blocks}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (HUMAN | {"revision": 7}, "revision: block 'human' has no revision 7; it has 1 to 1."),
        (HUMAN | {"revision": 0}, "revision:"),
        (HUMAN, "revision:"),
        ({"agent": "librarian", "label": "humans", "revision": 1}, "'human'?"),
        ({"agent": "libarian", "label": "human", "revision": 1}, "'librarian'?"),
        (HUMAN | {"revision": 1, "force": True}, "force"),
    ],
)
async def test_what_cannot_be_undone_is_told_in_words(client: Client, arguments: dict[str, object], words: str) -> None:
    await call(client, "get_agent_memory", agent="librarian")
    assert words in await refused(client, "undo_memory", **arguments)
