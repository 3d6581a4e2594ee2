"""The run as one agent's tools see it in one turn: its materials, its saved outputs, its evidence and its answer.

What a turn cited, submitted and escalated is kept as an artifact too, so that it is still known when the process dies
after the turn and before the checkpoint. A citation is refused at once when its source is neither a material nor a
text that an agent of this run was given from outside, or when its quote is not in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from atlas_mcp.errors import OverLimit, ToolFailed
from atlas_mcp.model.result import Evidence
from atlas_mcp.teamwork.checks import verify_all
from atlas_mcp.teamwork.heard import pass_on
from atlas_mcp.teamwork.proving import texts_for

if TYPE_CHECKING:
    from atlas_mcp.model.task import Material, TeamTask
    from atlas_mcp.reach.sources import Source
    from atlas_mcp.teamwork.contract import Given, Journal

MAX_FILE = 200_000
MAX_NAME = 100
NAMES = "file-names"


class TurnFiles:
    """RunFiles for one agent in one turn; `key` is the turn's, `given` what agents were given from outside."""

    def __init__(self, run: Journal, task: TeamTask, agent: str, key: str, given: Given) -> None:
        self._given = given
        self._run = run
        self._task = task
        self._agent = agent
        self._key = key
        self.cited: list[Evidence] = []
        self.submitted: dict[str, Any] | None = None
        self.escalated: list[str] = []
        self.asked: list[dict[str, Any]] = []

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._run.run_id

    @property
    def folders(self) -> Sequence[str]:
        """The folders that the client allowed when the run began."""
        return self._task.folders

    def materials(self) -> Sequence[Material]:
        """The run's materials."""
        return self._task.materials

    async def save(self, name: str, text: str) -> None:
        """Keep an output under a name that every agent of the run can load; the same name is overwritten."""
        if len(text) > MAX_FILE:
            raise OverLimit("text", len(text), MAX_FILE)
        await self._run.save(_artifact(name), text)
        known = await self._names()
        if name.strip() not in known:
            await self._run.save(NAMES, json.dumps([*known, name.strip()]))

    async def load(self, name: str) -> str:
        """What was saved under that name in this run."""
        text = await self._run.load(_artifact(name))
        if text is None:
            known = ", ".join(map(repr, await self._names())) or "nothing yet"
            raise ToolFailed(f"nothing was saved under {name!r} in this run. There is: {known}.", argument="name")
        return text

    async def sources(self, name: str) -> Sequence[Source]:
        """The texts from outside that this run was given under that name."""
        return await self._given.named(self.run_id, [name])

    async def source_names(self) -> Sequence[str]:
        """The names of all of them."""
        return [one.name for one in await self._given.listed(self.run_id)]

    async def cite(self, evidence: Evidence) -> None:
        """Add evidence to the agent's answer; refused when its words are not in its source."""
        texts = await texts_for([evidence], self._task.materials, self._given, self.run_id)
        kept, refused = await verify_all(self._agent, [evidence], texts)
        if refused:
            raise ToolFailed(f"{refused[0].why}.", argument="quote", next_step="Quote the source word for word.")
        self.cited.extend(kept)
        await self._keep()

    async def submit(self, result: dict[str, Any]) -> None:
        """Hand in the answer; a later one replaces it."""
        self.submitted = result
        await self._keep()

    async def escalate(self, reason: str) -> None:
        """Say that something is beyond the agent; it stands in the journal and in the result."""
        self.escalated.append(reason)
        await self._keep()
        key = f"{self._key}:escalated:{len(self.escalated)}"
        await self._run.emit(self._agent, "escalated", f"{self._agent} escalated: {reason}", key=key)

    async def ask_caller(self, question: str, options: Sequence[str]) -> None:
        """Pass a question on to the caller; its answer is for the agent's next prompt."""
        self.asked.append(await pass_on(self._run, self._agent, question, options))
        await self._keep()

    async def restore(self) -> None:
        """Take up what the turn left before the process died."""
        text = await self._run.load(f"turn/{self._key}")
        if text is None or self.cited or self.submitted or self.escalated or self.asked:
            return
        kept = json.loads(text)
        self.cited = [Evidence.model_validate(e) for e in kept["cited"]]
        self.submitted, self.escalated = kept["submitted"], kept["escalated"]
        self.asked = kept.get("asked", [])

    async def _names(self) -> list[str]:
        # Two agents that save at the same instant may lose one name from this list, never the text itself.
        return json.loads(await self._run.load(NAMES) or "[]")

    async def _keep(self) -> None:
        kept = {
            "cited": [e.model_dump() for e in self.cited],
            "submitted": self.submitted,
            "escalated": self.escalated,
            "asked": self.asked,
        }
        await self._run.save(f"turn/{self._key}", json.dumps(kept, ensure_ascii=False))


def _artifact(name: str) -> str:
    if not name.strip() or len(name) > MAX_NAME:
        raise ToolFailed(f"a name has 1 to {MAX_NAME} characters.", argument="name")
    return f"files/{name.strip()}"
