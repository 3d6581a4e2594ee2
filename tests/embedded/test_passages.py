from __future__ import annotations

from typing import Any

import pytest
from letta_client import NotFoundError, UnprocessableEntityError

pytestmark = pytest.mark.anyio


async def texts(letta: Any, agent_id: str, query: str, **options: Any) -> list[str]:
    return [hit.content for hit in (await letta.agents.passages.search(agent_id, query=query, **options)).results]


async def test_passages_are_created_listed_in_pages_and_deleted(letta: Any, agent: Any) -> None:
    made = [(await letta.agents.passages.create(agent.id, text=f"p{i}", tags=["t"]))[0] for i in range(5)]
    assert [p.text for p in await letta.agents.passages.list(agent.id)] == ["p0", "p1", "p2", "p3", "p4"]
    page = await letta.agents.passages.list(agent.id, limit=2, after=made[1].id)
    assert [p.text for p in page] == ["p2", "p3"]
    assert [p.text for p in await letta.agents.passages.list(agent.id, ascending=False, limit=1)] == ["p4"]
    await letta.agents.passages.delete(made[0].id, agent_id=agent.id)
    assert await texts(letta, agent.id, "p0") == []
    with pytest.raises(NotFoundError):
        await letta.agents.passages.delete(made[0].id, agent_id=agent.id)


async def test_the_best_match_comes_first_and_words_match_from_their_beginning(letta: Any, agent: Any) -> None:
    for text in ("Sailing boats need wind.", "A boat is a boat is a boat.", "Trains run on rails."):
        await letta.agents.passages.create(agent.id, text=text)
    assert await texts(letta, agent.id, "boat") == ["A boat is a boat is a boat.", "Sailing boats need wind."]
    assert await texts(letta, agent.id, "SAIL") == ["Sailing boats need wind."]
    assert len(await texts(letta, agent.id, "boat rails", top_k=2)) == 2


@pytest.mark.parametrize(
    "query", ['"', "'", "a AND", "NEAR(", "*", "-", "col:x", "(", "%_\\", "\x00", "🦊", "NOT", "^x"]
)
async def test_a_query_of_any_characters_is_safe(letta: Any, agent: Any, query: str) -> None:
    await letta.agents.passages.create(agent.id, text="plain text")
    assert await texts(letta, agent.id, query) in ([], ["plain text"])


async def test_text_without_spaces_and_accents_are_found(letta: Any, agent: Any) -> None:
    for text in ("東京は日本の首都です", "Café crème"):
        await letta.agents.passages.create(agent.id, text=text)
    assert await texts(letta, agent.id, "首都") == ["東京は日本の首都です"]
    assert await texts(letta, agent.id, "cafe") == ["Café crème"]


async def test_tags_and_times_narrow_a_search(letta: Any, agent: Any) -> None:
    await letta.agents.passages.create(agent.id, text="old fact", tags=["a"], created_at="2020-01-01T00:00:00Z")
    await letta.agents.passages.create(agent.id, text="new fact", tags=["a", "b"])
    assert await texts(letta, agent.id, "fact", tags=["b"]) == ["new fact"]
    assert sorted(await texts(letta, agent.id, "fact", tags=["a", "b"])) == ["new fact", "old fact"]
    assert await texts(letta, agent.id, "fact", tags=["a", "b"], tag_match_mode="all") == ["new fact"]
    assert await texts(letta, agent.id, "fact", end_datetime="2021-01-01T01:00:00+01:00") == ["old fact"]
    with pytest.raises(UnprocessableEntityError, match="ISO 8601"):
        await letta.agents.passages.search(agent.id, query="x", extra_query={"start_datetime": "soon"})


async def test_archives_of_two_agents_are_apart(letta: Any, agent: Any) -> None:
    other = await letta.agents.create(name="other")
    await letta.agents.passages.create(agent.id, text="mine")
    assert await texts(letta, other.id, "mine") == []
    with pytest.raises(NotFoundError, match="agent-nope"):
        await letta.agents.passages.create("agent-nope", text="x")
