"""Materials as they enter: looked at when they are handed in, and again as the run that works on them begins.

What is refused is told before anything is stored. All else a run is given as the guard lets it go on: agents, raters
and the checks of quotations have one and the same text. The journal says what was found.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio.to_thread
from pydantic import TypeAdapter

from atlas_mcp.guard.entering import refuse
from atlas_mcp.guard.layers import About
from atlas_mcp.model.guard import Finding
from atlas_mcp.runs.changes import Kept, Spent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp.guard.entering import Checked, Entering
    from atlas_mcp.model.task import Material
    from atlas_mcp.runs.context import RunContext

_FINDINGS = TypeAdapter(tuple[Finding, ...])
_AT_ONCE = 50_000
"""Characters that are looked at in the event loop; more go to a thread."""


def check_materials(keeper: RoomsKeeper, materials: Sequence[Material]) -> None:
    """InvalidInput for one that must not enter at all; it names the rule and what to do."""
    if keeper.guard.entering is not None:
        for one in materials:
            keeper.guard.entering.admit("material", one.name, one.text)


async def enter_materials(keeper: RoomsKeeper, run: RunContext, materials: Sequence[Material]) -> tuple[Material, ...]:
    """The materials as they go on; what was found in them is told in the run's journal, once.

    InvalidInput for one that a validator model or the user's rails refuse.
    """
    entered, entering = list(materials), keeper.guard.entering
    for number, looked_at in enumerate(await _looked_at(entering, materials)):
        checked = looked_at
        if entering is not None and entering.judges and not looked_at.refused:
            checked = await _judged(entering, run, number, looked_at)
            refuse(checked)
        if not checked.findings or checked.refused:
            continue  # one that the settings refuse only since was accepted when it came
        entered[number] = materials[number].model_copy(update={"text": checked.text, "note": checked.note})
        key = f"guard:material:{number}"
        await run.emit("atlas", "guard_finding", checked.told(), key=key, findings=checked.data())
    return tuple(entered)


async def _judged(entering: Entering, run: RunContext, number: int, checked: Checked) -> Checked:
    """What the judges say of it, who are asked once in a run."""
    name = f"guard/material/{number}"
    if run.resumed and (known := await run.load(name)) is not None:
        return replace(checked, findings=_FINDINGS.validate_json(known))
    about = About(
        "material",
        name=checked.name,
        caller=run.caller,
        run_id=run.run_id,
        spent=lambda used: run.tell(Spent(used)),
    )
    checked = await entering.judged(checked, about)
    run.tell(Kept(name, _FINDINGS.dump_json(checked.findings).decode(), passing=True))
    return checked


async def _looked_at(entering: Entering | None, materials: Sequence[Material]) -> list[Checked]:
    if entering is None or not materials:
        return []

    def look() -> list[Checked]:
        return [entering.look("material", one.name, one.text) for one in materials]

    if sum(len(one.text) for one in materials) > _AT_ONCE:
        return await anyio.to_thread.run_sync(look)
    return look()
