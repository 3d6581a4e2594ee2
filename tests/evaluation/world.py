"""What the tests of evaluation share: examples, a home on the scripted model, and raters that go by one word."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from atlas_mcp.evaluating import open_evaluating
from atlas_mcp.model.evaluated import Attempt, Evaluation, Variant
from atlas_mcp.model.example import Baseline, Example, ExampleSet, Expected, Work
from atlas_mcp.model.sections import sections
from atlas_mcp.settings import Settings, load_settings
from atlas_mcp.watch.evaluation import files
from tests.scripted_model import ScriptedModel, last_user_text, system_text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from atlas_mcp.evaluating import Evaluating

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
CRITERIA = ("answers the goal", "is clear")
GOOD = "It was lit at dusk, as log.txt says, every single evening of the year without fail."
POOR = "Nobody knows anything about the lamp or its keeper, or about the oil in it at all."
BETTER = "I am the librarian. I answer with care."
WORSE = "I am the librarian. I answer without care."


def chat(number: int, **more: Any) -> Example:
    """An example that is one turn of the librarian."""
    work = Work(kind="turn", agent="librarian", goal=f"When was lamp {number} lit?", criteria=CRITERIA)
    given: dict[str, Any] = {"expected": Expected(criteria=CRITERIA[:1], phrases=("lit at dusk",)), **more}
    given.setdefault("baseline", Baseline(input_tokens=1_000, output_tokens=100, cost_usd=0.001))
    return Example(id=f"ex-{number}", work=work, made_at=BEGAN, **given)


def evaluation(name: str, attempts: Sequence[Attempt], examples: Sequence[Example], **more: Any) -> Evaluation:
    """An evaluation that has ended."""
    given: dict[str, Any] = {"judge": "j", "digest": "d", "suite": "default", "began_at": BEGAN, "ended_at": BEGAN}
    variant = Variant(name="now")
    return Evaluation(**given | more, name=name, variant=variant, examples=tuple(examples), attempts=tuple(attempts))


def settings_on(home: Path, model: ScriptedModel, **more: Any) -> Settings:
    """Settings whose every agent answers with the scripted model, at a dollar per thousand tokens."""
    loaded = load_settings(home=home, model="openai:scripted-1", **more)
    keys = {"OPENAI_API_KEY": SecretStr("test"), "OPENAI_BASE_URL": SecretStr(model.url)}
    return loaded.model_copy(update={"provider_keys": keys})


def answer_by_persona(model: ScriptedModel) -> None:
    """The librarian answers well with BETTER as its persona and poorly otherwise; raters go by the words."""
    model.on(lambda request: 'title="Verdict"' in last_user_text(request), {"call": _verdict})
    model.on(lambda request: "When was lamp" in last_user_text(request), {"call": _answer})


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    return {"text": GOOD if "answer with care" in system_text(request) else POOR}


def _verdict(request: dict[str, Any]) -> dict[str, Any]:
    prompt = last_user_text(request)
    text = json.loads(sections(prompt, "draft")[0].body)["sections"][0]["text"]
    criteria = [line[2:] for line in sections(prompt, "criteria")[0].body.splitlines()]
    score = 4.5 if "lit at dusk" in text else 2.0
    said = [{"criterion": c, "score": score, "reason": "It is so.", "quote": text[:60]} for c in criteria]
    said[-1]["score"] = score - 0.5  # raters that give everything alike are taken for unfit
    return {"json": {"scores": said}}


@asynccontextmanager
async def evaluating_on(settings: Settings, examples: Sequence[Example], file: Path) -> AsyncGenerator[Evaluating]:
    """The home's evaluations, with these examples in its set, which come by a file as they may with anybody."""
    files.write(file, ExampleSet(name="default", examples=tuple(examples)), force=True)
    async with open_evaluating(settings) as evaluating:
        await evaluating.import_(file)
        yield evaluating
