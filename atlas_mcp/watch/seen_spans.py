"""Spans read back from the home: from MLflow's database there, and from the spool, where they wait for it.

Read with plain SQL, so that nothing of MLflow is loaded, and read only: nothing is locked, moved or sent. Traces that
went to an MLflow elsewhere are not here. A file that cannot be read is one that holds nothing, and is named.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Collection, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from atlas_mcp.watch.spool import BrokenSpoolFile, read, waiting

if TYPE_CHECKING:
    from pathlib import Path

MOST_CALLS = 5_000
_BUSY_SECONDS = 5.0
_AT_ONCE = 200
_HEX = 16
_ERROR = 2  # OpenTelemetry's status code


@dataclass(frozen=True)
class Seen:
    """One span. Times are nanoseconds since 1970; attributes as they were set, texts of JSON unread."""

    trace: str
    span: str
    parent: str
    name: str
    start: int
    end: int
    ok: bool
    said: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def kind(self) -> str:
        """MLflow's kind of span, such as TOOL; empty where it has none."""
        return str(self.attributes.get("mlflow.spanType", ""))

    @property
    def given(self) -> str:
        """Its inputs, as text."""
        return shown(self.attributes.get("mlflow.spanInputs"))

    @property
    def gave(self) -> str:
        """Its outputs, as text."""
        return shown(self.attributes.get("mlflow.spanOutputs"))


@dataclass(frozen=True)
class Found:
    """The spans, in the order they began, where they are from, and what could not be read."""

    spans: tuple[Seen, ...] = ()
    places: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def spans_of(home: Path, traces: Collection[str]) -> Found:
    """All spans of these traces (ids as MLflow writes them) that the home has."""
    wanted = {trace.removeprefix("tr-") for trace in traces}
    spans: dict[tuple[str, str], Seen] = {}
    places: list[str] = []
    problems: list[str] = []
    # The spool first: what leaves it meanwhile is in the database by then.
    readers = (("the spool", _in_spool), ("MLflow's database", _in_database))
    for place, reader in readers if wanted else ():
        try:
            found = {(one.trace, one.span): one for one in reader(home, wanted)}
        except (sqlite3.Error, OSError) as error:
            problems.append(f"{place} cannot be read: {error}")
            continue
        places += [place] if found else []
        spans = found | spans
    return Found(tuple(sorted(spans.values(), key=lambda one: one.start)), tuple(places), tuple(problems))


def tool_spans(home: Path, since_ns: int) -> Generator[Seen]:
    """The newest MOST_CALLS tool calls of agents in the home's MLflow database since then. Raises sqlite3.Error."""
    query = (
        "SELECT content, trace_id FROM spans WHERE type = 'TOOL' AND name LIKE 'execute_tool %' "
        "AND start_time_unix_nano >= ? ORDER BY start_time_unix_nano DESC LIMIT ?"
    )
    yield from _selected(home, query, (since_ns, MOST_CALLS))


def shown(value: Any) -> str:
    """A value of an attribute as text: JSON of a text is that text, other JSON stays as it is."""
    if not isinstance(value, str):
        return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)
    try:
        held = json.loads(value)
    except ValueError:
        return value
    return held if isinstance(held, str) else value


def _in_database(home: Path, wanted: Collection[str]) -> Generator[Seen]:
    ids = [f"tr-{one}" for one in wanted]
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        yield from _selected(home, f"SELECT content, trace_id FROM spans WHERE trace_id IN ({marks})", some)  # noqa: S608 - marks


def _selected(home: Path, query: str, values: Collection[Any]) -> Generator[Seen]:
    path = home / "mlflow.db"
    if not path.exists():
        return
    address = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'spans'").fetchone():
            return
        for content, trace in connection.execute(query, tuple(values)):
            if span := _kept(content, trace):
                yield span


def _kept(content: str, trace: str) -> Seen | None:
    """A span as MLflow keeps it: JSON whose attributes are each JSON of their own."""
    try:
        row = cast("dict[str, Any]", json.loads(content))
        attributes = {key: _unpacked(value) for key, value in dict(row.get("attributes") or {}).items()}
        status = cast("dict[str, Any]", row.get("status") or {})
        start = int(row["start_time_unix_nano"])
        return Seen(
            trace=trace.removeprefix("tr-"),
            span=_hexadecimal(row["span_id"]),
            parent=_hexadecimal(row.get("parent_span_id") or ""),
            name=str(row["name"]),
            start=start,
            end=int(row.get("end_time_unix_nano") or start),
            ok="ERROR" not in str(status.get("code", "")),
            said=str(status.get("message") or ""),
            attributes=attributes,
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _hexadecimal(identity: str) -> str:
    """An id as the spool has it; MLflow writes it in base 64."""
    return identity if len(identity) == _HEX else base64.b64decode(identity).hex()


def _unpacked(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _in_spool(home: Path, wanted: Collection[str]) -> Generator[Seen]:
    for file in waiting(home / "spool"):
        try:
            batch = read(file.path)
        except (BrokenSpoolFile, FileNotFoundError):
            continue  # the carrier has it, or will set it aside and say so
        for row in batch.spans:
            if row.get("trace") in wanted:
                yield Seen(
                    trace=row["trace"],
                    span=row["span"],
                    parent=row["parent"] or "",
                    name=row["name"],
                    start=row["start"] or 0,
                    end=row["end"] or row["start"] or 0,
                    ok=row["status"] != _ERROR,
                    said=row["said"] or "",
                    attributes=row["attributes"],
                )
