"""Tools for long work: setting teams to work, and following, listing and stopping runs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import anyio
from mcp.server.mcpserver import Context, Resolve
from mcp.types import ListRootsResult
from pydantic import Field, ValidationError

from atlas_mcp.errors import OverLimit
from atlas_mcp.model.budget import Budget
from atlas_mcp.model.plan import Mode
from atlas_mcp.model.run import Run, RunStatus
from atlas_mcp.model.task import DEFAULT_CRITERIA, MAX_GOAL, Material, TeamTask
from atlas_mcp.server.arguments import MAX_WAIT, RunId, WaitSeconds
from atlas_mcp.server.asking import Asker, Returned, returned
from atlas_mcp.server.caller import Transport, caller_of
from atlas_mcp.server.errors import invalid
from atlas_mcp.server.materials import MaterialInput, client_roots, folders_of, read_materials
from atlas_mcp.server.progress import Narrator, narrated
from atlas_mcp.server.results import RunList
from atlas_mcp.server.stopping import stopped_with_call
from atlas_mcp.server.tasks import patience, takes_tasks
from atlas_mcp.server.tool import define

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp.server.mcpserver.tools import Tool

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.caller import Caller


class RunTools:
    """`run_team_task`, `get_run`, `answer_run`, `list_runs` and `cancel_run` on one Atlas."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport
        self._declined: set[str] = set()

    def tools(self) -> list[Tool]:
        """The tools, ready to register."""
        return [
            define(self.run_team_task, title="Run a team task", open_world=True, brief=True),
            define(self.get_run, title="Follow a run", read_only=True),
            define(self.answer_run, title="Answer a run", open_world=True, idempotent=True, brief=True),
            define(self.list_runs, title="List the runs", read_only=True, brief=True),
            define(self.cancel_run, title="Cancel a run", destructive=True, idempotent=True, brief=True),
        ]

    async def run_team_task(
        self,
        ctx: Context[Any, Any],
        roots: Annotated[ListRootsResult, Resolve(client_roots)],
        goal: Annotated[str, Field(description="What is to be achieved.")],
        materials: Annotated[
            list[MaterialInput] | None,
            Field(description="Texts to work from; agents search, quote and cite them by name."),
        ] = None,
        teams: Annotated[
            list[str] | None, Field(description="Only these teams; leave out to let the supervisor choose.")
        ] = None,
        criteria: Annotated[
            list[str] | None, Field(description="What the result is rated on, 1 to 5 each; 4.0 passes.")
        ] = None,
        project: Annotated[str | None, Field(description="A name that groups related work.")] = None,
        max_rounds: Annotated[int, Field(ge=0, le=10, description="Rounds of rating at most; 0 for none.")] = 2,
        mode: Annotated[Mode | None, Field(description="A hierarchy of teams, one team alone, or a debate.")] = None,
        budget_usd: Annotated[float | None, Field(ge=0, description="Dollars it may spend at most.")] = None,
        budget_tokens: Annotated[int | None, Field(ge=0, description="Tokens it may take at most.")] = None,
        approve_plan: Annotated[bool, Field(description="Ask before the plan is carried out.")] = False,
        wait_seconds: WaitSeconds = 45,
    ) -> Run:
        """Set teams of agents to work on a goal: they plan, research the materials, write, rate and revise, with
        evidence for every claim. Long work goes on after wait_seconds: then call get_run with the run_id until it ends.
        """
        caller, wait_seconds = caller_of(self._atlas, self._transport, ctx), patience(ctx.session, wait_seconds, 0)
        asker = self._asker(ctx, caller, wait_seconds)
        if back := returned(ctx):
            return await asker.came_back(back) or await self._follow(ctx, caller, asker, back, wait_seconds)
        texts = await read_materials(materials or [], self._transport, self._atlas.settings.materials, roots)
        budget = Budget(usd=budget_usd, tokens=budget_tokens)
        folders = await folders_of(roots, self._transport)
        task = _task(goal, texts, teams, criteria, project, max_rounds, mode, budget, approve_plan, folders)
        async with stopped_with_call(self._atlas, caller, ctx) as on_run:
            begin = partial(
                self._atlas.run_team_task, caller, task, wait_seconds=wait_seconds, on_run=on_run, patient=asker.able
            )
            return await _asked_meanwhile(ctx, asker, "the task is stored", begin)

    async def get_run(
        self,
        ctx: Context[Any, Any],
        run_id: RunId,
        since: Annotated[int, Field(ge=0, description="Only events after this seq.")] = 0,
        wait_seconds: Annotated[
            float, Field(ge=0, le=MAX_WAIT, description="Seconds to wait for news or the end.")
        ] = 30,
    ) -> Run:
        """How a run stands: status, plan, progress, events after `since`, and at the end its result or reply. Waits for
        news: call it again with since set to the last seq until status is completed, failed or cancelled.
        """
        caller, end = caller_of(self._atlas, self._transport, ctx), anyio.current_time() + wait_seconds
        asker = self._asker(ctx, caller, wait_seconds)
        if (back := returned(ctx)) and (run := await asker.came_back(back)):
            return run
        look = partial(self._atlas.get_run, caller, run_id, since=since)

        async def looked(_: Narrator) -> Run:
            if asker.able and await asker.asked(await look(wait_seconds=0), wait_seconds):
                return await look(wait_seconds=0)
            run = await look(wait_seconds=max(0.0, end - anyio.current_time()))
            answered = await asker.asked(run, end - anyio.current_time())
            return await look(wait_seconds=0) if answered else run

        return await narrated(ctx, "waiting for news", looked)

    async def answer_run(
        self,
        ctx: Context[Any, Any],
        run_id: RunId,
        answer: Annotated[str, Field(description="One of the question's options, or words where words fit.")],
    ) -> Run:
        """Answer what a run asks; the first answer counts, and the run goes on."""
        return await self._atlas.answer_run(caller_of(self._atlas, self._transport, ctx), run_id, answer)

    async def list_runs(
        self,
        ctx: Context[Any, Any],
        status: Annotated[RunStatus | None, Field(description="Only runs with this status.")] = None,
        limit: Annotated[int, Field(ge=1, le=100, description="How many at most.")] = 20,
        cursor: Annotated[str | None, Field(description="next_cursor of the page before.")] = None,
    ) -> RunList:
        """List your runs as get_run gives them, newest first, without their events."""
        caller = caller_of(self._atlas, self._transport, ctx)
        runs, following = await self._atlas.list_runs(caller, status=status, limit=limit, cursor=cursor)
        return RunList(runs=runs, next_cursor=following)

    async def cancel_run(self, ctx: Context[Any, Any], run_id: RunId) -> Run:
        """Stop a run. What was done so far is kept and returned."""
        caller = caller_of(self._atlas, self._transport, ctx)
        return await self._atlas.cancel_run(caller, run_id)

    def _asker(self, ctx: Context[Any, Any], caller: Caller, wait_seconds: float) -> Asker:
        able = wait_seconds > 0 and not takes_tasks(ctx.session)  # a task asks by itself
        return Asker(ctx, self._atlas, caller, self._declined, able=able)

    async def _follow(
        self, ctx: Context[Any, Any], caller: Caller, asker: Asker, back: Returned, wait_seconds: float
    ) -> Run:
        going_on = partial(self._atlas.follow_run, caller, back.run_id, since=back.since, wait_seconds=wait_seconds)
        async with stopped_with_call(self._atlas, caller, ctx) as on_run:
            on_run(back.run_id)
            return await _asked_meanwhile(ctx, asker, "the run goes on", partial(going_on, patient=asker.able))


async def _asked_meanwhile(
    ctx: Context[Any, Any], asker: Asker, first: str, wait: Callable[..., Awaitable[Run]]
) -> Run:
    """What `wait` gives, while the client hears of the run's news and is asked what the run asks."""

    async def told(narrator: Narrator) -> Run:
        async def on_news(run: Run) -> None:
            await narrator.on_news(run)
            await asker.on_news(run)

        return await wait(on_news=on_news)

    return await asker.meanwhile(lambda: narrated(ctx, first, told))


def _task(
    goal: str,
    materials: list[Material],
    teams: list[str] | None,
    criteria: list[str] | None,
    project: str | None,
    max_rounds: int,
    mode: Mode | None,
    budget: Budget,
    approve_plan: bool,
    folders: tuple[str, ...],
) -> TeamTask:
    if len(goal) > MAX_GOAL:
        raise OverLimit("goal", len(goal), MAX_GOAL, next_step="Hand long texts in as materials.")
    try:
        return TeamTask(
            goal=goal.strip(),
            materials=tuple(materials),
            teams=tuple(teams or ()),
            criteria=tuple(criteria or DEFAULT_CRITERIA),
            project=project,
            max_rounds=max_rounds,
            mode=mode,
            budget=budget,
            approve_plan=approve_plan,
            folders=folders,
        )
    except ValidationError as error:
        raise invalid(error) from None
