"""What a caller adds to the roster: agents and groups of their own, kept in the record.

Promise: every name is one thing. An addition whose name the roster has, or which refers to an agent that is gone, is
refused; one that a later roster comes to contradict is left out of the constellation, and kept. What is not added is
never deleted: the roster's own agents and groups are changed in its file.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import ValidationError
from sqlalchemy import bindparam, delete, insert, select

from atlas_mcp.constellation.roster_groups import problem_of
from atlas_mcp.constellation.tool_pools import pool_matrix
from atlas_mcp.errors import IllegalChange, InvalidInput, OverLimit, UnknownAgent
from atlas_mcp.model.agent import AgentSpec
from atlas_mcp.model.group import GroupSpec
from atlas_mcp.store.tables import addition as table

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.agent import Level, Roster
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.record import Record

Kind = Literal["agent", "group"]
Row: TypeAlias = "tuple[str, str, dict[str, Any]]"
_ROWS = (  # built once: every call runs it
    select(table.c.kind, table.c.name, table.c.spec)
    .where(table.c.caller == bindparam("mine"))
    .order_by(table.c.kind, table.c.created_at)
)
MOST = 100
"""Agents and groups that a caller may add: every list of agents is read by models, and gets no better by more."""
log = logging.getLogger(__name__)


class Additions:
    """What one caller added to the roster of the home."""

    def __init__(self, caller: Caller, roster: Roster, record: Record) -> None:
        self._caller = caller
        self._base = roster
        self._record = record
        self._read: tuple[list[Row], Roster] = ([], roster)

    async def roster(self) -> Roster:
        """The roster with the additions; the same object for as long as nothing is added or taken away."""
        async with self._record.look() as db:
            return self.roster_with(await self.rows(db))

    def roster_with(self, rows: list[Row]) -> Roster:
        """The roster with these additions, which have just been read."""
        if rows != self._read[0]:
            self._read = (rows, extended(self._base, rows))
        return self._read[1]

    async def create_agent(
        self, name: str, description: str, persona: str, level: Level = "interactive", pools: tuple[str, ...] = ()
    ) -> AgentSpec:
        """Add an agent that belongs to no team. InvalidInput for a name that is taken or unfit, OverLimit."""
        given = {"name": name, "description": description, "persona": persona, "level": level, "pools": pools}
        spec = _made(AgentSpec, {**given, "role": "worker"})
        for argument, text in (("description", description), ("persona", persona)):
            if not text.strip():
                raise InvalidInput("it is empty.", argument=argument, next_step="Say who the agent is.")
        limit = next(b.limit for b in self._base.blocks if b.label == "persona")
        if len(persona) > limit:
            raise OverLimit("persona", len(persona), limit)
        known = list(pool_matrix().pools)
        for pool in pools:
            if pool not in known:
                raise InvalidInput(f"there is no tool pool {pool!r}; there are {', '.join(known)}.", argument="pools")
        await self._add("agent", spec)
        return spec

    async def create_group(self, group: dict[str, Any]) -> GroupSpec:
        """Add a group. UnknownAgent for a member or manager that is none, InvalidInput for what else does not fit."""
        spec = _made(GroupSpec, group)
        await self._add("group", spec)
        return spec

    async def check(self, kind: Kind, name: str) -> None:
        """UnknownAgent, UnknownGroup, or IllegalChange for the roster's own and what is in use: it must stay."""
        async with self._record.read() as db:
            self._check(kind, name, await self.rows(db))

    async def delete(self, kind: Kind, name: str) -> None:
        """Take an addition away; raises as `check` does."""
        async with self._record.write() as db:
            self._check(kind, name, await self.rows(db))
            mine = (table.c.caller == self._caller.id, table.c.kind == kind, table.c.name == name)
            await db.execute(delete(table).where(*mine))

    def _check(self, kind: Kind, name: str, rows: list[Row]) -> None:
        roster = extended(self._base, rows)
        _ = roster.agent(name) if kind == "agent" else roster.group(name)
        if (kind, name) not in [row[:2] for row in rows]:
            step = "Change the roster's file to be without it."
            raise IllegalChange(f"the {kind} {name!r} belongs to the roster.", argument=kind, next_step=step)
        if kind == "agent" and (groups := roster.groups_of(name)):
            listed = ", ".join(g.name for g in groups)
            step = "Delete those groups first (delete_group), or create them anew without it."
            raise IllegalChange(f"{name!r} belongs to: {listed}.", argument="agent", next_step=step)

    async def _add(self, kind: Kind, spec: AgentSpec | GroupSpec) -> None:
        async with self._record.write() as db:
            rows = await self.rows(db)
            roster = extended(self._base, rows)
            known = [a.name for a in roster.agents] if kind == "agent" else [g.name for g in roster.groups]
            if spec.name in known:
                step = f"Choose another name, or take the other one away first with delete_{kind}."
                raise InvalidInput(f"{kind} {spec.name!r} is there already.", argument="name", next_step=step)
            if len(rows) >= MOST:
                raise InvalidInput(f"{MOST} were added already.", argument="name", next_step="Delete some first.")
            if isinstance(spec, GroupSpec):
                _check_group(spec, roster)
            await db.execute(
                insert(table).values(
                    caller=self._caller.id,
                    kind=kind,
                    name=spec.name,
                    spec=spec.model_dump(mode="json"),
                    created_at=datetime.now(UTC),
                )
            )

    async def rows(self, db: AsyncConnection) -> list[Row]:
        """What the record has of them, agents first, each kind in the order in which it was added."""
        return [(r.kind, r.name, r.spec) for r in await db.execute(_ROWS, {"mine": self._caller.id})]


def extended(roster: Roster, rows: list[Row]) -> Roster:
    """The roster with these rows' agents and groups; what contradicts it is left out, and said in the log."""
    agents, groups = list(roster.agents), list(roster.groups)
    for kind, name, given in rows:  # agents come before groups
        if kind == "agent" and name not in {a.name for a in agents}:
            agents.append(AgentSpec.model_validate(given))
        elif kind == "group" and name not in {g.name for g in groups}:
            group = GroupSpec.model_validate(given)
            if problem := problem_of(group, [a.name for a in agents], [b.label for b in roster.blocks]):
                log.warning("the group %s is left out: %s", name, problem[1])
            else:
                groups.append(group)
        else:
            log.warning("the added %s %s is left out: the roster has one of that name now", kind, name)
    return roster.model_copy(update={"agents": tuple(agents), "groups": tuple(groups)})


def _check_group(group: GroupSpec, roster: Roster) -> None:
    names = [a.name for a in roster.agents]
    for name in group.everyone:
        if name not in names:
            raise UnknownAgent(name, names, argument="agents" if name in group.agents else "manager.agent")
    if found := problem_of(group, names, [b.label for b in roster.blocks]):
        raise InvalidInput(found[1], argument=found[0], next_step="Call again.")


def _made(kind: Any, given: dict[str, Any]) -> Any:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        if place == "name":
            text, step = f"{given['name']!r} does not fit.", "Use small letters, digits and _, as in night_editor."
        else:
            text, step = f"{first['msg']}.", "Call again."
        raise InvalidInput(text, argument=place, next_step=step) from None
