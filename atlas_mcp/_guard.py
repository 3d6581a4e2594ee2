"""The layers of the guard that the settings switch on, in the hands of the rooms that need them.

What is configured wrongly is told at the start, as ConfigurationError. A validator's judgement is entered in the
ledger like a turn, within the budgets of its run and of its caller's day, and seen in the trace of what it judges.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import anyio
from pydantic import BaseModel, SecretStr

from atlas_mcp.guard.calling import CallRules
from atlas_mcp.guard.entering import Entering
from atlas_mcp.guard.leaving import Leaving, LeavingRules
from atlas_mcp.model.status import Room
from atlas_mcp.model.usage import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from atlas_mcp.guard.layers import About, Layer
    from atlas_mcp.guard.rails import Rails
    from atlas_mcp.guard.validator import Opinion, Validator
    from atlas_mcp.models.chat import Models
    from atlas_mcp.settings import Settings
    from atlas_mcp.store.home import Home
    from atlas_mcp.store.record import Record
    from atlas_mcp.watch.ledger import Ledger

_ANSWER_TOKENS = 200


class Guard:
    """The guard of one home; `judges` are those of its layers that judge in both directions."""

    def __init__(self, settings: Settings, home: Home) -> None:
        self.model = _Model(settings) if settings.guard_model else None
        self.validator = _validator(self.model) if self.model else None
        self.rails = _rails(settings, home) if settings.guard_rails else None
        self.judges: tuple[Layer, ...] = tuple(layer for layer in (self.validator, self.rails) if layer is not None)
        self.rules = LeavingRules(_keys(settings), _addresses(home)) if settings.guard_rules else None
        self.calls = CallRules(self.rules) if self.rules is not None else None
        rules = settings.guard_rules
        on = rules or bool(self.judges)
        self.entering = Entering(settings.guard_languages, rules=rules, judges=self.judges) if on else None
        self.leaving = Leaving(self.rules, self.judges, quality=settings.guard_quality)

    @asynccontextmanager
    async def opened(self, record: Record, ledger: Ledger) -> AsyncGenerator[None]:
        """Everything that the layers need is there while the body runs."""
        if self.rules is not None:
            self.rules.record = record
        if self.model is not None:
            self.model.books = record, ledger
        async with self.rails.opened() if self.rails is not None else nullcontext():
            yield

    def rooms(self) -> list[Room]:
        """Which layers are on, for the status."""
        on = [
            "rules" if self.rules is not None else "",
            f"the validator {self.validator.shown}" if self.validator is not None else "",
            "the librarian's quality check" if self.leaving.quality else "",
            f"the rails in {self.rails.folder}" if self.rails is not None else "",
        ]
        text = f"On: {', '.join(filter(None, on))}." if any(on) else "No layer is on: nothing is checked."
        if self.entering is not None and (found := self.entering.told()):
            text += f" Found in what entered since the start: {found}."
        if self.calls is not None and (found := self.calls.told()):
            text += f" Calls of tools that were not made since the start, by what they held: {found}."
        troubles = [one.problem for one in (self.validator, self.rails) if one is not None and one.problem]
        if troubles:
            step = "What they could not look at went on, and says so. Mend this."
            return [Room(name="guard", health="warning", text=f"{text} {'; '.join(troubles)}.", next_step=step)]
        return [Room(name="guard", health="ok", text=text)]


class _Model:
    """The validator's model. UnknownModel, MissingKey and MissingPackage at the start."""

    def __init__(self, settings: Settings) -> None:
        from atlas_mcp.models.catalog import parse_name
        from atlas_mcp.models.chat import Models
        from atlas_mcp.models.config import ModelConfig

        self.name = parse_name(settings.guard_model or "", argument="ATLAS_GUARD_MODEL")
        config = ModelConfig(
            model=self.name.text,
            base_url=settings.model_base_url,
            prices=settings.prices,
            keys=settings.provider_keys,
        )
        self._models: Models = Models(config)
        self._models.check()
        self.books: tuple[Record, Ledger] | None = None

    async def opinion(self, prompt: str, about: About) -> Opinion:
        """What the model says. ValueError for an answer that holds no opinion; see `guard.validator`."""
        from atlas_mcp.guard.validator import Opinion
        from atlas_mcp.teamwork.answers import parse
        from atlas_mcp.watch.spans import outputs, span, usage

        with span("guard validator", "GUARDRAIL", prompt, atlas__agent=about.agent, atlas__run=about.run_id) as opened:
            answer, used = await self._paid(prompt, about)
            outputs(opened, answer)
            tokens = {"input_tokens": used.input_tokens, "output_tokens": used.output_tokens}
            usage(opened, model=self.name.handle, cost_usd=used.cost_usd, **tokens)
            return parse(answer, Opinion)

    async def _paid(self, prompt: str, about: About) -> tuple[str, Usage]:
        """The answer, within the budgets, and what it cost. BudgetSpent, UnpricedModel."""
        if self.books is None or about.caller is None:
            return await self._answer(prompt)
        record, ledger = self.books
        turn, handle = f"guard-{uuid4()}", self.name.handle
        estimate = self._used(len(prompt) // 3, _ANSWER_TOKENS)
        reserve = partial(ledger.reserve, turn=turn, run_id=about.run_id, model=handle, estimate=estimate)
        async with record.jot(about.caller.id) as db:
            reserved = await reserve(db, about.caller)
        used = Usage(cost_usd=0.0)
        try:
            answer, used = await self._answer(prompt)
        finally:
            with anyio.CancelScope(shield=True):
                async with record.jot(about.caller.id) as db:
                    await ledger.settle(db, reserved, used)
        if about.spent is not None:
            about.spent(used)
        return answer, used

    async def _answer(self, prompt: str) -> tuple[str, Usage]:
        model = await self._models.chat(self.name.handle)
        message = await model.ainvoke(prompt)
        taken = message.usage_metadata or {"input_tokens": 0, "output_tokens": 0}
        return str(message.text), self._used(taken["input_tokens"], taken["output_tokens"])

    def _used(self, taken: int, given: int) -> Usage:
        cost = self._models.cost(self.name.handle, taken, given)
        return Usage(turns=1, input_tokens=taken, output_tokens=given, cost_usd=cost)


def _validator(model: _Model) -> Validator:
    from atlas_mcp.guard.validator import Validator

    return Validator(model.opinion, model.name.text)


def _rails(settings: Settings, home: Home) -> Rails | None:
    from atlas_mcp.guard.rails import Rails, check_folder
    from atlas_mcp.watch.sidecar import child_environment

    if settings.guard_rails is None:
        return None
    check_folder(settings.guard_rails)
    keys = {name: key.get_secret_value() for name, key in settings.provider_keys.items()}
    return Rails(settings.guard_rails, {**child_environment(), **keys}, home.logs / "rails.log")


def _keys(settings: Settings) -> dict[str, str]:
    """Every secret of the settings, with the setting's name."""
    return {value: name for name, value in _secrets(settings, "")}


def _secrets(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, SecretStr):
        yield name, value.get_secret_value()
    elif isinstance(value, BaseModel):
        for field in type(value).model_fields:
            yield from _secrets(getattr(value, field), field)
    elif isinstance(value, dict):
        for key, one in cast("dict[str, Any]", value).items():
            if not key.endswith(("_BASE_URL", "_HOST")):  # a provider's address is no secret
                yield from _secrets(one, key)
    elif isinstance(value, list | tuple):
        for one in cast("tuple[Any, ...]", value):
            yield from _secrets(one, name)


def _addresses(home: Home) -> tuple[str, ...]:
    """The files of the home in which everybody's things lie."""
    files = (*home.databases, home.traces, home.path / "settings.toml", home.path / "keys")
    return tuple(str(file) for file in files)
