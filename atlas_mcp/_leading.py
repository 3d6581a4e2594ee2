"""Which texts lead in this process: those of the files, or the versions that were promoted in their place.

Promise: before any agent is looked up, the promoted personas stand in the roster, and agents are brought up to date by
them as by a changed file. What another process promotes or takes back counts here FOLLOW_SECONDS later at the latest,
for what begins from then on. A promoted text that does not fit any more (its block holds less, its agent is gone) does
not lead, which is said; so is a file that was changed since another text leads.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from atlas_mcp._improving import fitting
from atlas_mcp.constellation.tuned import tuned
from atlas_mcp.errors import AtlasError
from atlas_mcp.model.prompt import PERSONA, TASK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlas_mcp._rooms import Rooms
    from atlas_mcp.model.agent import Roster
    from atlas_mcp.model.prompt import PromptVersion
    from atlas_mcp.store.record import Record

FOLLOW_SECONDS = 5.0
log = logging.getLogger(__name__)


async def follow(rooms: Rooms) -> None:
    """Look every few seconds whether another process has promoted something, or taken it back."""
    while True:
        await anyio.sleep(FOLLOW_SECONDS)
        try:
            await lead_by_record(rooms)
        except AtlasError as error:
            log.warning("it is not known whether other prompts lead by now: %s", error)
        except Exception:  # raised from here it would end the server
            log.exception("it is not known whether other prompts lead by now")


async def lead_by_record(rooms: Rooms) -> None:
    """Let those texts lead, and those improvements count, that the record says, for what begins from now on."""
    from atlas_mcp.watch.improving import rows as proposals
    from atlas_mcp.watch.prompts import rows

    async with rooms.record.look() as db:
        found = await rows.leading(db)
        changes = await proposals.in_force(db)
    if found == rooms.promoted and changes == rooms.changes and rooms.versions.personas:
        return
    roster = rooms.keeper.file_roster
    for version in found.values():
        if note := await note_of(rooms.record, version, roster):
            log.warning("%s: %s", version.name, note)
    fit = {name: one.text for name, one in found.items() if not misfit(name, one.text, roster)}
    rooms.promoted = found
    rooms.openings = {name: text for name, text in fit.items() if name.startswith(TASK)}
    rooms.changes = changes
    rooms.use_roster(tuned(_led(roster, fit), fitting(rooms.keeper, changes)))


def filed(roster: Roster) -> dict[str, str]:
    """The files' texts, by their prompts' names: the roster's personas, and what opens questions of team tasks."""
    from atlas_mcp.teamwork import leads

    return {PERSONA + agent.name: agent.persona for agent in roster.agents} | leads.filed()


def misfit(name: str, text: str, roster: Roster) -> str:
    """Why the text cannot lead under that name here; empty if it can."""
    from atlas_mcp.teamwork.leads import variables

    present = filed(roster).get(name)
    if present is None:
        return "this home's roster has no such agent" if name.startswith(PERSONA) else "team tasks have no such part"
    if not text.strip():
        return "it is empty"
    if name.startswith(PERSONA):
        limit = next(block.limit for block in roster.blocks if block.label == "persona")
        return f"it has {len(text):,} characters, and a persona {limit:,} at most" if len(text) > limit else ""
    if variables(text) != variables(present):
        wanted = ", ".join(f"{{{{{one}}}}}" for one in sorted(variables(present))) or "none"
        return f"the names that stand for something in it are not those of the file: {wanted}"
    return ""


async def note_of(record: Record, version: PromptVersion, roster: Roster) -> str:
    """What is to be known of a version that was promoted: that it cannot lead, or that its file was changed since."""
    if problem := misfit(version.name, version.text, roster):
        return f"version {version.version} was promoted and does not lead: {problem}"
    changed = await changed_since(record, version, filed(roster)[version.name])
    if changed is None:
        return ""
    return (
        f"version {version.version} leads, and its file was changed since (version {changed}); "
        f"`atlas-mcp prompts promote {version.name} {changed}` lets the file lead"
    )


async def changed_since(record: Record, version: PromptVersion, text: str) -> int | None:
    """The version that the file's text is, where it came to the file after that version was promoted; else None."""
    from atlas_mcp.watch.prompts import rows
    from atlas_mcp.watch.prompts.versions import tell

    if version.text == text:
        return None
    async with record.look() as db:
        known = next((one for one in await rows.versions_of(db, version.name) if one.text == text), None)
    if known is None:
        async with record.write(rows.WRITER) as db:
            known, new = await rows.keep(db, version.name, text, "file")
        if new:
            tell(known)
    return known.version if version.promoted_at and known.made_at > version.promoted_at else None


def _led(roster: Roster, texts: Mapping[str, str]) -> Roster:
    personas = {name.removeprefix(PERSONA): text for name, text in texts.items() if name.startswith(PERSONA)}
    if not personas:
        return roster
    agents = (a.model_copy(update={"persona": personas.get(a.name, a.persona)}) for a in roster.agents)
    return roster.model_copy(update={"agents": tuple(agents)})
