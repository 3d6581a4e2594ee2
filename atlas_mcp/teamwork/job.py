"""One team task at work in this process: what every node of its graph is given."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar, cast

import anyio
from pydantic import BaseModel

from atlas_mcp.model.run import Progress
from atlas_mcp.runs.changes import Kept, Spent

if TYPE_CHECKING:
    from atlas_mcp.guard.leaving import Leaving
    from atlas_mcp.model.guard import Held
    from atlas_mcp.model.task import TeamTask
    from atlas_mcp.model.turn import TurnResult
    from atlas_mcp.runs.changes import Change
    from atlas_mcp.teamwork.contract import Agents, Journal

T = TypeVar("T", bound=BaseModel)

SETTLE_SECONDS = 0.4
"""Between two turns of one piece of work nobody is at work for a moment; longer than that, nobody is."""

_LOOKS = 20
"""So many times it is looked in that time: when the machine stands still, the others have not had theirs."""

RESULT = "result"
"""The artifact that holds the result: what the task came to, as soon as that is sure."""


@dataclass(frozen=True)
class KeptValue(Kept):
    """A text together with the value that it was made of, which nobody has to read out of it again."""

    value: BaseModel | None = None


def kept(name: str, value: BaseModel) -> Kept:
    """The value as an artifact, to be written."""
    return KeptValue(name, value.model_dump_json(), value=value)


@dataclass
class Job:
    """The run, its agents and its task.

    `done` and `total` count turns: those finished, and those known of so far. `turns` says how many each node took.
    `texts` are the artifacts as they were last kept: nobody else writes them while this process has the run, so that
    what an earlier attempt has not left stays `absent` until it is kept here. `orders` are what the materials tell
    agents to do, once somebody has looked. What the `guard` did not let pass is `held`, by the key of its turn.
    """

    run: Journal
    agents: Agents
    task: TeamTask
    done: int = 0
    total: int = 0
    turns: dict[str, int] = field(default_factory=dict[str, int])
    texts: dict[str, str] = field(default_factory=dict[str, str])
    absent: set[str] = field(default_factory=set[str])
    values: dict[str, tuple[str, BaseModel]] = field(default_factory=dict[str, tuple[str, BaseModel]])
    orders: dict[str, list[str]] | None = None
    guard: Leaving | None = None
    held: dict[str, Held] = field(default_factory=dict[str, "Held"])
    _at_work: int = 0
    _still: anyio.Event | None = None

    @contextmanager
    def at_work(self) -> Generator[None]:
        """Somebody is at work while the body runs."""
        self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1
            if not self._at_work and self._still is not None:
                self._still.set()
                self._still = None

    async def quiet(self) -> None:
        """Return when nobody is at work in this process any more."""
        looks = 0
        while looks < _LOOKS:
            while self._at_work:
                looks = 0
                self._still = self._still or anyio.Event()
                await self._still.wait()
            await anyio.sleep(SETTLE_SECONDS / _LOOKS)
            looks = 0 if self._at_work else looks + 1

    def note(self, *changes: Change) -> None:
        """Change the run in one step, which is stored in a moment: after a crash in that moment a node runs again.

        What has a key is written once, also then. Nobody waits; what could not be stored ends the attempt.
        """
        self.run.tell(*changes)
        for change in changes:
            if isinstance(change, Kept):
                self.texts[change.name] = change.text
            if isinstance(change, KeptValue) and change.value is not None:
                self.values[change.name] = (change.text, change.value)

    def expect(self, turns: int) -> None:
        """So many more turns are known of."""
        self.total += turns

    def count(self, node: str, turn: TurnResult, text: str) -> tuple[Spent, Progress]:
        """A turn of that node has been finished: what it cost and how far the run is now, to be written."""
        self.done += 1
        self.turns[node] = self.turns.get(node, 0) + 1
        shown = Progress(done=self.done, total=max(self.done, self.total), text=text)
        return Spent(turn.usage, turn.turn_id), shown

    def catch_up(self, turns: dict[str, int]) -> None:
        """Count the turns of a node that was done in an earlier attempt."""
        self.turns |= turns
        self.done += sum(turns.values())
        self.total += sum(turns.values())

    def counted(self, node: str) -> dict[str, int]:
        """The turns of that node and of what it did under names of its own, to be kept."""
        return {name: turns for name, turns in self.turns.items() if name.startswith(node)}

    async def find(self, name: str) -> str | None:
        """An artifact that this task kept; None if there is none. Only those of earlier attempts are read, once."""
        if name not in self.texts and self.run.resumed and name not in self.absent:
            if (text := await self.run.load(name)) is None:
                self.absent.add(name)
            else:
                self.texts[name] = text
        return self.texts.get(name)

    async def text(self, name: str) -> str:
        """An artifact that must be there, because what a node came to says so."""
        text = await self.find(name)
        if text is None:
            raise LookupError(f"the run has no artifact {name!r}")
        return text

    async def value(self, name: str, kind: type[T]) -> T:
        """The value that `kept` made the text of, read at most once."""
        text = await self.text(name)
        known = self.values.get(name)
        if known is None or known[0] is not text:
            known = self.values[name] = (text, kind.model_validate_json(text))
        return cast("T", known[1])
