"""What needs the caller's yes in one agent's turn: held, asked as a question of the run, and made once if approved.

Promise: a call that needs a yes is not made in the turn; it is stored with its exact arguments and put to the caller,
and the agent is told at once. When the turn is over `came_to` waits for the answers, makes what was approved, once, and
says what came of it for the agent's next message. A process that takes the run over finds all of it as it stands. Who
does not answer in time has said no.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from atlas_mcp.errors import ToolFailed
from atlas_mcp.model.question import Asking
from atlas_mcp.model.sections import section
from atlas_mcp.reach import consents, held

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from atlas_mcp.constellation.tool import Tool
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.permissions import Approval
    from atlas_mcp.reach.held import HeldCall, State
    from atlas_mcp.store.record import Record

    Make = Callable[[HeldCall], Awaitable[str]]

ONCE, IN_RUN, ALWAYS, REJECT = "approve", "approve for this run", "always approve", "reject"
MOST_HELD = 30
"""Calls that one run may hold."""
SHOWN = 3_000
"""Characters of the arguments that a question shows."""
_ROOM = 60_000  # characters of results that the agent's next message has room for
_OPTIONS: dict[Approval, tuple[str, ...]] = {
    "ask": (ONCE, IN_RUN, ALWAYS, REJECT),
    "run": (IN_RUN, ALWAYS, REJECT),
    "always": (ALWAYS, REJECT),
}
_UNKNOWN = "It was begun, and the process that made it ended before it did: what became of it is not known."


class AskingRun(Protocol):
    """The run that carries the questions; `ask` raises Waiting while there is no answer."""

    @property
    def run_id(self) -> str: ...

    @property
    def caller(self) -> Caller: ...

    @property
    def resumed(self) -> bool: ...

    async def emit(
        self, actor: str, type: str, text: str, *, turn_id: str | None = None, key: str | None = None, **data: Any
    ) -> object: ...

    async def put(self, asking: Asking, *, key: str, most: int | None = None) -> bool: ...

    async def ask(self, asking: Asking, *, key: str) -> str: ...


class Approvals:
    """What waits for a yes in one turn of an agent; `turn` is the turn's key in its run, the same in every attempt."""

    def __init__(self, record: Record, run: AskingRun, agent: str, turn: str) -> None:
        self._record = record
        self._run = run
        self._agent = agent
        self._turn = turn
        self._held = False

    @property
    def waiting(self) -> bool:
        """Whether there may be something that `came_to` has to see to."""
        return self._held or self._run.resumed

    @property
    def holds(self) -> bool:
        """Whether a call of this turn was held in this process."""
        return self._held

    async def open(self) -> bool:
        """Whether the caller has still to be asked about a call of the turn, or its answer to be taken."""
        return any(call.state == "asked" for call in await self._calls())

    async def _calls(self) -> list[HeldCall]:
        async with self._record.look() as db:
            return await held.of_turn(db, self._run.run_id, self._turn)

    async def admit(self, tool: Tool, arguments: Mapping[str, Any]) -> str | None:
        """None where the call may be made now; else it is held, and this is what the agent is told.

        ToolFailed where the caller rejected exactly this call in the run before, or the run holds too many.
        """
        caller, run_id = self._run.caller.id, self._run.run_id
        async with self._record.look() as db:
            if await consents.covers(db, caller, tool.name, tool.marks, run_id):
                return None
        call = held.new(
            caller, run_id, self._turn, self._agent, tool.name, arguments, marks=tool.marks, approval=tool.approval
        )
        async with self._record.write(caller) as db:
            if await held.refused_before(db, call):
                raise ToolFailed(f"{tool.name}: exactly this call was rejected in this task: do without it.")
            if await held.others(db, call) >= MOST_HELD:
                raise ToolFailed(f"{tool.name}: {MOST_HELD} calls of this task waited for approval: do without it.")
            call = await held.hold(db, call)
        self._held = True
        await self._run.put(_asking(call), key=_key(call))
        text = f"{self._agent}'s call of {tool.name} waits for approval"
        await self._tell(call, "tool_held", text, origin=tool.origin, arguments=_shown(call.arguments))
        return (
            f"{tool.name} needs the approval of the one you work for, for it {_does(call)}. Your call was not made: it "
            "waits, with exactly these arguments, and was put to them. Do not repeat it. Finish your turn with what "
            "you have: you will be asked to go on when there is an answer, with what the call gave if it was approved."
        )

    async def came_to(self, make: Make) -> str | None:
        """What came of the turn's held calls, for the agent's next message; None if it held none.

        `make` makes an approved call: ToolFailed if it fails. Raises Waiting while the caller has not answered.
        """
        decided = [await self._decided(call) for call in await self._calls()]
        made = [await self._made(call, make) for call in decided]
        if not made:
            return None
        said = [_said(call, _ROOM // len(made)) for call in made]
        return "\n\n".join([*said, "Go on from there, and answer what you were asked."])

    async def _decided(self, call: HeldCall) -> HeldCall:
        """The call with its answer. It is told whoever took it: one may have died between taking it and telling."""
        if call.state == "asked":
            call = await self._answered(call)
        if call.state == "refused":
            await self._tell(call, "tool_refused", f"{call.agent}'s call of {call.tool} was not approved")
        else:
            await self._tell(call, "tool_approved", f"{call.agent}'s call of {call.tool} was approved")
        return call

    async def _answered(self, call: HeldCall) -> HeldCall:
        answer = await self._run.ask(_asking(call), key=_key(call))
        async with self._record.write(call.caller) as db:
            approved = answer in {ONCE, IN_RUN, ALWAYS}
            if await held.move(db, call, "approved" if approved else "refused") and answer in {IN_RUN, ALWAYS}:
                run_id = call.run_id if answer == IN_RUN else None
                await consents.give(db, call.caller, call.tool, call.marks, run_id)
            return await held.now(db, call)

    async def _made(self, call: HeldCall, make: Make) -> HeldCall:
        """The call as it stands when it was made, if it was approved and not made yet."""
        if call.state == "begun":
            call = await self._moved(call, "unknown", _UNKNOWN)
        elif call.state == "approved":
            call = await self._moved(call, "begun")
            if call.state == "begun":  # and no other process was first
                call = await self._ended(call, make)
        if call.state == "unknown":
            await self._tell(call, "tool_lost", f"{call.agent}'s call of {call.tool}: {_UNKNOWN}")
        return call

    async def _ended(self, call: HeldCall, make: Make) -> HeldCall:
        try:
            return await self._moved(call, "done", await make(call))
        except ToolFailed as error:
            return await self._moved(call, "failed", str(error))

    async def _moved(self, call: HeldCall, to: State, answer: str | None = None) -> HeldCall:
        """The call in that state, or, where another process was first, as that left it: begun counts as unknown."""
        async with self._record.write(call.caller) as db:
            moved, now = await held.move(db, call, to, answer), await held.now(db, call)
        if moved or now.state != "begun":
            return now
        return await self._moved(now, "unknown", _UNKNOWN)

    async def _tell(self, call: HeldCall, type: str, text: str, **data: Any) -> None:
        data = {"tool": call.tool, "marks": [*call.marks], "call": call.id, **data}
        await self._run.emit(call.agent, type, text, key=f"{type}:{call.id}", **data)


def _asking(call: HeldCall) -> Asking:
    return Asking(
        asked_by="atlas",
        kind="approval",
        text=f"{call.agent} wants to call {call.tool}, which {_does(call)}, with exactly these arguments:\n"
        f"{_shown(call.arguments)}",
        options=_OPTIONS.get(call.approval, (ONCE, REJECT)),
        safe=REJECT,
    )


def _key(call: HeldCall) -> str:
    return f"held:{call.id}"


def _said(call: HeldCall, room: int) -> str:
    """What the agent is told of a call that is decided, in about `room` characters."""
    what = f"Your call {call.tool}({_shown(call.arguments, 500)})"
    answer = call.answer or ""
    gave = section("result", answer if len(answer) <= room else f"{answer[:room]}\n... (cut)", tool=call.tool)
    match call.state:
        case "done":
            return f"{what} was approved and made. It gave:\n{gave}"
        case "failed":
            return f"{what} was approved and made. It failed:\n{gave}"
        case "refused":
            return f"{what} was not approved, and not made. Do without it, and do not try it in another way."
        case _:
            return f"{what} was approved. {_UNKNOWN} It is not repeated: say so, and look before you rely on it."


def _does(call: HeldCall) -> str:
    return " and ".join(f"{mark}s" for mark in call.marks) or "may do anything"


def _shown(arguments: Mapping[str, Any], most: int = SHOWN) -> str:
    text = json.dumps(arguments, ensure_ascii=False, indent=1)
    if len(text) <= most:
        return text
    return f"{text[:most]}\n... and {len(text) - most:,} more characters, which are not shown"
