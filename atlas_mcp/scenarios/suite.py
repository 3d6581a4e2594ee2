"""Several scenarios played one after another, and what came of them all.

    scenarios = [read_scenario(path) for path in shipped()]
    played = await play_all(load_settings(), scenarios, tell=print)
    for line in summed(played): ...

Promise: what a scenario names and there is not is refused before the first is played. MLflow hears of all that were
played, also when it is interrupted.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import anyio.to_thread

from atlas_mcp.errors import InvalidInput
from atlas_mcp.playing import check, tell_mlflow
from atlas_mcp.scenarios.play import play

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atlas_mcp.model.scenario import Played, Scenario
    from atlas_mcp.settings import Settings

MAX_REPEAT = 50


@dataclass(frozen=True)
class Summary:
    """What came of a scenario, on the mean of the times that it was played; `success_rate` is 0 to 1, and `used` the
    share of what it may take by its own expectations."""

    scenario: str
    played: int
    success_rate: float
    turns: float
    tokens: float
    cost_usd: float | None
    used: float | None
    seconds: float


async def play_all(
    settings: Settings,
    scenarios: Sequence[Scenario],
    *,
    repeat: int = 1,
    tell: Callable[[Played], None] = lambda played: None,
) -> list[Played]:
    """Play each of them so often; `tell` hears of each time as it ends. InvalidInput, and whatever `check` raises."""
    check_all(settings, scenarios, repeat)
    made: list[Played] = []
    try:
        for number in range(1, repeat + 1):
            for scenario in scenarios:
                made.append(await play(settings, scenario, number))
                tell(made[-1])
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(tell_mlflow, settings, made)
    return made


def check_all(settings: Settings, scenarios: Sequence[Scenario], repeat: int = 1) -> None:
    """Raise for what keeps any of them from being played."""
    if not 1 <= repeat <= MAX_REPEAT:
        raise InvalidInput(f"{repeat} is not between 1 and {MAX_REPEAT}.", argument="--repeat")
    names = [scenario.name for scenario in scenarios]
    if double := {name for name in names if names.count(name) > 1}:
        raise InvalidInput(
            f"two scenarios are called {min(double)!r}.", argument="FILE", next_step="Give one of them another name."
        )
    for scenario in scenarios:
        check(settings, scenario)


def as_real(scenario: Scenario) -> Scenario:
    """The same with the home's own models instead of the scripted one; its faults stay."""
    return scenario.model_copy(update={"real": True, "rules": (), "price": None, "spare": False})


def summed(played: Sequence[Played]) -> list[Summary]:
    """What came of each scenario, in the order in which they were first played."""
    return [_sum(name, [one for one in played if one.scenario == name]) for name in _names(played)]


def _names(played: Sequence[Played]) -> list[str]:
    return list(dict.fromkeys(one.scenario for one in played))


def _sum(name: str, made: Sequence[Played]) -> Summary:
    costs = [one.usage.cost_usd for one in made if one.usage.cost_usd is not None]
    shares = [one.used for one in made if one.used is not None]
    return Summary(
        scenario=name,
        played=len(made),
        success_rate=fmean(one.passed for one in made),
        turns=fmean(one.usage.turns for one in made),
        tokens=fmean(one.usage.input_tokens + one.usage.output_tokens for one in made),
        cost_usd=fmean(costs) if costs else None,
        used=fmean(shares) if shares else None,
        seconds=fmean(one.seconds for one in made),
    )
