"""MLflow told of an evaluation: one run with its scores, and each attempt's scores as feedback on its trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.watch import notes

if TYPE_CHECKING:
    from atlas_mcp.model.evaluated import Attempt, Evaluation

_JUDGED = frozenset({"rating", "criteria"})
_MEASURED = frozenset({"seconds", "tokens", "cost_usd"})


def tell(evaluation: Evaluation) -> None:
    """Tell of an evaluation that has ended. Costs no time and never raises; needs tracing to be open."""
    began, ended = evaluation.began_at, evaluation.ended_at or evaluation.began_at
    variant = evaluation.variant
    params = {"set": evaluation.suite, "variant": variant.name, "digest": evaluation.digest, "judge": evaluation.judge}
    params |= {"models": ", ".join(evaluation.models), "prompts": ", ".join(sorted(variant.prompts))}
    params |= {"examples": str(len(evaluation.examples)), "repeat": str(evaluation.repeat)}
    notes.tell(
        notes.RunNote(
            key=f"evaluation {evaluation.name} {began.isoformat()}",
            name=f"evaluation {evaluation.name}",
            status="completed" if evaluation.ended_at else "failed",
            started_ms=int(began.timestamp() * 1000),
            ended_ms=int(ended.timestamp() * 1000),
            params=params,
            metrics=evaluation.means,
            tags={"atlas.kind": "evaluation"},
            artifacts={"attempts.md": _table(evaluation)},
            trace_ids=[attempt.trace_id for attempt in evaluation.attempts if attempt.trace_id],
        )
    )
    for attempt in evaluation.attempts:
        for score, value in attempt.scores.items():
            if attempt.trace_id and score not in _MEASURED:
                notes.tell(
                    _feedback(evaluation, attempt, attempt.trace_id, score, value, int(ended.timestamp() * 1000))
                )


def _feedback(
    evaluation: Evaluation, attempt: Attempt, trace_id: str, score: str, value: float, at_ms: int
) -> notes.FeedbackNote:
    return notes.FeedbackNote(
        key=f"evaluation {evaluation.name} {evaluation.began_at.isoformat()} {trace_id} {score}",
        trace_id=trace_id,
        name=f"eval.{score}",
        value=value,
        rationale=f"Example {attempt.example}, attempt {attempt.repeat}, in the evaluation {evaluation.name}.",
        source="agent" if score in _JUDGED else "code",
        source_id=f"raters {evaluation.judge}" if score in _JUDGED else "atlas-mcp eval",
        at_ms=at_ms,
    )


def _table(evaluation: Evaluation) -> str:
    names = list(evaluation.means)
    lines = [f"| example | attempt | status | {' | '.join(names)} |", "|---" * (len(names) + 3) + "|"]
    for attempt in evaluation.attempts:
        values = (f"{attempt.scores[name]:.4g}" if name in attempt.scores else "" for name in names)
        lines.append(f"| {attempt.example} | {attempt.repeat} | {attempt.status} | {' | '.join(values)} |")
    return "\n".join(lines)
