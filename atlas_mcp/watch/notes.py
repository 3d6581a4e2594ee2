"""Notes: what MLflow shall know beside spans, on the same way: the spool, then the carrier.

`tell` never raises and never waits: the note becomes a line of text, bounded and without what looks like a secret, and
is queued with the spans. So what holds for spans holds for notes: kept on disk, within the spool's bounds, sent by the
next process if this one is killed. Every note has a `key`, by which MLflow is told it once however often it arrives.

Limits: 6,000 characters of a parameter or tag, 8,000 of a rationale, 100,000 of a prompt and of one artifact, 400,000
of all artifacts of a note, 500 traces, 200 parameters and tags, 1,000 values of metrics.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from atlas_mcp.model._base import Frozen
from atlas_mcp.watch.payload import REDACTED, clean, is_secret_key

MAX_WORDS: Final = 6_000
MAX_ARTIFACT: Final = 100_000
MAX_ARTIFACTS: Final = 400_000
MAX_TRACES: Final = 500
MAX_ENTRIES: Final = 200
MAX_VALUES: Final = 1_000

_log = logging.getLogger(__name__)
_takers: list[Callable[[str], None]] = []


# None of these is built before the first is made: a server that lists its tools has told nothing yet.
class Step(Frozen, defer_build=True):
    """One metric's value in one round, turn or whatever counts the steps."""

    name: str
    step: int
    value: float


class RunNote(Frozen, defer_build=True):
    """A piece of work that has ended, as a run of MLflow; a run with a `parent` (its key) is shown below that one.

    Times are milliseconds since 1970. `artifacts` are texts by file name, `trace_ids` the traces it was done in. `user`
    is the caller as MLflow knows it: hashed.
    """

    kind: Literal["run"] = "run"
    key: str
    name: str
    status: Literal["completed", "failed", "cancelled"]
    started_ms: int
    ended_ms: int
    params: dict[str, str] = Field(default_factory=dict[str, str])
    metrics: dict[str, float] = Field(default_factory=dict[str, float])
    steps: list[Step] = Field(default_factory=list[Step])
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    artifacts: dict[str, str] = Field(default_factory=dict[str, str])
    trace_ids: list[str] = Field(default_factory=list[str])
    parent: str | None = None
    user: str | None = None


class FeedbackNote(Frozen, defer_build=True):
    """What somebody or something found of a trace; it waits for the trace if MLflow has not got that yet."""

    kind: Literal["feedback"] = "feedback"
    key: str
    trace_id: str
    name: str
    value: bool | float | str
    rationale: str = ""
    source: Literal["human", "code", "judge", "agent"]
    source_id: str
    at_ms: int


class MetricsNote(Frozen, defer_build=True):
    """Values at one moment, in the run of MLflow that holds the series: "health", "agents", "teams"."""

    kind: Literal["metrics"] = "metrics"
    key: str
    series: str
    values: dict[str, float]
    at_ms: int


class PromptNote(Frozen, defer_build=True):
    """A version of a prompt, for MLflow's registry; `promoted`: the one in use from now on."""

    kind: Literal["prompt"] = "prompt"
    key: str
    name: str
    version: int
    text: str
    tags: dict[str, str] = Field(default_factory=dict[str, str])
    promoted: bool = False


Note = RunNote | FeedbackNote | MetricsNote | PromptNote

_READER: Final[TypeAdapter[Note]] = TypeAdapter(
    Annotated[Note, Field(discriminator="kind")], config=ConfigDict(defer_build=True)
)


def tell(note: Note) -> bool:
    """Queue the note for MLflow; False if nobody takes notes in this process, or it cannot be written down."""
    if not _takers:
        return False
    try:
        line = f'{{"note":{_bounded(note).model_dump_json(exclude_defaults=True, exclude={"kind"})}'
        _takers[-1](f'{line},"kind":"{note.kind}"}}')
    except Exception:  # noqa: BLE001 - whoever tells is at work on something that matters more
        _log.warning("a note of kind %s could not be written down", note.kind, exc_info=True)
        return False
    return True


def read_note(row: Mapping[str, Any]) -> Note:
    """The note in a line of the spool. Raises ValueError for one that is none."""
    return _READER.validate_python({**row["note"], "kind": row["kind"]})


@contextmanager
def taken_by(take: Callable[[str], None]) -> Generator[None]:
    """Give every note's line to `take` while the body runs."""
    _takers.append(take)
    try:
        yield
    finally:
        _takers.remove(take)


def _bounded(note: Note) -> Note:
    match note:
        case RunNote():
            change: dict[str, Any] = {
                "name": clean(note.name, 250),
                "params": _words(note.params),
                "tags": _words(note.tags),
                "metrics": _finite(note.metrics),
                "steps": [step for step in note.steps if math.isfinite(step.value)][:MAX_VALUES],
                "artifacts": _texts(note.artifacts),
                "trace_ids": note.trace_ids[:MAX_TRACES],
            }
        case FeedbackNote():
            value = clean(note.value, MAX_WORDS) if isinstance(note.value, str) else note.value
            change = {"value": value, "rationale": clean(note.rationale)}
        case MetricsNote():
            change = {"values": _finite(note.values)}
        case PromptNote():
            change = {"text": clean(note.text, MAX_ARTIFACT), "tags": _words(note.tags)}
    return note.model_copy(update=change)


def _words(named: Mapping[str, str]) -> dict[str, str]:
    kept = islice(named.items(), MAX_ENTRIES)
    return {name: REDACTED if _is_secret(name, text) else clean(text, MAX_WORDS - 40) for name, text in kept}


def _is_secret(name: str, text: str) -> bool:
    return is_secret_key(name) and not text.replace(".", "").isdigit()  # a budget in tokens is a count


def _finite(named: Mapping[str, float]) -> dict[str, float]:
    return dict(islice(((name, value) for name, value in named.items() if math.isfinite(value)), MAX_VALUES))


def _texts(named: Mapping[str, str]) -> dict[str, str]:
    left, kept = MAX_ARTIFACTS, dict[str, str]()
    for name, text in named.items():
        kept[name] = clean(text, max(0, min(MAX_ARTIFACT, left)))
        left -= len(kept[name])
    return kept
