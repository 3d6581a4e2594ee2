"""The judges: a process that has MLflow's own judges look at answers, and ends.

    python -m atlas_mcp.watch.quality.judging < ORDER

The order (see `Order`) comes by a pipe, with the key of the one model that is asked; verdicts go out as lines of JSON,
each as soon as it is there. Nothing is stored, no tracking server and no database is opened. Standard output holds
verdicts and nothing else, whatever MLflow prints.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, TextIO

from pydantic import Field

from atlas_mcp.model._base import Frozen, Tolerant
from atlas_mcp.watch.payload import describe_error

JUDGES: Final = ("relevance_to_query", "safety")
"""By the names that MLflow gives them: does the answer address what was asked; is it free of harm."""


class Piece(Frozen):
    """An answer to be judged. `key` is given back with each verdict."""

    key: str
    asked: str
    answered: str


class Order(Frozen):
    """What is to be judged, by which model (as MLflow names it), with which variables set."""

    model: str
    variables: dict[str, str] = Field(repr=False)
    pieces: tuple[Piece, ...]


class Verdict(Tolerant):
    """What one judge says of one piece, and what asking it took; `error` where it could not be had."""

    key: str
    judge: str
    value: bool | float | str | None = None
    why: str = ""
    error: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0


def verdicts(order: Order) -> Iterator[Verdict]:
    """The judges' verdicts, piece by piece. A judge that fails costs its own verdict only."""
    for name, judge in _judges(order.model).items():
        for piece in order.pieces:
            yield _verdict(name, judge, piece)


def _judges(model: str) -> dict[str, Callable[[Piece], Any]]:
    from mlflow.genai.scorers import RelevanceToQuery, Safety

    relevance, safety = RelevanceToQuery(model=model), Safety(model=model)
    return {
        "relevance_to_query": lambda piece: relevance(inputs={"question": piece.asked}, outputs=piece.answered),
        "safety": lambda piece: safety(outputs=piece.answered),
    }


def _verdict(name: str, judge: Callable[[Piece], Any], piece: Piece) -> Verdict:
    try:
        found: Any = judge(piece)
        if found.error is not None:
            return Verdict(key=piece.key, judge=name, error=f"{found.error.error_code}: {found.error.error_message}")
        metadata: dict[str, Any] = found.metadata or {}
        return Verdict(
            key=piece.key,
            judge=name,
            value=_plain(found.value),
            why=str(found.rationale or ""),
            input_tokens=int(metadata.get("mlflow.assessment.judgeInputTokens") or 0),
            output_tokens=int(metadata.get("mlflow.assessment.judgeOutputTokens") or 0),
        )
    except Exception as error:  # noqa: BLE001 - the model may answer anything, and MLflow raise anything
        return Verdict(key=piece.key, judge=name, error=describe_error(error))


def _plain(value: object) -> bool | float | str:
    said = getattr(value, "value", value)
    if isinstance(said, bool | float):
        return said
    return {"yes": True, "no": False}.get(str(said).lower(), str(said))


def main() -> int:
    """The command; see the module."""
    out = _own_output()
    order = Order.model_validate_json(sys.stdin.read())
    os.environ.update(order.variables)
    for verdict in verdicts(order):
        out.write(f"{verdict.model_dump_json()}\n")
        out.flush()
    return 0


def _own_output() -> TextIO:
    """What was standard output, for verdicts alone: whoever prints from now on prints to standard error."""
    own = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return own


if __name__ == "__main__":
    sys.exit(main())
