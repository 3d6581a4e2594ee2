"""An agent's memory during one turn: a working copy that becomes real only when the turn does.

The turn's tools change the copy and note each change as a small operation. When the turn is written, a block that
nobody else touched gets the copy's value; one that changed meanwhile gets the operations applied again to its new
value, so that two agents adding to a shared block both keep their line. Where that is impossible the whole turn is a
409: nothing is overwritten unseen.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atlas_mcp.embedded.blocks import over_limit
from atlas_mcp.embedded.database import new_id, now
from atlas_mcp.embedded.faults import Refused

if TYPE_CHECKING:
    from atlas_mcp.embedded.doors import MemoryCheck


class MemoryRefused(ValueError):
    """Raised when a change does not fit; the text is for the model that asked for it."""


@dataclass
class WorkingBlock:
    id: str
    label: str
    value: str
    limit: int
    description: str | None
    read_only: bool
    version: int


@dataclass(frozen=True)
class Change:
    """One operation on a block: `insert` puts `new` in as line `line` (-1: the end), `replace` puts it for `old`."""

    block_id: str
    kind: str
    new: str
    old: str = ""
    line: int = -1


@dataclass(frozen=True)
class Note:
    """A passage for the archive."""

    text: str
    tags: tuple[str, ...] = ()


@dataclass
class WorkingMemory:
    blocks: dict[str, WorkingBlock]
    changes: list[Change] = field(default_factory=list[Change])
    notes: list[Note] = field(default_factory=list[Note])
    check: MemoryCheck | None = None

    def insert(self, label: str, text: str, line: int) -> str:
        """Adds a line. Raises MemoryRefused for an unknown or read-only block, a line out of range, a full block, and
        a text that must not be kept."""
        return self._apply(label, Change(self._block(label).id, "insert", text, line=line))

    def replace(self, label: str, old: str, new: str) -> str:
        """Puts `new` for the one occurrence of `old`. Raises MemoryRefused when it occurs never or more than once, and
        as `insert`."""
        return self._apply(label, Change(self._block(label).id, "replace", new, old=old))

    def add_note(self, text: str, tags: tuple[str, ...]) -> None:
        if not text.strip():
            raise MemoryRefused("The text for the archive is empty.")
        self._look(text)
        self.notes.append(Note(text, tags))

    def found_notes(self, words: list[str]) -> list[Note]:
        """Notes of this turn that hold any of the words: they are not in the archive yet."""
        return [note for note in self.notes if any(word.lower() in note.text.lower() for word in words)]

    def _apply(self, label: str, change: Change) -> str:
        block = self._block(label)
        self._look(change.new)
        block.value = applied(change, block.value, block.limit)
        self.changes.append(change)
        return block.value

    def _look(self, text: str) -> None:
        if self.check is not None and (why := self.check(text)):
            raise MemoryRefused(why)

    def _block(self, label: str) -> WorkingBlock:
        block = self.blocks.get(label)
        if block is None:
            raise MemoryRefused(f"There is no memory block {label!r}. Your blocks: {', '.join(self.blocks) or 'none'}.")
        if block.read_only:
            raise MemoryRefused(f"The memory block {label!r} is read-only.")
        return block


def applied(change: Change, value: str, limit: int) -> str:
    """The value after the change. Raises MemoryRefused when it does not fit."""
    after = _inserted(change, value) if change.kind == "insert" else _replaced(change, value)
    if len(after) > limit:
        raise MemoryRefused(f"{over_limit(len(after), limit)}. Shorten it, or replace what is no longer needed.")
    return after


def _inserted(change: Change, value: str) -> str:
    if not value:
        return change.new
    lines = value.split("\n")
    if change.line < -1 or change.line > len(lines):
        raise MemoryRefused(
            f"insert_line {change.line} is outside of the block: use -1 for the end, or 0 to {len(lines)}."
        )
    at = len(lines) if change.line == -1 else change.line
    return "\n".join([*lines[:at], change.new, *lines[at:]])


def _replaced(change: Change, value: str) -> str:
    found = value.count(change.old) if change.old else 0
    if found == 0:
        raise MemoryRefused(
            f"old_string {change.old[:200]!r} does not occur in the block: copy it exactly, with its case."
        )
    if found > 1:
        raise MemoryRefused(
            f"old_string occurs {found} times: copy more of what stands around it, so that it is one place."
        )
    return value.replace(change.old, change.new)


def load(rows: list[sqlite3.Row], changes: str | None = None, check: MemoryCheck | None = None) -> WorkingMemory:
    """The working copy of the given block rows, with the changes of an earlier part of the turn done again."""
    memory = WorkingMemory({row["label"]: _working(row) for row in rows}, check=check)
    if changes:
        noted = json.loads(changes)
        memory.notes = [Note(note["text"], tuple(note["tags"])) for note in noted["notes"]]
        memory.changes = [Change(**change) for change in noted["changes"]]
        by_id = {block.id: block for block in memory.blocks.values()}
        for change in memory.changes:
            block = by_id.get(change.block_id)
            if block is not None:
                block.value = _again(change, block.value, block.limit)
    return memory


def dump(memory: WorkingMemory) -> str:
    """The changes as text, for the time in which the turn waits for its caller."""
    notes = [{"text": note.text, "tags": list(note.tags)} for note in memory.notes]
    return json.dumps({"changes": [vars(change) for change in memory.changes], "notes": notes})


def commit(connection: sqlite3.Connection, agent_id: str, memory: WorkingMemory) -> None:
    """Makes the changes real, in the turn's transaction. Raises a 409 when a block changed so that they do not fit."""
    moment = now()
    copies = {block.id: block for block in memory.blocks.values()}
    for block_id in dict.fromkeys(change.block_id for change in memory.changes):
        value = _final(connection, block_id, copies.get(block_id), memory.changes)
        connection.execute(
            "UPDATE block SET value = ?, version = version + 1, updated_at = ? WHERE id = ?", (value, moment, block_id)
        )
    for note in memory.notes:
        add_passage(connection, agent_id, note.text, note.tags, moment)


def _final(connection: sqlite3.Connection, block_id: str, copy: WorkingBlock | None, changes: list[Change]) -> str:
    row = connection.execute("SELECT value, size_limit, read_only, version FROM block WHERE id = ?", (block_id,))
    now_there = row.fetchone()
    if now_there is None or now_there["read_only"]:
        gone = "deleted" if now_there is None else "made read-only"
        raise Refused(409, f"CONFLICT: block '{block_id}' was {gone} while the agent changed it")
    if copy is not None and copy.version == now_there["version"]:
        return copy.value
    value: str = now_there["value"]
    for change in changes:
        value = _again(change, value, now_there["size_limit"]) if change.block_id == block_id else value
    return value


def add_passage(connection: sqlite3.Connection, agent_id: str, text: str, tags: tuple[str, ...], moment: str) -> str:
    """Puts a passage into the agent's archive and gives its id."""
    passage_id = new_id("passage")
    connection.execute(
        "INSERT INTO passage (id, agent_id, text, tags, metadata, created_at, updated_at)"
        " VALUES (?, ?, ?, ?, '{}', ?, ?)",
        (passage_id, agent_id, text, json.dumps(tags), moment, now()),
    )
    return passage_id


def _working(row: sqlite3.Row) -> WorkingBlock:
    read_only = bool(row["read_only"])
    return WorkingBlock(
        row["id"], row["label"], row["value"], row["size_limit"], row["description"], read_only, row["version"]
    )


def _again(change: Change, value: str, limit: int) -> str:
    try:
        return applied(change, value, limit)
    except MemoryRefused as error:
        raise Refused(409, f"CONFLICT: block '{change.block_id}' changed while the agent changed it: {error}") from None
