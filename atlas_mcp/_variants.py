"""A variant's house: a passing home of its own, in which a real ATLAS does as the variant says.

Promise: nothing of the user's home is read by its agents or changed by them: neither memory nor runs nor agents, and no
Redis, Neo4j, PostgreSQL or Letta of the user's is touched; nobody is alerted. The models, keys, prices and tools are
the user's, and so are the prompts that lead, unless the variant says otherwise. Traces go with the user's, and name
versions of prompts by the user's numbers. What cannot be used is refused before any house is opened.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from atlas_mcp._config import model_config
from atlas_mcp._keeper import open_rooms
from atlas_mcp._leading import filed, lead_by_record, misfit
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.constellation.roster_text import roster_text
from atlas_mcp.errors import ConfigurationError, InvalidInput
from atlas_mcp.model.prompt import PERSONA
from atlas_mcp.models.catalog import parse_name
from atlas_mcp.models.chat import Models
from atlas_mcp.watch.prompts import rows
from atlas_mcp.watch.prompts.versions import tell

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp.model.agent import Roster
    from atlas_mcp.model.evaluated import Variant
    from atlas_mcp.model.prompt import PromptVersion
    from atlas_mcp.settings import Settings
    from atlas_mcp.store.record import Record

ROSTER = "roster.toml"
AT_ONCE = 4
"""Attempts at work at the same time."""
_ANSWER_HOURS = 1 / 3600  # nobody is there to answer: after a second the safe answer counts


@dataclass(frozen=True)
class Plan:
    """A variant, made out: its roster, the texts that lead in it, its models, and the settings of its house."""

    variant: Variant
    roster: Roster
    leading: dict[str, str]
    settings: Settings
    models: Models

    @property
    def handles(self) -> tuple[str, ...]:
        """The models that may answer."""
        return tuple(sorted(self.models.handles()))

    @property
    def digest(self) -> str:
        """What tells two variants apart: by what they do, not by what they are called."""
        return _digest([self.roster.model_dump(mode="json"), self.texts, self._answering()])

    @property
    def judge(self) -> str:
        """What tells two sets of raters apart."""
        teams = {team.name for team in self.roster.teams if team.kind == "rating"}
        raters = [agent for agent in self.roster.agents if agent.team in teams]
        personas = {agent.name: self.texts[PERSONA + agent.name] for agent in raters}
        models = {agent.name: self.models.handle("rater", agent.level, agent.model) for agent in raters}
        return _digest([personas, models, self.texts.get("task.verdict")])

    @property
    def texts(self) -> dict[str, str]:
        """Every prompt's text as it counts in this variant."""
        return filed(self.roster) | self.leading

    def _answering(self) -> dict[str, str]:
        tiers: tuple[Any, ...] = ("supervisor", "worker", "rater")
        levels: tuple[Any, ...] = ("routine", "interactive", "investigative", "critical")
        every = {f"{tier} {level}": self.models.handle(tier, level) for tier in tiers for level in levels}
        return every | {"fallbacks": ", ".join(self.settings.model_fallbacks)}


def make_plan(settings: Settings, variant: Variant, leading: Mapping[str, PromptVersion]) -> Plan:
    """The variant made out on the user's settings and on the versions that lead in the user's home.

    BrokenRoster, UnknownModel, MissingKey, MissingPackage; InvalidInput for a prompt that does not fit;
    ConfigurationError where only a Letta server has the models: then a variant must name one.
    """
    if settings.model is None and variant.model is None and any(s.kind != "embedded" for s in settings.lettas):
        raise ConfigurationError(
            "evaluations work on an embedded Letta, so that your agents are left alone, and the models are your Letta "
            "server's alone.",
            argument="ATLAS_MODEL",
            next_step="Set ATLAS_MODEL, or --model provider:name, with that provider's key.",
        )
    own = settings.home / "roster.toml"
    present = settings.roster or (own if own.exists() else None)
    roster = load_roster(Path(variant.roster) if variant.roster else present, read_model=parse_name)
    wanted = _settings_of(settings, variant)
    config = model_config(wanted, roster)
    if variant.model:
        parse_name(variant.model, argument="--model")
    models = Models(config)
    models.check()
    for name, text in variant.prompts.items():
        if name.startswith(PERSONA):
            roster.agent(name.removeprefix(PERSONA))  # UnknownAgent says which there are
        if problem := misfit(name, text, roster):
            raise InvalidInput(f"{name}: {problem}.", argument="--persona")
    said = filed(load_roster(present)) if variant.roster else filed(roster)
    files = filed(roster)
    carried = {
        name: one.text
        for name, one in leading.items()
        if files.get(name) == said.get(name)
        and not misfit(name, one.text, roster)  # what the variant's file says leads
    }
    return Plan(variant, roster, carried | variant.prompts, wanted, models)


@asynccontextmanager
async def open_house(plan: Plan, place: Path, record: Record, traced_in: Path) -> AsyncGenerator[RoomsKeeper]:
    """The plan's house at `place`, until the block is left; `record` is the user's, which numbers the prompts."""
    await anyio.to_thread.run_sync(_furnish, place, roster_text(plan.roster))
    versions, new = await _numbered(record, plan.texts)
    update = {"home": place, "roster": place / ROSTER}
    async with open_rooms(plan.settings.model_copy(update=update), traced_in=traced_in) as keeper:
        rooms = await keeper.rooms()
        for version in new:
            tell(version)
        await _lead(rooms.record, versions, plan.leading)
        await lead_by_record(rooms)
        yield keeper


def _furnish(place: Path, roster: str) -> None:  # run_sync passes by position
    place.mkdir(mode=0o700, parents=True)
    (place / ROSTER).write_text(roster, encoding="utf-8")


def _settings_of(settings: Settings, variant: Variant) -> Settings:
    update: dict[str, Any] = {
        "answer_hours": _ANSWER_HOURS,
        "daily_usd": None,
        "embedder": "none",
        "max_runs": AT_ONCE,
        "max_runs_per_caller": AT_ONCE,
    }
    nobodys = ("database_url", "chroma_url", "redis_url", "neo4j_url", "webhook_url", "webhook_secret")
    nobodys += ("letta_base_url", "letta_api_key", "letta_model", "letta_embedding_model")
    nobodys += ("alert_task_seconds", "alert_task_usd", "alert_quality", "alert_error_rate", "alert_budget")
    update |= dict.fromkeys(nobodys) | {"letta_servers": (), "alert_stores": False}
    if variant.model:
        tiers = ("supervisor", "worker", "rater", "routine", "interactive", "investigative", "critical")
        update |= {"model": variant.model, "model_fallbacks": (), **dict.fromkeys(f"model_{tier}" for tier in tiers)}
    return settings.model_copy(update=update)


async def _numbered(record: Record, texts: Mapping[str, str]) -> tuple[list[PromptVersion], list[PromptVersion]]:
    """Every version that the user's record has of these prompts, these texts among them; and those that are new."""
    found: list[PromptVersion] = []
    new: list[PromptVersion] = []
    async with record.write(rows.WRITER) as db:
        for name, text in texts.items():
            version, is_new = await rows.keep(db, name, text, "file")
            new += [version] if is_new else []
            found += await rows.versions_of(db, name)
    return found, new


async def _lead(record: Record, versions: Sequence[PromptVersion], leading: Mapping[str, str]) -> None:
    async with record.write(rows.WRITER) as db:
        for version in versions:
            kept, _ = await rows.keep(db, version.name, version.text, version.origin)
            if leading.get(version.name) == version.text:
                await rows.promote(db, version.name, kept.version)


def _digest(told: Any) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
