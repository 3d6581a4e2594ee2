"""Evaluation, for the command line and for whoever wants to know whether a change is one for the better.

    async with open_evaluating(load_settings()) as evaluating:
        await evaluating.add(run_id)
        job = await evaluating.prepare([Variant(name="now"), Variant(name="new", prompts={"persona.librarian": text})])
        now, new = await evaluating.run(job)
    print(compare(now, new).text)

Promise: the user's agents, memory and runs are untouched; what cannot be used is refused before anything is spent; each
attempt is kept as soon as it has ended, and an evaluation that was interrupted goes on under its name. Attempts of all
variants are rated by the same raters, those of the home as it stands, who do not know which variant it was.

To be run in a process in which no server works: the engine of runs is one for a process, and so is tracing.
"""

from __future__ import annotations

import re
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from atlas_mcp._config import database
from atlas_mcp._evaluations import Job, estimate, perform, sweep
from atlas_mcp._team_tasks import check_teams
from atlas_mcp._variants import Plan, make_plan
from atlas_mcp.errors import InvalidInput, UnpricedModel
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.evaluated import Evaluation, Variant
from atlas_mcp.model.example import DEFAULT_SET, SET_NAME, Example, ExampleSet, Expected
from atlas_mcp.store.home import open_home
from atlas_mcp.store.locks import Locks
from atlas_mcp.watch.evaluation import files, kept, paired, rows, scoring
from atlas_mcp.watch.limits import priced

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Sequence
    from pathlib import Path

    from atlas_mcp._evaluations import Tell
    from atlas_mcp.model.evaluation import Comparison
    from atlas_mcp.settings import Settings
    from atlas_mcp.store.record import Record

__all__ = ["Evaluating", "Job", "Variant", "compare", "open_evaluating"]

MAX_REPEAT = 20


@asynccontextmanager
async def open_evaluating(settings: Settings) -> AsyncGenerator[Evaluating]:
    """The home's examples and evaluations. What an evaluation that was killed left behind is taken away."""
    from atlas_mcp.store.record import open_record

    home, elsewhere = open_home(settings.home), database(settings)
    if elsewhere is None:
        home.prepare_databases()
    async with open_record(home.path, elsewhere) as record:
        locks = Locks(home.locks)
        sweep(home.path, locks)
        yield Evaluating(settings, record, f"local:{home.local_id}", locks)


def compare(a: Evaluation, b: Evaluation) -> Comparison:
    """What B is beside A, on the examples that both did. InvalidInput where there are none."""
    pairs = scoring.pairs(a, b)
    if not pairs:
        raise InvalidInput(
            f"{a.name} and {b.name} have no example in common that both were scored on.",
            argument="B",
            next_step="Run both on the same set: atlas-mcp eval run --set NAME",
        )
    found = paired.compare(a.name, b.name, pairs)
    return found.model_copy(update={"text": " ".join([found.text, *scoring.notes(a, b)])})


class Evaluating:
    """One caller's sets of examples, and the home's evaluations."""

    def __init__(self, settings: Settings, record: Record, caller: str, locks: Locks) -> None:
        self.settings = settings
        self._record = record
        self._caller = caller
        self._locks = locks

    # -- examples

    async def add(
        self, run_id: str, *, suite: str = DEFAULT_SET, expected: Expected | None = None, http: bool = False
    ) -> Example:
        """Make an example of a run that is completed, with `http` of a holder of the home's key.

        UnknownRun, InvalidInput; see `rows.from_run`.
        """
        _check_set(suite)
        whose = "key:http" if http else self._caller
        async with self._record.write(self._caller) as db:
            made = await rows.from_run(db, whose, run_id, suite, expected or Expected())
            await rows.add(db, self._caller, [made])
        return made

    async def examples(self, suite: str | None = None) -> list[Example]:
        """The examples of that set, or of all."""
        async with self._record.read() as db:
            return await rows.of_set(db, self._caller, suite)

    async def remove(self, example_id: str) -> None:
        """Take an example out. InvalidInput where there is none of that id."""
        async with self._record.write(self._caller) as db:
            await rows.remove(db, self._caller, example_id)

    async def export(self, suite: str, path: Path, *, force: bool = False) -> ExampleSet:
        """Write a set to a file, TOML or JSON. InvalidInput."""
        found = ExampleSet(name=suite, examples=tuple(await self._of(suite)))
        files.write(path, found, force=force)
        return found

    async def import_(self, path: Path, *, suite: str | None = None) -> ExampleSet:
        """Add the examples of a file, all or none, to the set that it names, or to `suite`. InvalidInput."""
        found = files.read(path)
        name = suite or found.name
        _check_set(name)
        # ids are this record's own: the same file may stand in two sets, and in two callers' records
        own = [e.model_copy(update={"id": f"ex-{uuid.uuid4().hex[:12]}", "suite": name}) for e in found.examples]
        async with self._record.write(self._caller) as db:
            await rows.add(db, self._caller, own)
        return found.model_copy(update={"name": name, "examples": tuple(own)})

    # -- evaluations

    def kept(self, name: str | None = None) -> list[Evaluation]:
        """The evaluations of this home, oldest first; or the one of that name. InvalidInput where there is none."""
        return [kept.read(self.settings.home, name)] if name else [*kept.every(self.settings.home)]

    async def prepare(
        self,
        variants: Sequence[Variant],
        *,
        suite: str = DEFAULT_SET,
        only: Collection[str] | None = None,
        repeat: int = 1,
        budget_usd: float | None = None,
        names: Sequence[str] = (),
    ) -> Job:
        """What evaluating these variants on that set, or on `only` these of its examples, will take. Nothing is spent.

        `names` are those under which the evaluations are kept; by default they say the set, the variant and the day. An
        evaluation that is there under the name and is the same, but unfinished, goes on.

        InvalidInput for an empty set, an unknown example or agent, a name that is taken, and numbers out of range;
        whatever keeps a variant from working is raised as `make_plan` does; UnpricedModel for a budget that cannot be
        kept.
        """
        from atlas_mcp.watch.prompts.rows import leading

        if not 1 <= repeat <= MAX_REPEAT:
            raise InvalidInput(f"{repeat} is not between 1 and {MAX_REPEAT}.", argument="--repeat")
        if budget_usd is not None and budget_usd < 0:
            raise InvalidInput(f"{budget_usd} is less than nothing.", argument="--budget-usd")
        found = await self._of(suite, only)
        async with self._record.look() as db:
            leads = await leading(db)
        judge = make_plan(self.settings, Variant(name="raters"), leads)
        plans = tuple(make_plan(self.settings, variant, leads) for variant in variants)
        for plan in plans:
            _check_examples(plan, found)
        if budget_usd is not None:
            _check_prices((*plans, judge), "--budget-usd", "Leave it out")
        if self.settings.daily_usd is not None:
            _check_prices((*plans, judge), "ATLAS_DAILY_USD", "Unset it")
        began = datetime.now(UTC)
        default = [f"{suite}-{variant.name}-{began:%Y%m%d-%H%M%S}" for variant in variants]
        wanted = [*names[: len(default)], *default[len(names) :]]
        if len(set(wanted)) < len(wanted):
            raise InvalidInput(f"two of them have one name: {', '.join(wanted)}.", argument="--name")
        evaluations = tuple(
            self._begun(name, suite, plan, judge, repeat, tuple(found), began)
            for name, plan in zip(wanted, plans, strict=True)
        )
        estimates = [estimate(plan, judge, one) for plan, one in zip(plans, evaluations, strict=True)]
        return Job(plans, judge, evaluations, sum(estimates[1:], estimates[0]), budget_usd)

    async def run(self, job: Job, tell: Tell = lambda text, done, total: None) -> list[Evaluation]:
        """Do what was prepared: the evaluations, scored and kept; `tell` hears of each attempt that ended.

        What it takes counts against the caller's day. BudgetSpent where that is spent; IllegalChange where another
        process is at one of them; Unavailable where the first attempts all failed. Who is cancelled finds what was done
        so far kept, and goes on with it by `prepare` with the same names.
        """
        me = Caller(id=self._caller, client="atlas-mcp eval")
        return await perform(self.settings, self._record, self._locks, me, job, tell)

    async def _of(self, suite: str, only: Collection[str] | None = None) -> list[Example]:
        _check_set(suite)
        async with self._record.read() as db:
            found = await rows.of_set(db, self._caller, suite)
            sets = await rows.sets(db, self._caller)
        if not found:
            raise InvalidInput(
                f"the set {suite!r} has no examples. Sets are: {', '.join(sets) or 'none'}.",
                argument="--set",
                allowed=[*sets],
                next_step="Make one of a run that went well: atlas-mcp eval add RUN",
            )
        if only is None:
            return found
        if unknown := set(only) - {example.id for example in found}:
            raise InvalidInput(f"the set {suite!r} has no example {min(unknown)!r}.", argument="only")
        return [example for example in found if example.id in only]

    def _begun(
        self, name: str, suite: str, plan: Plan, judge: Plan, repeat: int, found: tuple[Example, ...], began: datetime
    ) -> Evaluation:
        known = kept.find(self.settings.home, name)  # which refuses what is no name
        new = Evaluation(
            name=name,
            suite=suite,
            variant=plan.variant,
            digest=plan.digest,
            judge=judge.judge,
            models=plan.handles,
            repeat=repeat,
            examples=found,
            began_at=began,
        )
        if known is None:
            return new
        asked = ("suite", "digest", "judge", "repeat")
        same = all(getattr(known, key) == getattr(new, key) for key in asked)
        if known.ended_at or not same or [e.digest for e in known.examples] != [e.digest for e in found]:
            why = "is finished" if known.ended_at else "was begun with another set, variant or number of repeats"
            raise InvalidInput(
                f"there is an evaluation {name!r} already, which {why}.",
                argument="--name",
                next_step="Choose another name.",
            )
        ended = tuple(a for a in known.attempts if a.status == "completed")  # what failed or was cut is done again
        return known.model_copy(update={"attempts": ended})


def _check_set(name: str) -> None:
    if not re.fullmatch(SET_NAME, name):
        raise InvalidInput(
            f"{name!r} is no name of a set.",
            argument="--set",
            next_step="Use small letters, digits and . _ -, beginning with a letter or digit.",
        )


def _check_examples(plan: Plan, examples: Sequence[Example]) -> None:
    """What the variant's roster lacks for an example is raised: UnknownAgent, UnknownTeam."""
    for example in examples:
        if example.work.agent is not None:
            plan.roster.agent(example.work.agent)
        check_teams(plan.roster, example.work.teams)


def _check_prices(plans: Sequence[Plan], limit: str, instead: str) -> None:
    if unknown := {priced(h) for plan in plans for h in plan.handles if plan.models.cost(h, 1, 1) is None}:
        raise UnpricedModel(sorted(unknown), limit, instead=instead)
