"""The MCP server over one Atlas: which tools there are, who is asking, and what the model is told about it all.

The server holds no state of its own: what a call starts belongs to Atlas, so that connections may come and go.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Literal

from mcp.server import MCPServer
from mcp.server.auth.settings import AuthSettings
from mcp.server.request_state import RequestStateSecurity
from mcp.server.subscriptions import InMemorySubscriptionBus
from pydantic import AnyHttpUrl

from atlas_mcp.server.admin_tools import AdminTools
from atlas_mcp.server.agent_tools import AgentTools
from atlas_mcp.server.asking import STATE_SECONDS
from atlas_mcp.server.caller import KeyVerifier, Transport
from atlas_mcp.server.fact_tools import FactTools
from atlas_mcp.server.feedback_tools import FeedbackTools
from atlas_mcp.server.forget_tools import ForgetTools
from atlas_mcp.server.graph_resources import GraphResources
from atlas_mcp.server.group_tools import GroupTools
from atlas_mcp.server.knowledge_tools import KnowledgeTools
from atlas_mcp.server.memory_tools import MemoryTools
from atlas_mcp.server.note_tools import NoteTools
from atlas_mcp.server.rating_tools import RatingTools
from atlas_mcp.server.resources import RunResources, watching
from atlas_mcp.server.run_tasks import RunTasks
from atlas_mcp.server.run_tools import RunTools
from atlas_mcp.server.status_tools import StatusTools
from atlas_mcp.server.tasks import Tasks

if TYPE_CHECKING:
    from mcp.server.mcpserver.tools import Tool

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.server.conformance import Fixtures
    from atlas_mcp.server.tasks import Work

Toolset = Literal["core", "memory", "admin", "all"]
"""Which tools are offered: those of `core` always, with `memory` also those that tell, list and correct what is
remembered, with `admin` those that add and delete agents and groups."""

INSTRUCTIONS = """\
ATLAS gives you a constellation of persistent agents: a global supervisor, a librarian, and teams for research, \
analysis, writing and rating. They remember across conversations.
- One question for one agent: list_agents, then chat_with_agent.
- Several views on one thing: chat_with_group, with a group that list_agents gives.
- Work that needs several of them: run_team_task with the goal and the texts to work from. It returns the result or a \
run_id; follow it with get_run until its status is completed, failed or cancelled. The work goes on meanwhile.
- What an agent knows: get_agent_memory; correct it with update_agent_memory. What all of them remember of something: \
search_memory. A text that all agents should know: share_knowledge.
- A judgement of a text: rate_text. What the person thinks of a run or reply: give_feedback.
- Something does not work: get_status says what and what to do."""


def core_tools(atlas: Atlas, transport: Transport) -> list[Tool]:
    """The tools that every client gets."""
    talk, kept = (AgentTools, GroupTools, RunTools), (MemoryTools, ForgetTools, KnowledgeTools)
    nouns = (*talk, *kept, RatingTools, FeedbackTools, StatusTools)
    return [tool for noun in nouns for tool in noun(atlas, transport).tools()]


def tools_of(atlas: Atlas, transport: Transport, toolset: Toolset) -> list[Tool]:
    """The tools of a toolset: the core ones, and those that only some clients are to have."""
    further = {"memory": (NoteTools, FactTools), "admin": (AdminTools,)}
    nouns = [noun for name, some in further.items() if toolset in {name, "all"} for noun in some]
    return core_tools(atlas, transport) + [tool for noun in nouns for tool in noun(atlas, transport).tools()]


class Server(MCPServer[Any]):
    """The SDK's server, with what must be told when it stops."""

    resources: RunResources


def create_server(
    atlas: Atlas, *, transport: Transport, toolset: Toolset = "core", conformance: bool = False
) -> Server:
    """The server, ready to run on stdio or to be mounted by `create_app`.

    With "http" every request needs the home's bearer key, which this creates when there is none yet. `conformance` adds
    what the protocol's official test suite calls, and nobody else should.
    """
    # The SDK would install a handler of its own that writes whole tracebacks in boxes.
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(logging.StreamHandler(sys.stderr))
    guarded = transport == "http"
    news = InMemorySubscriptionBus()
    works: list[Work] = [RunTasks(atlas, transport)]
    tools = tools_of(atlas, transport, toolset)
    fixtures = _fixtures() if conformance else None
    if fixtures:
        works.append(fixtures.jobs)
        tools += fixtures.tools()
    server = Server(
        "atlas",
        title="ATLAS",
        description="A constellation of persistent agents: talk to one, set teams to work, read what they remember.",
        instructions=INSTRUCTIONS,
        version=atlas.version,
        tools=tools,
        extensions=[Tasks(works)],
        request_state_security=RequestStateSecurity.ephemeral(ttl=STATE_SECONDS),
        lifespan=watching,
        subscriptions=news,
        log_level="WARNING",
        token_verifier=KeyVerifier(atlas.http_key()) if guarded else None,
        # The SDK asks for an issuer; nothing is issued here and no address of one is published.
        auth=AuthSettings(issuer_url=AnyHttpUrl("http://localhost"), resource_server_url=None) if guarded else None,
    )
    server.resources = RunResources(atlas, transport)
    # The first place is the SDK's own tracing, which ours replaces.
    caller = atlas.key_caller() if guarded else atlas.local_caller()
    server.middleware[0] = atlas.tracing_of(caller)
    server.resources.offer(server, news)
    GraphResources(atlas, transport).offer(server)
    if fixtures:
        fixtures.offer(server)
    return server


def _fixtures() -> Fixtures:
    from atlas_mcp.server.conformance import Fixtures

    return Fixtures()
