"""What a change makes of a block's value, or why it is refused; and who makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atlas_mcp.errors import InvalidInput, OverLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_mcp.model.memory import Operation, Replacement


@dataclass(frozen=True, slots=True)
class Author:
    """Who changes a block: caller, agent:NAME (by which tool, in which turn), atlas, roster."""

    name: str = "caller"
    tool: str | None = None
    turn_id: str | None = None

    @property
    def is_agent(self) -> bool:
        """Whether it is an agent, whom blocks may refuse."""
        return self.name.startswith("agent:")


def changed_value(
    now: str, limit: int, *, value: str | None, append: str | None, replace: Replacement | None
) -> tuple[Operation, str]:
    """The operation and the new value. Raises InvalidInput unless exactly one change is given, and OverLimit."""
    given = {"value": value, "append": append, "replace": replace}
    named = [name for name, change in given.items() if change is not None]
    if len(named) != 1:
        raise InvalidInput(
            f"exactly one of value, append and replace must be given, not {' and '.join(named) or 'none'}.",
            argument="value",
            allowed=tuple(given),
        )
    operation, after = _replaced(now, replace) if replace else _written(now, value, append)
    check_limit(operation, now, after, limit)
    return operation, after


def restored_value(old: str) -> Callable[[str, int], tuple[Operation, str]]:
    """The change that gives a block an old value again; OverLimit if the block holds less by now."""

    def change(now: str, limit: int) -> tuple[Operation, str]:
        check_limit("revision", now, old, limit)
        return "undo", old

    return change


def check_limit(argument: str, now: str, after: str, limit: int) -> None:
    """OverLimit for a value that is too long; one that is so already may still be made shorter."""
    if len(after) > limit and len(after) >= len(now):
        over = f"The block is at {len(now):,} characters; shorten the change or the block by {len(after) - limit:,}."
        raise OverLimit(argument, len(after), limit, next_step=over)


def _written(now: str, value: str | None, append: str | None) -> tuple[Operation, str]:
    if value is not None:
        return "value", value
    return "append", f"{now}\n{append}" if now else str(append)


def _replaced(now: str, replace: Replacement) -> tuple[Operation, str]:
    times = now.count(replace.old)
    if times != 1:
        found = "does not occur in the block" if times == 0 else f"occurs {times} times in the block"
        step = "Read the block and copy the passage exactly." if times == 0 else "Give more of the text around it."
        raise InvalidInput(f"`old` {found}; it must occur exactly once.", argument="replace", next_step=step)
    return "replace", now.replace(replace.old, replace.new)
