"""A stage, for whoever plays scenarios: a passing home in which a real ATLAS works, its models scripted or the user's.

    async with open_stage(load_settings(), scenario, folder) as stage:
        run = await stage.atlas.run_team_task(stage.caller, task)

Promise: of the user's home only the traces get more, and of the user's settings only the models and where traces go
count: nothing else that they name is read, reached, or told anything. What cannot be used is refused by `check` before
anything is spent. To be run in a process in which no server works: the engine of runs is one for a process.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from atlas_mcp._config import destination, model_config
from atlas_mcp._faults import FaultyKeeper, in_script
from atlas_mcp._keeper import open_rooms
from atlas_mcp._team_tasks import check_teams
from atlas_mcp.atlas import Atlas
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.constellation.toolbox import Toolbox
from atlas_mcp.errors import ConfigurationError, InvalidInput
from atlas_mcp.model.price import Price
from atlas_mcp.model.script import Reply, Rule, Script
from atlas_mcp.models.catalog import parse_name
from atlas_mcp.models.chat import Models
from atlas_mcp.models.prices import price
from atlas_mcp.settings import Settings
from atlas_mcp.store.home import open_home
from atlas_mcp.watch.scenarios import tell
from atlas_mcp.watch.tracing import open_tracing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from atlas_mcp.model.agent import Roster
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.scenario import Played, Scenario

CLIENT = "atlas-mcp test"
_MODELS = ("model", "model_supervisor", "model_worker", "model_rater")
_LEVELS = ("model_routine", "model_interactive", "model_investigative", "model_critical")
_KEPT = {
    *(*_MODELS, *_LEVELS, "model_fallbacks", "model_base_url", "prices", "provider_keys", "traces_days"),
    *(name for name in Settings.model_fields if name.startswith(("mlflow_", "otlp_"))),
}
_ALERTS = ("alert_task_seconds", "alert_task_usd", "alert_quality", "alert_error_rate", "alert_budget")


@dataclass(frozen=True)
class Stage:
    """A home in which a scenario is played, and who plays it."""

    atlas: Atlas
    caller: Caller


def check(settings: Settings, scenario: Scenario) -> None:
    """Raise for what a scenario names and there is not: InvalidInput for an agent, a team, or a tool that does not
    serve; BrokenRoster. For real models also UnknownModel, MissingKey, MissingPackage, and ConfigurationError
    where only a Letta server has them."""
    roster = load_roster(Path(scenario.roster) if scenario.roster else None)
    _check_named(roster, scenario)
    if scenario.tools:
        with TemporaryDirectory(prefix="atlas-scenario-") as folder:
            problems = Toolbox(_write_tools(Path(folder) / "tools", scenario.tools)).problems
        if problems:
            problem = problems[0].removeprefix(f"{folder}{os.sep}")
            raise InvalidInput(f"the scenario {scenario.name!r} has a broken tool: {problem}", argument="FILE")
    if scenario.real:
        if not _named(settings) and any(server.kind != "embedded" for server in settings.lettas):
            raise ConfigurationError(
                "scenarios work on an embedded Letta, and the models are your Letta server's alone.",
                argument="ATLAS_MODEL",
                next_step="Set ATLAS_MODEL, or --model provider:name, with that provider's key.",
            )
        Models(model_config(settings, roster)).check()


def _check_named(roster: Roster, scenario: Scenario) -> None:
    named = [one.agent for one in (*scenario.rules, *scenario.faults, *scenario.work)]
    named += [one.agent for piece in scenario.work for one in piece.expect.memory]
    try:
        for agent in filter(None, named):
            roster.agent(agent)
        for piece in scenario.work:
            check_teams(roster, piece.teams)
    except InvalidInput as error:
        text = f"the scenario {scenario.name!r}: {error.message}"
        raise InvalidInput(text, argument="FILE", next_step=error.next_step) from None


def answering(settings: Settings, model: str) -> Settings:
    """The settings with that model for everyone. UnknownModel for what is no model's name."""
    parse_name(model, argument="--model")
    return settings.model_copy(update=dict.fromkeys((*_MODELS, *_LEVELS)) | {"model": model, "model_fallbacks": ()})


def costs_money(settings: Settings, scenarios: Sequence[Scenario]) -> bool:
    """Whether playing these may cost something."""
    names = {*_named(settings).values(), *settings.model_fallbacks}
    free = Price(input_per_million=0, output_per_million=0)
    return any(one.real for one in scenarios) and any(_price(settings, name) != free for name in names)


@asynccontextmanager
async def open_stage(
    settings: Settings, scenario: Scenario, place: Path, *, held: str | None = None
) -> AsyncGenerator[Stage]:
    """The stage at `place`, until the block is left; what was begun there before goes on.

    With `held` the model of that agent never answers: so what is to happen in its turn surely happens there.
    """
    open_home(settings.home)
    passing = _furnish(settings, scenario, place, held)
    keeper = FaultyKeeper(passing, scenario.faults)
    async with open_rooms(passing, traced_in=settings.home, keeper=keeper):
        atlas = Atlas(passing, keeper)
        yield Stage(atlas, atlas.local_caller(CLIENT))


def tell_mlflow(settings: Settings, played: Sequence[Played]) -> None:
    """Tell MLflow of what was played, on the way that traces take. Blocks until that is written, two seconds
    at most."""
    with open_tracing(settings.home, destination=destination(settings)):
        tell(played)


def _furnish(settings: Settings, scenario: Scenario, place: Path, held: str | None) -> Settings:
    """The stage's settings, its scripts written."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    fields = Settings.model_fields
    update = {name: field.get_default(call_default_factory=True) for name, field in fields.items() if name not in _KEPT}
    update |= dict.fromkeys(_ALERTS) | {"alert_stores": False, "embedder": "none"}
    update |= {"home": place, "roster": Path(scenario.roster) if scenario.roster else None}
    if scenario.tools:
        update["tools"] = _write_tools(place / "tools", scenario.tools)
    rules = [Rule(agent=held, replies=(Reply(hold=True),), always=True)] if held else []
    rules += in_script(scenario.faults)
    if not scenario.real:
        script = Script(rules=(*rules, *scenario.rules))
        update |= dict.fromkeys((*_MODELS, *_LEVELS, "model_base_url"))
        update |= {"model": _write(place, "model", script), "model_fallbacks": (), "provider_keys": {}, "prices": {}}
        if scenario.spare:
            update["model_fallbacks"] = (_write(place, "spare", Script(rules=scenario.rules)),)
        if scenario.price:
            update["prices"] = dict.fromkeys((str(update["model"]), *update["model_fallbacks"]), scenario.price)
        return settings.model_copy(update=update)
    names = _named(settings)
    scripts = {
        name: _write(place, f"model-{n}", Script(rules=tuple(rules), otherwise=name))
        for n, name in enumerate(dict.fromkeys(names.values()))
    }
    prices = {scripts[name]: known for name in scripts if (known := _price(settings, name))}
    update |= {field: scripts[name] for field, name in names.items()} | {"prices": {**settings.prices, **prices}}
    if not names:
        update["model"] = _write(place, "model", Script(rules=tuple(rules)))
    return settings.model_copy(update=update)


def _named(settings: Settings) -> dict[str, str]:
    """The user's models, by the settings that name them."""
    return {field: name for field in (*_MODELS, *_LEVELS) if (name := getattr(settings, field))}


def _price(settings: Settings, name: str) -> Price | None:
    handle = parse_name(name).handle
    if said := settings.prices.get(name) or settings.prices.get(handle):
        return said
    known = price(handle)
    return Price(input_per_million=known[0], output_per_million=known[1]) if known else None


def _write_tools(folder: Path, tools: Mapping[str, str]) -> Path:
    """The folder with these tools."""
    folder.mkdir(exist_ok=True)
    for name, source in tools.items():
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
    return folder


def _write(place: Path, name: str, script: Script) -> str:
    """The name of the scripted model whose script that is, in a file of the stage."""
    folder = place / "scripts"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(script.model_dump_json(exclude_defaults=True), encoding="utf-8")
    return f"scripted:{path}"
