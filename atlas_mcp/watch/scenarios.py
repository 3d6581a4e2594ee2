"""MLflow told of scenarios that were played: one run for all of them, and below it one for each time one was played."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.watch import notes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.model.scenario import Played


def tell(played: Sequence[Played]) -> None:
    """Tell of what was played together. Costs no time and never raises; needs tracing to be open."""
    if not played:
        return
    began = min(one.began_ms for one in played)
    key = " ".join(["scenarios", str(began), *played[0].trace_ids[:1]])
    passed = [one for one in played if one.passed]
    notes.tell(
        notes.RunNote(
            key=key,
            name="scenarios",
            status="completed" if len(passed) == len(played) else "failed",
            started_ms=began,
            ended_ms=max(_ended(one) for one in played),
            params={"scenarios": ", ".join(dict.fromkeys(one.scenario for one in played))},
            metrics={
                "success_rate": len(passed) / len(played),
                "played": len(played),
                "seconds": sum(one.seconds for one in played),
            },
            tags={"atlas.kind": "scenarios"},
        )
    )
    for one in played:
        notes.tell(_note(one, key))


def _note(one: Played, parent: str) -> notes.RunNote:
    usage = one.usage
    metrics: dict[str, float | None] = {
        "passed": float(one.passed),
        "turns": usage.turns,
        "tokens": usage.input_tokens + usage.output_tokens,
        "cost_usd": usage.cost_usd,
        "used": one.used,
        "seconds": one.seconds,
    }
    return notes.RunNote(
        key=f"{parent} {one.scenario} {one.number}",
        name=f"scenario {one.scenario}",
        parent=parent,
        status="completed" if one.passed else "failed",
        started_ms=one.began_ms,
        ended_ms=_ended(one),
        params={"scenario": one.scenario, "number": str(one.number)},
        metrics={name: float(value) for name, value in metrics.items() if value is not None},
        tags={"atlas.kind": "scenario"},
        artifacts={"failures.md": "".join(f"- {line}\n" for line in one.failures)} if one.failures else {},
        trace_ids=list(one.trace_ids),
    )


def _ended(one: Played) -> int:
    return one.began_ms + round(one.seconds * 1_000)
