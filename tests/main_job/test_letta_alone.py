"""A plain letta-client program against `atlas-mcp letta`, over a real socket, on the same home as the server."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from letta_client import APIStatusError, Letta

from tests.homes import stats

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def letta(home: Path) -> Iterator[Letta]:
    command = [sys.executable, "-m", "atlas_mcp", "letta", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stderr is not None
        address = next(m[0] for line in process.stderr if (m := re.search(r"http://127\.0\.0\.1:\d+", line)))
        key = (home / "keys" / "letta").read_text().strip()
        yield Letta(base_url=address, api_key=key, max_retries=0)
        process.terminate()


def test_a_letta_client_program_works_with_agents_blocks_messages_and_passages(letta: Letta) -> None:
    model = next(iter(letta.models.list())).handle
    assert model == "atlas/offline"
    agent = letta.agents.create(
        name="scout", model=model, memory_blocks=[{"label": "human", "value": "", "limit": 100}], tags=["a"]
    )
    assert [a.id for a in letta.agents.list(tags=["a"])] == [agent.id]

    answer = letta.agents.messages.create(agent.id, messages=[{"role": "user", "content": "Hello, who are you?"}])
    assert answer.messages[-1].message_type == "assistant_message"
    with letta.agents.messages.create(
        agent.id, messages=[{"role": "user", "content": "And again?"}], streaming=True, stream_tokens=True
    ) as stream:
        kinds = [event.message_type for event in stream]
    assert kinds[0] == "ping"
    assert kinds[-2:] == ["stop_reason", "usage_statistics"]
    said = [m for m in letta.agents.messages.list(agent.id) if m.message_type == "user_message"]
    assert len(said) == 2

    assert letta.agents.blocks.update("human", agent_id=agent.id, value="Ada").value == "Ada"
    with pytest.raises(APIStatusError, match=r"101.*100") as refused:
        letta.agents.blocks.update("human", agent_id=agent.id, value="x" * 101)
    assert refused.value.status_code == 400

    letta.agents.passages.create(agent.id, text="The boat comes on Fridays.")
    found = letta.agents.passages.search(agent.id, query="boat")
    assert [hit.content for hit in found.results] == ["The boat comes on Fridays."]

    thread = letta.conversations.create(agent_id=agent.id)
    with letta.conversations.messages.create(
        thread.id, messages=[{"role": "user", "content": "Hi", "otid": "one"}]
    ) as stream:
        assert any(event.message_type == "assistant_message" for event in stream)
    letta.agents.delete(agent.id)
    assert list(letta.agents.list()) == []


def test_tool_source_is_refused_unless_it_was_allowed(letta: Letta) -> None:
    source = 'def one() -> int:\n    """One."""\n    return 1\n'
    with pytest.raises(APIStatusError, match="takes no tool source") as refused:
        letta.tools.upsert(source_code=source)
    assert refused.value.status_code == 403


def test_nobody_else_can_read_what_the_home_holds(letta: Letta, home: Path) -> None:
    list(letta.agents.list())
    files = list(stats(home))
    assert files
    assert [path.name for path, told in files if stat.S_IMODE(told.st_mode) & 0o077] == []
