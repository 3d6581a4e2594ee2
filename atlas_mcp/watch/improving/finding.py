"""From what the record shows to proposals: a cheaper model, a worker that never contributes, turns that take too long.

Each rule says what it needs, how sure it is and by which formula; with less than it needs there is no proposal. Only
agents of the home's own roster are named. What was seen together need not be the cause: the ratings of runs with
another model were made on other tasks, so that a change of models is never `safe`, however sure.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import asdict
from hashlib import blake2s
from typing import TYPE_CHECKING

from atlas_mcp.model.proposal import Change, Draft, Gain
from atlas_mcp.watch.improving.facts import DAYS
from atlas_mcp.watch.improving.statistics import MARGIN, compare, interval, sample, share_below

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atlas_mcp.model.agent import AgentSpec, Roster
    from atlas_mcp.model.proposal import Kind
    from atlas_mcp.watch.improving.facts import Facts, Turn, Work

LEAST_RATED = 8
"""Rated runs with each of two models before they are compared."""
LEAST_WORK = 6
"""Assignments before it is said of a worker that it never contributes."""
HARDLY = 0.1
"""Who contributes to fewer of its assignments than this share does not contribute."""
CHEAPER = 0.8
"""A model is cheaper that costs at most this share of the other for a turn."""
LEAST_DONE, LEAST_LATE = 20, 3
"""Turns that ended well, and failed turns that took longer than any of them, before a time-out is proposed."""
BEYOND = 1.5
"""A time-out is so many times the longest turn that ended well."""
LEAST_CONFIDENCE = 0.5
_FILE = 'In a roster file that has extends = "default" (see docs/roster.md):'
_OVER = f"in {DAYS} days"


def proposals(facts: Facts, roster: Roster) -> list[Draft]:
    """Everything that the record gives rise to now, the surest first."""
    found = [*_models(facts, roster), *_workers(facts, roster), *_timeouts(facts, roster)]
    return sorted(found, key=lambda one: -one.confidence)


def identity(kind: Kind, subject: str, to: str = "") -> str:
    """The id of the proposal of that kind, about that subject, to set that."""
    return f"improve-{blake2s(chr(10).join((kind, subject, to)).encode(), digest_size=5).hexdigest()}"


def _models(facts: Facts, roster: Roster) -> Iterable[Draft]:
    """For each agent but raters, whose scores are the measure: a model it has had before, in the place of its present.

    Needs LEAST_RATED rated team tasks with each model in which all of the agent's turns were that model's, prices of
    both, at most CHEAPER of the cost of a turn, and no more failed turns than the interval of the present one's allows.
    Confidence: how sure the mean rating is less than MARGIN lower (Welch; see `statistics.compare`).
    """
    quality = {one.run_id: one.quality for one in facts.rated}
    for spec in roster.agents:
        turns = [t for t in facts.turns if t.agent == spec.name and t.model]
        if not turns or roster.tier(spec) == "rater":
            continue
        now = max(turns, key=lambda t: t.at).model
        ratings = _by_model(turns, quality)
        for other in sorted(ratings):
            if other != now and (draft := _cheaper(spec, turns, ratings, now, other)):
                yield draft


def _by_model(turns: Iterable[Turn], quality: dict[str, float]) -> dict[str, list[float]]:
    """The qualities of the runs that an agent did with one model alone, by that model."""
    used: dict[str, set[str]] = defaultdict(set)
    for turn in turns:
        used[turn.run_id].add(turn.model)
    found: dict[str, list[float]] = defaultdict(list)
    for run_id, models in used.items():
        if len(models) == 1 and run_id in quality:
            found[next(iter(models))].append(quality[run_id])
    return found


def _cheaper(spec: AgentSpec, turns: list[Turn], ratings: dict[str, list[float]], now: str, other: str) -> Draft | None:
    of = {model: [t for t in turns if t.model == model] for model in (now, other)}
    costs = {model: [t.usd for t in some if t.done and t.usd is not None] for model, some in of.items()}
    if min(len(ratings.get(now, ())), len(ratings[other])) < LEAST_RATED or not all(costs.values()):
        return None
    cost = {model: sum(some) / len(some) for model, some in costs.items()}
    failed = {model: sum(not t.done for t in some) for model, some in of.items()}
    most_failed = interval(failed[now], len(of[now]))[1]
    if cost[other] > CHEAPER * cost[now] or failed[other] > most_failed * len(of[other]):
        return None
    before, after = sample(ratings[now]), sample(ratings[other])
    found = compare(before, after)
    if found.not_worse < LEAST_CONFIDENCE:
        return None
    to = other.replace("/", ":", 1)
    saved = (cost[now] - cost[other]) * len(of[now])
    return Draft(
        id=identity("model", spec.name, to),
        kind="model",
        subject=spec.name,
        text=f"Let {spec.name} answer with {to}, which it did at about equal ratings for "
        f"{cost[other] / cost[now]:.0%} of the cost of a turn.",
        change=Change(
            agent=spec.name,
            setting="model",
            to=to,
            lines=(_FILE, f"[agents.{spec.name}]", f'model = "{to}"'),
        ),
        evidence={
            "rule": f"P(mean rating less than {MARGIN} lower), by Welch's comparison",
            "rated_runs": {now: asdict(before), other: asdict(after)},
            "difference": {"mean": found.mean, "low": found.low, "high": found.high},
            "usd_per_turn": cost,
            "turns": {model: {"of": len(some), "failed": failed[model]} for model, some in of.items()},
        },
        gain=Gain(amount=saved, unit=f"dollars {_OVER}"),
        risk="medium",
        confidence=found.not_worse,
        safe=False,
    )


def _workers(facts: Facts, roster: Roster) -> Iterable[Draft]:
    """For each worker who is not the last of its team: to give it no part any more.

    It contributed to an assignment if that was delivered and any of its evidence stands in the result. Needs LEAST_WORK
    assignments, in team tasks in which at least half of the others' assignments were delivered (else it is not the
    worker). Confidence: how sure it contributes to fewer than HARDLY of them (Bayes; see `statistics.share_below`).
    The risk is low where nothing at all was delivered, so that nothing can be lost; such a change alone is safe.
    """
    by_run: dict[str, list[Work]] = defaultdict(list)
    for one in facts.work:
        by_run[one.run_id].append(one)
    for team in roster.teams:
        for worker in team.workers if len(team.workers) > 1 else ():
            own = [w for run in by_run.values() if _others_deliver(run, worker) for w in run if w.worker == worker]
            contributed = sum(w.delivered and w.cited for w in own)
            confidence = share_below(contributed, len(own), HARDLY)
            if len(own) >= LEAST_WORK and confidence >= LEAST_CONFIDENCE:
                yield _idle(facts, team.name, worker, own, contributed, confidence)


def _others_deliver(run: list[Work], worker: str) -> bool:
    others = [w.delivered for w in run if w.worker != worker]
    return bool(others) and 2 * sum(others) >= len(others)


def _idle(facts: Facts, team: str, worker: str, own: list[Work], contributed: int, confidence: float) -> Draft:
    delivered = sum(w.delivered for w in own)
    turns = [t for t in facts.turns if t.agent == worker]
    low, high = interval(contributed, len(own))
    return Draft(
        id=identity("worker", worker),
        kind="worker",
        subject=worker,
        text=f"Give {worker} of the {team} team no part in plans: of {len(own)} assignments it delivered {delivered}, "
        f"and evidence of {contributed} stands in a result.",
        change=Change(agent=worker, setting="left_out", lines=(_FILE, "[remove]", f'agents = ["{worker}"]')),
        evidence={
            "rule": f"P(share of contributions below {HARDLY}), Beta(contributed + 1, others + 1)",
            "assignments": len(own),
            "delivered": delivered,
            "contributed": contributed,
            "share": {"low": low, "high": high},
            "runs": len({w.run_id for w in own}),
        },
        gain=_saved(turns),
        risk="medium" if delivered else "low",
        confidence=confidence,
        safe=not delivered,
    )


def _saved(turns: list[Turn]) -> Gain:
    """What the turns cost: dollars where all have a price and any cost anything, else tokens, else time."""
    if turns and all(t.usd is not None for t in turns) and (usd := sum(t.usd or 0.0 for t in turns)):
        return Gain(amount=usd, unit=f"dollars {_OVER}")
    if tokens := sum(t.tokens for t in turns):
        return Gain(amount=tokens, unit=f"tokens {_OVER}")
    return Gain(amount=sum(t.seconds for t in turns), unit=f"agents' seconds {_OVER}")


def _timeouts(facts: Facts, roster: Roster) -> Iterable[Draft]:
    """For each agent: the time after which no turn of it ended well, BEYOND times the longest that did.

    Needs LEAST_DONE turns that ended well and LEAST_LATE failed ones that took longer. Confidence: n / (n + 1) for n
    turns that ended well: if the next is like them, each of the n + 1 is as likely to be the longest of all, and only
    that one could be cut short.
    """
    for spec in roster.agents:
        turns = [t for t in facts.turns if t.agent == spec.name]
        done = [t.seconds for t in turns if t.done]
        limit = math.ceil(BEYOND * max(done, default=0.0))
        late = [t.seconds for t in turns if not t.done and t.seconds > limit]
        if spec.turn_seconds is not None and spec.turn_seconds <= limit:
            continue
        if len(done) < LEAST_DONE or len(late) < LEAST_LATE:
            continue
        yield Draft(
            id=identity("timeout", spec.name),
            kind="timeout",
            subject=spec.name,
            text=f"Give a turn of {spec.name} up after {limit} s: none that ended well took longer than "
            f"{max(done):.1f} s, and {len(late)} failed after more than the limit.",
            change=Change(
                agent=spec.name,
                setting="turn_seconds",
                to=str(limit),
                lines=(_FILE, f"[agents.{spec.name}]", f"turn_seconds = {limit}"),
            ),
            evidence={
                "rule": "n / (n + 1) for n turns that ended well",
                "done": {"of": len(done), "longest_seconds": max(done)},
                "failed_later": {"of": len(late), "seconds": [round(min(late), 1), round(max(late), 1)]},
            },
            gain=Gain(amount=sum(late) - limit * len(late), unit=f"agents' seconds {_OVER}"),
            risk="low",
            confidence=len(done) / (len(done) + 1),
            safe=True,
        )
