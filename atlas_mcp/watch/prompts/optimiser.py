"""The process in which MLflow's optimiser proposes a better prompt: `python -m atlas_mcp.watch.prompts.optimiser`.

It reads an Order from stdin, and writes a Proposal to stdout and nothing else: what MLflow prints goes to stderr. Keys
come in the order alone and are in no argument and in no file. MLflow's MetaPromptOptimizer is given what went wrong as
the evaluation of the present prompt, and asks the model once; where no usable text comes of it, a second time with the
reason. Of its own evaluation of the new text nothing is used: whether that is better is measured elsewhere. MLflow is
used without any store, so that nothing is registered that nobody has judged.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from pydantic import Field

from atlas_mcp.model._base import Frozen
from atlas_mcp.watch.prompts.evidence import Piece

if TYPE_CHECKING:
    from collections.abc import Callable

TRIES = 2
"""How often the model is asked at most: once more where its text cannot be used."""


class Order(Frozen):
    """What is to be bettered, by which model, and what it may take. `variables` are MLflow's, the key among them."""

    name: str
    text: str
    pieces: tuple[Piece, ...]
    guidelines: str
    longest: int = Field(description="Characters that the new text may have.")
    model: str
    variables: dict[str, str]
    input_tokens: int = Field(description="Estimated tokens of one question, where the model does not tell.")
    output_tokens: int = Field(gt=0, description="Tokens that one answer may have.")
    tries: int = Field(default=TRIES, ge=1)


class Proposal(Frozen):
    """The new text, or why there is none, and what it took."""

    text: str | None = None
    problem: str = ""
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = Field(default=False, description="Whether the model did not tell its tokens.")


class _Proposed(Exception):
    """Ends the optimiser's work when the model has proposed something: how good that is, is not asked here."""


def main() -> None:
    """Do the order on stdin."""
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever prints must not mix with the answer
    order = Order.model_validate_json(sys.stdin.buffer.read())
    os.environ.update(order.variables)
    proposal = propose(order)
    with os.fdopen(answers, "w", encoding="utf-8") as pipe:
        pipe.write(proposal.model_dump_json())


def propose(order: Order) -> Proposal:
    """What the model proposes. Sets nothing up outside of this process."""
    usage = _Usage(order)
    usage.count_all_calls()
    problem, guidelines = "", order.guidelines
    for _ in range(order.tries):
        text, problem = _attempt(order, guidelines)
        problem = problem or _unfit(order, text)
        if not problem:
            return usage.told(Proposal(text=text))
        guidelines = f"{order.guidelines}\nYour last proposal could not be used: {problem}. Mend that."
    return usage.told(Proposal(problem=problem))


def _attempt(order: Order, guidelines: str) -> tuple[str, str]:
    """The text that the optimiser gives, or what kept it from giving any."""
    from mlflow.genai.optimize.optimizers import MetaPromptOptimizer

    optimizer = MetaPromptOptimizer(
        reflection_model=order.model,
        lm_kwargs={"max_completion_tokens": order.output_tokens},
        guidelines=guidelines,
    )
    given: list[str] = []
    with _Warnings() as said:
        try:
            optimizer.optimize(_results(order, given), [{"inputs": {}}], {order.name: order.text}, False)
        except _Proposed:
            return given[0].strip(), ""
    return "", " ".join((said[-1] if said else "the optimiser gave nothing").split())[:400]


def _results(order: Order, given: list[str]) -> Callable[[dict[str, str], list[Any]], list[Any]]:
    """What the optimiser takes for its evaluation: of the present text what is known, of the new one nothing."""
    from mlflow.genai.optimize.types import EvaluationResultRecord

    def evaluate(prompts: dict[str, str], _: list[Any]) -> list[Any]:
        if asked:
            given.append(prompts[order.name])
            raise _Proposed
        asked.append(True)
        return [
            EvaluationResultRecord(
                inputs={"message": piece.asked},
                outputs=piece.answered,
                expectations={},
                score=piece.score,
                trace=None,  # pyright: ignore[reportArgumentType]  # the optimiser looks at none
                rationales={f"reason {number}": reason for number, reason in enumerate(piece.reasons, 1)},
            )
            for piece in order.pieces
        ]

    asked: list[bool] = []
    return evaluate


def _unfit(order: Order, text: str) -> str:
    """Why the text cannot take the other's place; empty if it can."""
    if not text:
        return "it is empty"
    if len(text) > order.longest:
        return f"it has {len(text):,} characters, and may have {order.longest:,}"
    return "it is the present text, unchanged" if text == order.text else ""


class _Usage:
    """Counts what the model was asked, which the optimiser throws away. MLflow calls `track` with each answer."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._calls = self._silent = self._taken = self._given = 0

    def count_all_calls(self) -> None:
        """Have MLflow's calls of models counted, and tried again once where the connection fails, not five times."""
        from mlflow.genai.utils import llm_utils

        call: Callable[..., Any] = vars(llm_utils)["_call_llm"]

        def counted(model: str, messages: list[dict[str, str]], **options: Any) -> Any:
            self._calls += 1
            return call(model, messages, **{**options, "token_counter": self, "num_retries": 1})

        setattr(llm_utils, "_call_llm", counted)  # noqa: B010  # it has no public way to be counted

    def track(self, response: Any) -> None:
        """Count an answer's tokens."""
        usage = response.usage
        if usage is None or usage.prompt_tokens is None:
            self._silent += 1
        else:
            self._taken += usage.prompt_tokens
            self._given += usage.completion_tokens or 0

    def told(self, proposal: Proposal) -> Proposal:
        """The proposal with what it took; where a model's answer did not say, what was estimated of it."""
        return proposal.model_copy(
            update={
                "calls": self._calls,
                "input_tokens": self._taken + self._silent * self._order.input_tokens,
                "output_tokens": self._given + self._silent * self._order.output_tokens,
                "estimated": self._silent > 0,
            }
        )


class _Warnings(logging.Handler):
    """The optimiser's warnings while the body runs: it says why it failed nowhere else."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: list[str] = []
        self._logger = logging.getLogger("mlflow.genai.optimize.optimizers.metaprompt_optimizer")

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())

    def __enter__(self) -> list[str]:
        self._logger.addHandler(self)
        return self._said

    def __exit__(self, *error: object) -> None:
        self._logger.removeHandler(self)


if __name__ == "__main__":
    main()
