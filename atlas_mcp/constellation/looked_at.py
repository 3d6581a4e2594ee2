"""What is remembered, looked at by the guard before agents are given it: anybody may have written it once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.guard.entering import Entering
    from atlas_mcp.memory.relevant import Relevant
    from atlas_mcp.model.context import ContextItem


class LookedAt:
    """One caller's memory, as `memory.relevant` gives it; without a guard nothing is looked at."""

    def __init__(self, remembered: Relevant, entering: Entering | None) -> None:
        self._remembered = remembered
        self._entering = entering

    async def about(self, asked: str, *, project: str | None = None) -> list[ContextItem]:
        """What has to do with the text, as it may go on; what must not go on at all is left out."""
        found = await self._remembered.about(asked, project=project)
        if self._entering is None or not found:
            return found
        return [entered for one in found if (entered := _entered(self._entering, one)) is not None]

    async def forgotten(self, ids: Sequence[str]) -> frozenset[str]:
        """Which of these were forgotten since they were found."""
        return await self._remembered.forgotten(ids)


def _entered(entering: Entering, item: ContextItem) -> ContextItem | None:
    checked = entering.look("memory", item.id, item.text)
    if not checked.findings:
        return item
    if checked.refused:
        return None
    return item.model_copy(update={"text": checked.text, "note": checked.note, "findings": checked.findings})
