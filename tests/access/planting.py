"""A caller who leaves a mark in everything that can keep one, and remembers every id that was handed out for it.

With the mark, which is in names as well and which others may guess, goes a secret that only texts have: nobody else
ever says it, so whoever hears it has heard of another.
"""

from __future__ import annotations

import json
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
from mcp import MCPError
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.server.doors import ERAS, LEGACY, MODERN, call, until_ended
from tests.tasks.client import TakesTasks, nobody

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

AGENT, BLOCK = "librarian", "human"


@dataclass
class Mine:
    """What one caller has: clients in each era and one that takes tasks, a mark, and what it was planted in."""

    name: str
    modern: Client
    legacy: Client
    tasks: Client
    mark: str = field(default_factory=lambda: f"zq{secrets.token_hex(5)}")
    secret: str = field(default_factory=lambda: f"wx{secrets.token_hex(5)}")
    kept: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def agent(self) -> str:
        """The agent that it added."""
        return f"scribe_{self.mark}"

    @property
    def group(self) -> str:
        """The group that it added."""
        return f"circle_{self.mark}"

    @property
    def ids(self) -> set[str]:
        """Every id that it alone was told, its mark and its secret."""
        return {self.mark, self.secret, *(value for value in self.kept.values() if isinstance(value, str))}


@asynccontextmanager
async def coming_in(name: str, address: str, token: str) -> AsyncIterator[Mine]:
    """A caller with that token."""
    headers = {"Authorization": f"Bearer {token}"}
    more: Any = {"extensions": [TakesTasks()], "elicitation_callback": nobody}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=120) as http,
        Client(streamable_http_client(f"{address}/mcp", http_client=http), mode=ERAS[MODERN]) as modern,
        Client(streamable_http_client(f"{address}/mcp", http_client=http), mode=ERAS[LEGACY]) as legacy,
        Client(streamable_http_client(f"{address}/mcp", http_client=http), **more) as tasks,
    ):
        yield Mine(name, modern, legacy, tasks)


async def plant(mine: Mine) -> None:
    """Leave the mark everywhere."""
    client, mark, kept = mine.modern, mine.mark, mine.kept
    both = f"{mark} ({mine.secret})"
    who = {"description": f"Writes for {both}.", "persona": f"I am the scribe of {both}."}
    await call(client, "create_agent", name=mine.agent, **who)
    await call(client, "create_group", name=mine.group, description=f"For {both}.", agents=[AGENT, mine.agent])
    for agent in (AGENT, mine.agent):
        await call(client, "update_agent_memory", agent=agent, label=BLOCK, value=f"The person is {both}.")
    document = await call(client, "share_knowledge", name=f"{mark}.txt", text=f"Tea of {both} grows in Assam.")
    kept["document"] = document["id"]
    note = await call(client, "remember", text=f"{both} drinks tea at five.", about=f"tea of {mark}", project=mark)
    kept["memory"] = note["id"]
    fact = {
        "subject": f"Tea {mark}",
        "relation": "grown_in",
        "object": f"Assam {mark}",
        "text": f"It grows there: {both}.",
    }
    [told] = (await call(client, "relate", facts=[fact]))["facts"]
    kept["fact"] = told["fact"]["id"] if "fact" in told else told["id"]
    reply = await call(client, "chat_with_agent", agent=AGENT, message=f"I am {both}. Greet me.", conversation="new")
    assert reply["status"] == "completed", reply
    kept["conversation"] = reply["conversation"]
    kept["trace"] = reply["trace_id"]
    talk = await call(client, "chat_with_group", group=mine.group, message=f"What of {both}?")
    kept["talk"] = talk["conversation"]
    material = {"name": f"{mark}.md", "text": f"Tea of {both} is grown in Assam. It came to Europe in 1610."}
    goal = {
        "goal": f"Where is the tea of {both} grown?",
        "materials": [material],
        "max_rounds": 0,
        "project": mark,
        "teams": ["research"],
    }
    done = await until_ended(client, await call(client, "run_team_task", **goal))
    assert done["status"] == "completed", done
    kept["run"] = done["run_id"]
    asking = await call(client, "run_team_task", **goal, approve_plan=True, wait_seconds=0)
    kept["asking"] = asking["run_id"]
    with anyio.fail_after(90):
        while asking["status"] != "awaiting_answer":
            asking = await call(client, "get_run", run_id=kept["asking"], wait_seconds=20)
    mine.kept["options"] = [*asking["question"]["options"]]


async def said(asked: Awaitable[Any]) -> tuple[str, bool]:
    """All that came back, as text, and whether it was a refusal; an error of the protocol is both."""
    try:
        result = await asked
    except MCPError as error:
        return json.dumps([error.message, error.data], default=str), True
    return result.model_dump_json(by_alias=True), bool(getattr(result, "is_error", False))
