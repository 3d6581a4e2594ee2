"""How many runs work at once, and who goes first."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atlas_mcp.errors import LimitReached
from atlas_mcp.model.caller import Caller
from atlas_mcp.runs import RunOutcome, open_runs
from atlas_mcp.runs.admission import Limits, admitted
from atlas_mcp.runs.rows import Load
from atlas_mcp.runs.runner import MAX_TURNS, TURNS_OF_ONE
from atlas_mcp.store.locks import Locks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from atlas_mcp.runs.context import RunContext
    from atlas_mcp.runs.runs import Runs
    from atlas_mcp.store.home import Home
    from atlas_mcp.store.record import Record

pytestmark = pytest.mark.anyio
DEADLINE = 60
ANN, BOB, CAT = (Caller(id=f"key:{name}") for name in ("ann", "bob", "cat"))


class Shop:
    """An executor in which runs work until each is let go, and which notes who came in and how many were in."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.inside: dict[str, anyio.Event] = {}
        self.callers: dict[str, str] = {}
        self.most: Counter[str] = Counter()
        self._news = anyio.Event()

    async def __call__(self, run: RunContext) -> RunOutcome:
        self.begun.append(run.input["name"])
        go = self.inside[run.input["name"]] = anyio.Event()
        self.callers[run.input["name"]] = run.caller.id
        of = Counter(self.callers[name] for name in self.inside)
        self.most = Counter({key: max(self.most[key], n) for key, n in {**of, "all": of.total()}.items()}) | self.most
        self._tell()
        await go.wait()
        del self.inside[run.input["name"]]
        return RunOutcome(reply="served")

    async def until_begun(self, count: int) -> None:
        with anyio.fail_after(DEADLINE):
            while len(self.begun) < count:
                await self._news.wait()

    def let_go(self, name: str) -> None:
        self.inside[name].set()

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()


@pytest.fixture
async def shop() -> Shop:
    return Shop()


@pytest.fixture
async def runs(opened_home: Home, record: Record, shop: Shop) -> AsyncGenerator[Runs]:
    kinds: Any = {"team_task": shop, "turn": shop}
    async with open_runs(opened_home, record, Locks(opened_home.locks), kinds, limits=Limits(3, 2)) as runs:
        yield runs


async def submit(runs: Runs, caller: Caller, name: str, kind: Any = "team_task") -> str:
    return await runs.submit(caller, kind, name, {"name": name})


async def ended(runs: Runs, caller: Caller, run_id: str) -> Any:
    with anyio.fail_after(DEADLINE):
        return await runs.get(caller, run_id, since=10_000, wait_seconds=DEADLINE)


async def test_a_callers_many_runs_do_not_keep_anothers_from_beginning(runs: Runs, shop: Shop) -> None:
    made = [(ANN, await submit(runs, ANN, f"ann{n}")) for n in range(5)]
    made += [(BOB, await submit(runs, BOB, f"bob{n}")) for n in range(3)]
    await shop.until_begun(3)
    assert set(shop.begun) == {"ann0", "ann1", "bob0"}, "two of one caller, and three in all"
    waiting = await runs.get(ANN, made[2][1])
    assert waiting.status == "queued"
    assert "at most 2 runs of a caller and 3 in all" in (waiting.note or "")
    made += [(CAT, await submit(runs, CAT, "cat0"))]
    leaving = ["ann0", "bob0", "ann1"]  # one of Ann's first: then Cat alone has nothing at work
    for count in range(3, len(made)):
        shop.let_go(leaving[count - 3] if count < 6 else shop.begun[count - 3])
        await shop.until_begun(count + 1)
    for name in [*shop.inside]:
        shop.let_go(name)
    assert {(await ended(runs, caller, run_id)).status for caller, run_id in made} == {"completed"}
    assert shop.begun.index("cat0") == 3, "who has nothing at work goes before who has, though she came last"
    assert [n for n in shop.begun[3:] if n.startswith("ann")] == ["ann2", "ann3", "ann4"]
    assert shop.most["all"] == 3
    assert max(shop.most[caller.id] for caller in (ANN, BOB, CAT)) == 2


async def test_single_turns_are_not_held_up_by_team_tasks(runs: Runs, shop: Shop) -> None:
    for name in ("a", "b", "c"):
        await submit(runs, ANN if name != "c" else BOB, name)
    await shop.until_begun(3)
    turn = await submit(runs, ANN, "turn", "turn")
    await shop.until_begun(4)
    shop.let_go("turn")
    assert (await ended(runs, ANN, turn)).status == "completed"


async def test_a_waiting_run_can_be_cancelled_and_never_begins(runs: Runs, shop: Shop) -> None:
    first = [await submit(runs, ANN, f"ann{n}") for n in range(2)]
    third = await submit(runs, ANN, "third")
    fourth = await submit(runs, ANN, "fourth")
    await shop.until_begun(2)
    assert (await runs.cancel(ANN, third)).status == "cancelled"
    for name in ("ann0", "ann1"):
        shop.let_go(name)
    await shop.until_begun(3)
    shop.let_go("fourth")
    assert {(await ended(runs, ANN, run_id)).status for run_id in (*first, fourth)} == {"completed"}
    assert shop.begun[2:] == ["fourth"]


async def test_whoever_has_fewest_turns_at_work_has_the_next(runs: Runs, shop: Shop) -> None:
    anns = [await submit(runs, ANN, f"ann{n}", "turn") for n in range(TURNS_OF_ONE + 4)]
    await shop.until_begun(TURNS_OF_ONE)
    bob = await submit(runs, BOB, "bob", "turn")
    await shop.until_begun(TURNS_OF_ONE + 1)
    assert shop.begun[-1] == "bob", "there is room for others, whatever one has under way"
    cats = [await submit(runs, CAT, f"cat{n}", "turn") for n in range(MAX_TURNS - TURNS_OF_ONE)]
    await shop.until_begun(MAX_TURNS)
    shop.let_go("ann0")
    await shop.until_begun(MAX_TURNS + 1)
    assert shop.begun[-1] == f"cat{len(cats) - 1}", "who has fewer at work goes before who asked before"
    with anyio.fail_after(DEADLINE):
        for name in [*shop.inside]:
            shop.let_go(name)
        await shop.until_begun(TURNS_OF_ONE + 4 + 1 + len(cats))
        for name in [*shop.inside]:
            shop.let_go(name)
    made = [(ANN, each) for each in anns] + [(BOB, bob)] + [(CAT, each) for each in cats]
    assert {(await ended(runs, caller, run_id)).status for caller, run_id in made} == {"completed"}


async def test_a_caller_with_hundreds_of_waiting_runs_keeps_nobody_waiting(runs: Runs, shop: Shop) -> None:
    for n in range(300):
        await submit(runs, ANN, f"ann{n}")
    await shop.until_begun(2)
    await submit(runs, BOB, "bob")
    await shop.until_begun(3)
    assert shop.begun[-1] == "bob"
    await submit(runs, CAT, "cat")
    shop.let_go("ann0")
    await shop.until_begun(4)
    assert shop.begun[-1] == "cat"
    shop.let_go("bob")
    await shop.until_begun(5)
    assert shop.begun[-1] == "ann2", "nor is the greedy one forgotten"


async def test_a_caller_may_have_so_many_open_runs_and_is_told_when_there_is_room_again(
    opened_home: Home, record: Record, shop: Shop
) -> None:
    few = Limits(3, 2, open_of=lambda caller: 4 if caller == ANN.id else 1_000)
    kinds: Any = {"team_task": shop, "turn": shop}
    async with open_runs(opened_home, record, Locks(opened_home.locks), kinds, limits=few) as runs:
        refused: list[LimitReached] = []

        async def one(n: int) -> None:
            try:
                await submit(runs, ANN, f"ann{n}")
            except LimitReached as error:
                refused.append(error)

        async with anyio.create_task_group() as tasks:
            for n in range(10):
                tasks.start_soon(one, n)
        assert len(refused) == 6
        assert "you have 4 runs that have not ended, and may have 4" in str(refused[0])
        assert "Try again in 30 seconds" in str(refused[0])
        assert refused[0].retry_after == 30
        await submit(runs, BOB, "bob")
        listed, _ = await runs.list(ANN)
        await runs.cancel(ANN, next(run.run_id for run in listed if run.status == "queued"))
        await submit(runs, ANN, "again")


def test_a_new_run_begins_at_once_where_it_would_be_chosen_first() -> None:
    limits = Limits(3, 2)
    assert admitted(Load({ANN.id: 1}, {ANN.id: 300}), BOB.id, limits), "whoever has fewer at work goes first"
    assert not admitted(Load({ANN.id: 1}, {ANN.id: 300}), ANN.id, limits), "not before one's own that wait"
    assert not admitted(Load({ANN.id: 1, BOB.id: 1}, {ANN.id: 300}), BOB.id, limits), "who waits goes first"
    assert not admitted(Load({ANN.id: 2, CAT.id: 1}, {}), BOB.id, limits), "there is no room"
