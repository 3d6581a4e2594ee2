"""What agents do to their blocks: the two core-memory tools, as their models see them and as changes of a value.

They are Letta's own by name and meaning. Where Letta executes them, a change is read back from the turn's calls; where
ATLAS does, a call is carried out here. What does not fit is refused with a text that the agent can use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from atlas_mcp.errors import ToolFailed
from atlas_mcp.model.turn import ToolSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atlas_mcp.letta.states import ToolCall
    from atlas_mcp.model.memory import Operation

INSERT, REPLACE = "memory_insert", "memory_replace"
CORE_TOOLS = (INSERT, REPLACE)
"""Those of Letta's memory tools that change blocks."""


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")

    label: str
    new_string: str


class _InsertArguments(_Arguments):
    insert_line: float = -1


class _ReplaceArguments(_Arguments):
    old_string: str


@dataclass(frozen=True, slots=True)
class Change:
    """One call: `new` is put in after line `line` (-1: at the end), or in the place of `old`."""

    tool: str
    label: str
    new: str
    old: str = ""
    line: int = -1

    @property
    def operation(self) -> Operation:
        """What it is called in the history."""
        return "append" if self.tool == INSERT else "replace"

    def applied(self, value: str) -> str:
        """The value after the change; ToolFailed where it does not fit."""
        return self._inserted(value) if self.tool == INSERT else self._replaced(value)

    def undone(self, value: str) -> str | None:
        """A value that this change makes into the given one; None if there is none."""
        before = self._taken_out(value) if self.tool == INSERT else self._put_back(value)
        return before if before is not None and all_applied([self], before) == value else None

    def _inserted(self, value: str) -> str:
        if not value:
            return self.new
        lines = value.split("\n")
        if self.line < -1 or self.line > len(lines):
            raise ToolFailed(
                f"insert_line {self.line} is outside of the block: use -1 for the end, or 0 to {len(lines)}."
            )
        at = len(lines) if self.line == -1 else self.line
        return "\n".join([*lines[:at], self.new, *lines[at:]])

    def _replaced(self, value: str) -> str:
        found = value.count(self.old) if self.old else 0
        if found == 0:
            raise ToolFailed(
                f"old_string {self.old[:200]!r} does not occur in the block: copy it exactly, with its case."
            )
        if found > 1:
            raise ToolFailed(
                f"old_string occurs {found} times: copy more of what stands around it, so that it is one place."
            )
        return value.replace(self.old, self.new)

    def _taken_out(self, value: str) -> str | None:
        if value == self.new:
            return ""
        lines, size = value.split("\n"), self.new.count("\n") + 1
        at = len(lines) - size if self.line == -1 else self.line
        return "\n".join([*lines[:at], *lines[at + size :]]) if at >= 0 else None

    def _put_back(self, value: str) -> str | None:
        return value.replace(self.new, self.old) if self.new and value.count(self.new) == 1 else None


def read_change(tool: str, arguments: Mapping[str, Any]) -> Change:
    """The change that a call asks for; ToolFailed for arguments that do not fit."""
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        if tool == INSERT:
            insert = _InsertArguments.model_validate(given)
            return Change(tool, insert.label, insert.new_string, line=int(insert.insert_line))
        replace = _ReplaceArguments.model_validate(given)
        return Change(tool, replace.label, replace.new_string, old=replace.old_string)
    except ValidationError as error:
        first = error.errors()[0]
        takes = ", ".join(_spec(tool).parameters["properties"])
        where = ".".join(map(str, first["loc"]))
        raise ToolFailed(f"{tool}: {where}: {first['msg'][0].lower()}{first['msg'][1:]}. It takes: {takes}.") from error


def made_by(calls: Sequence[ToolCall]) -> dict[str, list[Change]]:
    """The changes that Letta carried out for these calls, by label, in order."""
    made: dict[str, list[Change]] = {}
    for call in calls:
        if call.ok and call.name in CORE_TOOLS:
            change = read_change(call.name, call.arguments)
            made.setdefault(change.label, []).append(change)
    return made


def all_applied(changes: Sequence[Change], value: str) -> str | None:
    """The value after all of them; None where one does not fit."""
    try:
        for change in changes:
            value = change.applied(value)
    except ToolFailed:
        return None
    return value


def all_undone(changes: Sequence[Change], value: str) -> str | None:
    """A value that all of them make into the given one; None if there is none."""
    before: str | None = value
    for change in reversed(changes):
        before = None if before is None else change.undone(before)
    return before


def _spec(tool: str) -> ToolSpec:
    return next(spec for spec in CORE_SPECS if spec.name == tool)


def _text(description: str) -> dict[str, str]:
    return {"type": "string", "description": description}


_LABEL = _text("The block's label.")
CORE_SPECS = (
    ToolSpec(
        name=INSERT,
        description="Add a line to one of your memory blocks.",
        parameters={
            "type": "object",
            "properties": {
                "label": _LABEL,
                "new_string": _text("The text to add."),
                "insert_line": {
                    "type": "integer",
                    "description": "After which line to put it: 0 for the beginning, -1 (the default) for the end.",
                },
            },
            "required": ["label", "new_string"],
        },
    ),
    ToolSpec(
        name=REPLACE,
        description="Replace a piece of text in one of your memory blocks; an empty new_string removes it.",
        parameters={
            "type": "object",
            "properties": {
                "label": _LABEL,
                "old_string": _text("The text as it stands in the block, exactly and only once."),
                "new_string": _text("The text to put in its place."),
            },
            "required": ["label", "old_string", "new_string"],
        },
    ),
)
"""The tools as the models of those agents see them for whom ATLAS executes them."""
