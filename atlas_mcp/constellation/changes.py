"""What a change makes of a block's value, or why it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.errors import InvalidInput, OverLimit

if TYPE_CHECKING:
    from atlas_mcp.model.memory import Operation, Replacement


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
    if len(after) > limit and len(after) >= len(now):  # what is over the limit already may still be made shorter
        over = f"The block is at {len(now):,} characters; shorten the change or the block by {len(after) - limit:,}."
        raise OverLimit(operation, len(after), limit, next_step=over)
    return operation, after


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
