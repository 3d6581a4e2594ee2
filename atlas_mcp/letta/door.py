"""The one door to the agents: Letta's V1 REST API by letta-client, wherever that Letta is.

Promise: nothing of letta-client shows outside this room: values are those of `states`, errors those of ATLAS. What
creates or sends is posted once and never retried by itself, so nothing is ever doubled; every call has a deadline.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

from atlas_mcp.errors import LettaLost, UnknownModel
from atlas_mcp.letta.faults import NOT_THERE, LettaRefused, exchange
from atlas_mcp.letta.finding import Patience, Search
from atlas_mcp.letta.groups import LettaGroups
from atlas_mcp.letta.knowledge import LettaKnowledge
from atlas_mcp.letta.moving import LettaMoves
from atlas_mcp.letta.sending import Turn
from atlas_mcp.letta.states import Abilities, AgentState, Answer, BlockState, ToolState
from atlas_mcp.letta.thread import Thread
from atlas_mcp.letta.tools import LettaTools, is_ours

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from letta_client import AsyncLetta

    from atlas_mcp.letta.sending import OnCall, OnRun, RunTool
    from atlas_mcp.letta.states import AgentChange, NewAgent, NewBlock, ToolCall
    from atlas_mcp.model.turn import ToolSpec

Kind = Literal["embedded", "server", "cloud"]

PATIENCE = Patience()
EVENT_SECONDS = PATIENCE.event
_NO_LIMIT = 100_000
"""What Letta itself takes for a block without a limit."""
_WHOLE: list[Any] = ["agent.blocks", "agent.tools", "agent.tags"]
"""What a server leaves out of an agent unless it is asked for."""


class Letta:
    """One Letta; `tools` are those whose source it has from us.

    `name` is what the configuration calls it: the record keeps it with the ids that this Letta gave. `abilities` is
    what it was found to be able to do; of one that was not asked only conversations are taken for sure.
    `embedding` is the handle for archives on servers that have no default of their own.
    """

    def __init__(
        self,
        client: AsyncLetta,
        *,
        kind: Kind,
        name: str = "embedded",
        embedding: str | None = None,
        abilities: Abilities | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        self.kind: Kind = kind
        self.name = name
        self.abilities = abilities or Abilities("", enforces_limits=kind == "embedded" or None)
        self._client = client.with_options(max_retries=0)
        self.tools = LettaTools(self._client)
        self.moves = LettaMoves(self._client)
        self.groups = LettaGroups(self._client)
        self.knowledge = LettaKnowledge(self._client, embedding)
        self._embedding = embedding
        self._patience = patience
        self._recompiles = kind != "embedded" and self.abilities.conversations

    async def health(self) -> str:
        """Letta's version; LettaUnavailable if it does not answer."""
        with exchange():
            return (await self._client.health()).version

    async def model_handles(self) -> tuple[str, ...]:
        """The handles of the models that this Letta has now."""
        with exchange():
            return tuple(dict.fromkeys(m.handle for m in await self._client.models.list() if m.handle))

    # -- agents

    async def create_agent(self, spec: NewAgent) -> AgentState:
        """Create the agent with its own blocks and with the shared ones attached. LettaLost if one of those is gone,
        UnknownModel with the handles that there are for a model that Letta does not have.
        """
        more: dict[str, Any] = {"embedding": self._embedding} if self._embedding else {}
        async with self._naming_models():
            state = await self._client.agents.create(
                name=spec.name,
                description=spec.description,
                model=spec.model,
                system=spec.system,
                memory_blocks=[_new_block(b) for b in spec.blocks],
                block_ids=list(spec.shared),
                tags=list(spec.tags),
                tools=list(spec.tools),
                include_base_tools=False,
                **more,
            )
        made = _agent(state)
        if gone := set(spec.shared) - {b.id for b in made.blocks}:  # 0.16.8 says nothing of them
            await self.delete_agent(made.id)
            raise LettaLost(f"Letta has no such block: {', '.join(sorted(gone))}")
        return made

    async def find_agents(self, tags: Sequence[str]) -> list[AgentState]:
        """The agents that carry all of these tags, oldest first."""
        with exchange():
            page = self._client.agents.list(tags=list(tags), match_all_tags=True, order="asc", include=_WHOLE)
            return [_agent(agent) async for agent in page]

    async def agent(self, agent_id: str) -> AgentState:
        """The agent; LettaLost if there is none."""
        with exchange():
            return _agent(await self._client.agents.retrieve(agent_id, include=_WHOLE))

    async def update_agent(self, agent_id: str, change: AgentChange) -> AgentState:
        """Change what is given of the agent; UnknownModel as in `create_agent`."""
        changed = {"description": change.description, "model": change.model, "system": change.system}
        given: dict[str, Any] = {name: value for name, value in changed.items() if value is not None}
        async with self._naming_models():
            return _agent(await self._client.agents.update(agent_id, **given))

    async def delete_agent(self, agent_id: str) -> None:
        """Delete the agent, if it is there. Blocks it shared stay."""
        try:
            with exchange():
                await self._client.agents.delete(agent_id)
        except LettaLost:
            return

    # -- blocks

    async def create_block(self, block: NewBlock, *, tags: Sequence[str] = ()) -> BlockState:
        """Create a block that belongs to no agent yet."""
        with exchange():
            return _block(await self._client.blocks.create(**_new_block(block), tags=list(tags)))

    async def block(self, block_id: str) -> BlockState:
        """The block; LettaLost if there is none."""
        with exchange():
            return _block(await self._client.blocks.retrieve(block_id))

    async def blocks(self, agent_id: str) -> list[BlockState]:
        """The agent's blocks, its own and the shared ones."""
        with exchange():
            page = await self._client.agents.blocks.list(agent_id, limit=100)
            return [_block(b) for b in page.items]

    async def set_block(self, block_id: str, value: str, *, version: int | None = None) -> BlockState:
        """Give the block a new value, if it is still at that version; where Letta counts none, it is not asked.

        LettaRefused with status 409 when somebody else changed it. OverLimit where Letta enforces the limit; callers
        check it before.
        """
        expected = {"If-Match": str(version)} if version is not None else None
        with exchange():
            return _block(await self._client.blocks.update(block_id, value=value, extra_headers=expected))

    async def reshape_block(
        self, block_id: str, *, limit: int, description: str, read_only: bool = False
    ) -> BlockState:
        """Give the block another limit and description, and say whether agents may change it."""
        with exchange():
            return _block(
                await self._client.blocks.update(block_id, limit=limit, description=description, read_only=read_only)
            )

    async def attach_block(self, agent_id: str, block_id: str) -> None:
        """Make the block one of the agent's; attaching twice is harmless."""
        with exchange():
            await self._client.agents.blocks.attach(block_id, agent_id=agent_id)

    async def detach_block(self, agent_id: str, block_id: str) -> None:
        """Take the block from the agent; the block stays. LettaLost where the agent does not have it."""
        with exchange():
            await self._client.agents.blocks.detach(block_id, agent_id=agent_id)

    # -- turns

    async def open_conversation(self, agent_id: str) -> str:
        """Open a thread with the agent; its id. On a server without conversations it is the agent's only one."""
        if not self.abilities.conversations:
            return agent_id
        with exchange():
            return (await self._client.conversations.create(agent_id=agent_id)).id

    async def recompile(self, conversation: str) -> None:
        """Let the thread see the agent's present blocks and system text.

        The embedded Letta reads them at each turn. Letta's own servers compile a thread's prompt when it is opened
        (seen with 0.16.8), and again only when told to, or when they summarise. One that cannot be told, as an embedded
        Letta that is served by itself, is asked once.
        """
        if not self._recompiles:
            return
        try:
            with exchange():
                await self._client.post(f"/v1/conversations/{conversation}/recompile", cast_to=object)
        except LettaRefused as refusal:
            if refusal.status != NOT_THERE:
                raise
            self._recompiles = False

    async def send(
        self,
        conversation: str,
        message: str,
        *,
        otid: str,
        posted: bool = False,
        tools: Sequence[ToolSpec] = (),
        run_tool: RunTool,
        on_run: OnRun,
        on_call: OnCall | None = None,
    ) -> Answer:
        """Post a message once and see the turn through, executing the tools it asks for; see `sending`.

        `otid` marks the message so that it is known again. `posted`: it may have been posted before, by this process or
        another; it is looked for first. `on_run` is told the id of each of
        Letta's runs, `on_call` each tool call as it is seen. Raises ModelFailed when the agent's model fails, LettaLost
        without such a conversation, NotBegun when nothing was begun, LettaUnavailable when the outcome is not known.
        Nothing else may send to the conversation meanwhile: on Letta's own servers parallel turns of one thread lose
        context.
        """
        thread = Thread(self._client, conversation)
        turn = Turn(
            thread,
            self._search(thread),
            self._patience,
            otid,
            tools=tools,
            run_tool=run_tool,
            on_run=on_run,
            on_call=on_call or _ignore,
            shown=self.kind != "embedded",
        )
        return await (turn.take_up(message) if posted else turn.begin(message))

    async def settle(self, conversation: str, otid: str) -> None:
        """Wait until nothing of an earlier turn runs any more, whose message may still be on its way.

        A server finishes a turn also when its client was cut off, and a cancelled one's step. LettaUnavailable when
        the server stays away.
        """
        search = self._search(Thread(self._client, conversation))
        await search.outcome(otid, lambda turn: turn is not None)

    def _search(self, thread: Thread) -> Search:
        return Search(self._client, thread, self._patience, goes_on=self.kind != "embedded")

    @asynccontextmanager
    async def _naming_models(self) -> AsyncGenerator[None]:
        """An exchange in which an unknown model is told with those that there are: Letta's own list is often empty."""
        try:
            with exchange():
                yield
        except UnknownModel as unknown:
            with exchange():
                if unknown.argument == "LETTA_EMBEDDING_MODEL":
                    known = [m.handle for m in await self._client.models.embeddings.list()]
                else:
                    known = [m.handle for m in await self._client.models.list()]
            raise UnknownModel(
                f"{unknown.message} This Letta has: {', '.join(filter(None, known)) or 'no model at all'}.",
                argument="LETTA_MODEL"
                if unknown.argument == "ATLAS_MODEL" and self.kind != "embedded"
                else unknown.argument,
                next_step=unknown.next_step,
            ) from unknown


async def _ignore(_: ToolCall) -> None:
    return


def _agent(state: Any) -> AgentState:
    return AgentState(
        id=state.id,
        name=state.name,
        model=state.model or getattr(state.llm_config, "handle", None) or "",
        system=state.system or "",
        description=state.description or "",
        tags=tuple(state.tags or ()),
        blocks=tuple(_block(b) for b in cast("list[Any]", state.blocks or [])),
        tools=tuple(ToolState(t.id, t.name, is_ours(t)) for t in cast("list[Any]", state.tools or [])),
    )


def _new_block(block: NewBlock) -> Any:
    return {
        "label": block.label,
        "value": block.value,
        "limit": block.limit,
        "description": block.description,
        "read_only": block.read_only,
    }


def _block(block: Any) -> BlockState:
    return BlockState(
        id=block.id,
        label=block.label or "",
        value=block.value or "",
        limit=block.limit or _NO_LIMIT,
        description=block.description or "",
        read_only=bool(block.read_only),
        tags=tuple(block.tags or ()),
        version=getattr(block, "version", None),
    )
