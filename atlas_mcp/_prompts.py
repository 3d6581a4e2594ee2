"""The prompts of a home: what there is of each, which text leads, and how another comes to lead.

    async with open_prompts(load_settings()) as prompts:
        await prompts.promote("persona.librarian", 2)

Promise: the files lead until somebody promotes a version, and again once it is taken back; servers at work take that up
within seconds. No agent is asked here and no room is opened. MLflow's registry is told of new versions, and of what
leads, when the block is left. To be used in a process in which no server works.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from difflib import get_close_matches, unified_diff
from typing import TYPE_CHECKING

from atlas_mcp._config import database, destination
from atlas_mcp._leading import filed, misfit, note_of
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.errors import IllegalChange, InvalidInput
from atlas_mcp.model.prompt import PERSONA, Optimised, PromptInfo, PromptVersion
from atlas_mcp.store.home import open_home
from atlas_mcp.watch import notes
from atlas_mcp.watch.tracing import open_tracing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from atlas_mcp.model.agent import Roster
    from atlas_mcp.settings import Settings
    from atlas_mcp.store.record import Record


@asynccontextmanager
async def open_prompts(settings: Settings) -> AsyncGenerator[Prompts]:
    """The prompts of the settings' home. BrokenRoster, UnwritableHome, and what opening the record raises."""
    from atlas_mcp.store.record import open_record

    home, elsewhere = open_home(settings.home), database(settings)
    roster = load_roster(settings.roster or home.own_roster)
    if elsewhere is None:
        home.prepare_databases()
    lines: list[str] = []
    try:
        with home.in_use(), notes.taken_by(lines.append):
            async with open_record(home.path, elsewhere) as record:
                yield Prompts(settings, record, roster, f"local:{home.local_id}")
    finally:
        if lines:
            with open_tracing(home.path, destination=destination(settings)):
                for line in lines:
                    notes.tell(notes.read_note(json.loads(line)))


class Prompts:
    """One home's prompts: the personas of its roster, and what opens the questions of team tasks. `owner` is the id of
    the caller who may start ATLAS on this home."""

    def __init__(self, settings: Settings, record: Record, roster: Roster, owner: str) -> None:
        self._settings = settings
        self.record = record
        self.roster = roster
        self.owner = owner
        self.files = filed(roster)

    async def list(self) -> list[PromptInfo]:
        """Every prompt as it stands, by name."""
        from atlas_mcp.watch.prompts import rows

        async with self.record.look() as db:
            known, leading = await rows.numbers(db), await rows.leading(db)
        return [await self._info(name, known, leading) for name in sorted({*self.files, *known})]

    async def show(self, name: str, version: int | None = None) -> PromptVersion:
        """That version of a prompt, or the text that leads, which becomes a version if it is none. InvalidInput."""
        name = self.named(name)
        return await (self.present(name) if version is None else self._version(name, version))

    async def diff(self, name: str, a: int, b: int) -> str:
        """What version `b` has otherwise than version `a`, line by line; empty if nothing. InvalidInput."""
        name = self.named(name)
        old, new = await self._version(name, a), await self._version(name, b)
        return "\n".join(unified_diff(_lines(old), _lines(new), old.label, new.label, lineterm=""))

    async def promote(self, name: str, version: int) -> PromptInfo:
        """Let that version lead instead of the file; the file again, where it has this very text.

        InvalidInput for a version that there is not, or that cannot lead here: then nothing was changed.
        """
        from atlas_mcp.watch.prompts import rows
        from atlas_mcp.watch.prompts.versions import tell

        name = self.named(name)
        wanted = await self._version(name, version)
        if problem := misfit(name, wanted.text, self.roster):
            raise InvalidInput(f"version {version} of {name} cannot lead: {problem}.", argument="VERSION")
        async with self.record.write(rows.WRITER) as db:
            if wanted.text == self.files[name]:
                await rows.take_back(db, name)
            else:
                await rows.keep(db, name, self.files[name], "file")  # what is changed in it later is then told
                await rows.promote(db, name, version)
        tell(wanted, leads=True)
        return await self._now(name)

    async def rollback(self, name: str) -> PromptInfo:
        """Let that lead which led before the last promotion: another version, or the file. IllegalChange for none."""
        from atlas_mcp.watch.prompts import rows
        from atlas_mcp.watch.prompts.versions import tell

        name = self.named(name)
        async with self.record.write(rows.WRITER) as db:
            leads = (await rows.leading(db)).get(name)
            if leads is None:
                step = f"See what there is with `atlas-mcp prompts list`, and promote a version of {name}."
                raise IllegalChange(f"nothing was promoted of {name}: its file leads.", next_step=step)
            await rows.take_back(db, name, leads.version)
        if name in self.files:
            tell(await self.present(name), leads=True)
        return await self._now(name)

    async def optimize(
        self,
        role: str,
        *,
        usd: float | None = None,
        tokens: int | None = None,
        suite: str | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Optimised:
        """Have a better version proposed from what went wrong; see `_optimising.optimize`.

        The limits are for all of it, the comparison too; with none of them it may take 500,000 tokens.
        """
        from atlas_mcp._optimising import optimize
        from atlas_mcp.watch.prompts.optimising import TOKENS, Budget

        if usd is not None and usd <= 0:
            raise InvalidInput("nothing is to be had for that.", argument="--budget-usd", next_step="Give more.")
        budget = Budget(usd=usd, tokens=TOKENS if usd is None and tokens is None else tokens)
        return await optimize(self, self._settings, role, budget=budget, suite=suite, tell=tell)

    # -- for the others of this package

    def named(self, name: str) -> str:
        """The prompt's whole name; an agent's name stands for its persona. InvalidInput for one that is none."""
        for whole in (name, PERSONA + name):
            if whole in self.files:
                return whole
        if name.startswith(PERSONA):  # of an agent that is gone its versions may be left
            return name
        known = sorted(self.files)
        near = get_close_matches(name, [*known, *(one.removeprefix(PERSONA) for one in known)], n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise InvalidInput(
            f"there is no prompt {name!r}.{guess}",
            argument="NAME",
            allowed=known,
            next_step="See `atlas-mcp prompts list`; an agent's name stands for its persona.",
        )

    async def present(self, name: str) -> PromptVersion:
        """The version that leads; the file's text becomes one if it is none."""
        from atlas_mcp.watch.prompts import rows
        from atlas_mcp.watch.prompts.versions import tell

        async with self.record.look() as db:
            leads = (await rows.leading(db)).get(name)
        if leads is not None and not misfit(name, leads.text, self.roster):
            return leads
        if name not in self.files:
            raise InvalidInput(f"this home's roster has no agent of {name}.", argument="NAME")
        async with self.record.write(rows.WRITER) as db:
            version, new = await rows.keep(db, name, self.files[name], "file")
        if new:
            tell(version)
        return version

    async def _version(self, name: str, version: int) -> PromptVersion:
        from atlas_mcp.watch.prompts import rows

        async with self.record.look() as db:
            known = await rows.versions_of(db, name)
        for one in known:
            if one.version == version:
                return one
        numbers = [str(one.version) for one in known]
        raise InvalidInput(
            f"{name} has no version {version}; it has {_listed(numbers)}.", argument="VERSION", allowed=numbers
        )

    async def _now(self, name: str) -> PromptInfo:
        from atlas_mcp.watch.prompts import rows

        async with self.record.look() as db:
            known, leading = await rows.numbers(db), await rows.leading(db)
        return await self._info(name, known, leading)

    async def _info(self, name: str, known: dict[str, dict[str, int]], leading: dict[str, PromptVersion]) -> PromptInfo:
        from atlas_mcp.watch.prompts import rows

        leads, file, mine = leading.get(name), self.files.get(name), known.get(name, {})
        note = await note_of(self.record, leads, self.roster) if leads else ""
        if not leads and file is None:
            note = "this home's roster has no such agent"
        by_version = leads is not None and not misfit(name, leads.text, self.roster)
        return PromptInfo(
            name=name,
            leads="version" if by_version else "file",
            version=leads.version if leads and by_version else mine.get(rows.hash_of(file or "")),
            newest=max(mine.values(), default=0),
            promoted_at=leads.promoted_at if leads and by_version else None,
            note=note,
        )


def _lines(version: PromptVersion) -> list[str]:
    return version.text.splitlines()


def _listed(numbers: Sequence[str]) -> str:
    return ", ".join(numbers) or "none yet: its file's text becomes one when it is first used"
