"""The user's own rails, by NeMo Guardrails itself in its process: what they stop, change, fail at and hang in."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from atlas_mcp.errors import ConfigurationError, MissingPackage, Unavailable
from atlas_mcp.guard import rails as rails_module
from atlas_mcp.guard.layers import About
from atlas_mcp.guard.rails import Rails, check_folder
from atlas_mcp.watch.sidecar import child_environment
from tests.guard.watched import chat, watched
from tests.scripted_model import ScriptedModel
from tests.server.doors import call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
ANSWER = About("answer", task="What did the keeper do?", agent="librarian")

FLOWS = """
define bot refuse
  "That is not spoken of here."

define subflow look at what comes
  $fine = execute look(text=$user_message)
  if not $fine
    bot refuse
    stop

define subflow look at what goes
  $fine = execute look(text=$bot_message)
  if not $fine
    bot refuse
    stop

define subflow mask names
  $bot_message = execute mask(text=$bot_message)
"""
ACTIONS = """
import os
import time

from nemoguardrails.actions import action

print("rails may print what they like")


@action(name="look")
async def look(text: str = ""):
    if "hang here" in text:
        time.sleep(600)
    if "fall over" in text:
        os._exit(3)
    return "smuggler" not in text


@action(name="mask")
async def mask(text: str = ""):
    return text.replace("Jonas", "***")
"""
OWN = """
models: []
rails:
  input:
    flows: [look at what comes]
  output:
    flows: [look at what goes, mask names]
"""


def configured(folder: Path, config: str = OWN) -> Path:
    folder.mkdir()
    (folder / "config.yml").write_text(config)
    if config == OWN:
        (folder / "rails.co").write_text(FLOWS)
        (folder / "actions.py").write_text(ACTIONS)
    return folder


@asynccontextmanager
async def opened(folder: Path, **given: float) -> AsyncIterator[Rails]:
    """The rails of that folder, open."""
    given = {"start_seconds": 200, "check_seconds": 60, **given}  # a slow machine is not what is looked at
    rails = Rails(folder, child_environment(), folder.parent / "logs" / "rails.log", **given)
    async with rails.opened():
        yield rails


async def test_rails_stop_what_enters_and_what_leaves_and_say_which_of_them(tmp_path: Path) -> None:
    async with opened(configured(tmp_path / "rails")) as rails:
        assert not await rails.check("The boat came on Fridays.", "entering", ANSWER)
        assert not await rails.check("The boat came on Fridays.", "leaving", ANSWER)
        [came] = await rails.check("The smuggler came on Fridays.", "entering", ANSWER)
        [goes] = await rails.check("The smuggler came on Fridays.", "leaving", ANSWER)
        [changed] = await rails.check("It was Jonas who came.", "leaving", ANSWER)
        many: list[int] = []

        async def one(number: int) -> None:
            found = await rails.check("smuggler" if number % 2 else "boat", "leaving", ANSWER)
            many.append(number if found else -1)

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(one, number)
    assert (came.layer, came.rule, came.action) == ("rails", "look at what comes", "refuse")
    assert came.text == "the rail stopped it, saying: That is not spoken of here."
    assert goes.rule == "look at what goes"
    assert changed.text == "a rail would have altered it"
    assert sorted(many) == [-1, -1, -1, -1, 1, 3, 5, 7]  # each got its own answer
    assert "rails may print" in (tmp_path / "logs" / "rails.log").read_text()


async def test_a_rail_that_hangs_is_killed_at_its_deadline_and_one_that_falls_over_is_started_anew(
    tmp_path: Path,
) -> None:
    async with opened(configured(tmp_path / "rails"), check_seconds=60) as rails:
        assert not await rails.check("The boat came.", "leaving", ANSWER)
        rails._check_seconds = 0.5  # pyright: ignore[reportPrivateUsage]  # the start of it was given its time
        with pytest.raises(Unavailable, match="no verdict within"):
            await rails.check("hang here", "leaving", ANSWER)
        assert rails.problem == "the rails gave no verdict within 0.5 s"
        rails._check_seconds = 60  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(Unavailable, match="ended before it answered"):
            await rails.check("fall over", "leaving", ANSWER)
        assert await rails.check("The smuggler came.", "leaving", ANSWER)
        assert not rails.problem


async def test_rails_that_cannot_be_started_say_why_and_are_not_tried_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def started_anew(*_: object) -> None:
        raise AssertionError("they were started anew")

    folder = configured(tmp_path / "rails", "rails:\n  input:\n    flows: [there is no such flow]\n")
    async with opened(folder) as rails:
        with pytest.raises(Unavailable, match=r"the rails did not start: .*there is no such flow"):
            await rails.check("hello", "entering", ANSWER)
        monkeypatch.setattr(rails, "_start", started_anew)
        with pytest.raises(Unavailable, match="did not start"):
            await rails.check("hello", "entering", ANSWER)
        assert rails.problem


async def test_the_rails_process_is_given_no_secret_and_reports_to_nobody(tmp_path: Path) -> None:
    folder = configured(tmp_path / "rails")
    (folder / "actions.py").write_text(
        f"import json, os\nopen({str(tmp_path / 'seen.json')!r}, 'w').write(json.dumps(dict(os.environ)))\n" + ACTIONS
    )
    environment = {**child_environment(), "OPENAI_API_KEY": "for-the-rails"}
    rails = Rails(folder, environment, tmp_path / "logs" / "rails.log", start_seconds=200, check_seconds=60)
    async with rails.opened():
        assert not await rails.check("The boat came.", "leaving", ANSWER)
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen["OPENAI_API_KEY"] == "for-the-rails"
    assert (seen["NEMO_GUARDRAILS_NO_USAGE_STATS"], seen["DO_NOT_TRACK"]) == ("1", "1")


async def test_rails_with_a_model_and_a_chat_that_they_refuse(
    tmp_path: Path, scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = f"""
models:
  - type: main
    engine: openai
    model: scripted-1
    parameters:
      base_url: {scripted_model.url}
rails:
  output:
    flows: [self check output]
prompts:
  - task: self_check_output
    content: |
      Should this be blocked, yes or no? {{{{ bot_response }}}}
"""
    folder = configured(tmp_path / "rails", config)
    scripted_model.on(lambda r: "Should this be blocked" in str(r) and "smuggler" in str(r), "Yes")
    scripted_model.on("Should this be blocked", "No")
    scripted_model.script(["The smuggler came.", "The boat came."])
    async with watched(monkeypatch, scripted_model, ATLAS_GUARD_RAILS=str(folder)) as (atlas, client):
        reply = await chat(atlas, "Who came?")
        status = await call(client, "get_status")
    assert reply["reply"] == "The boat came."
    assert reply["guard"][0]["finding"]["layer"] == "rails"
    assert reply["guard"][0]["finding"]["rule"] == "self check output"
    assert scripted_model.keys[1] == "test-key-of-this-home-4711"  # the provider's key, as the settings have it
    assert f"the rails in {folder}" in next(r["text"] for r in status["rooms"] if r["name"] == "guard")


def test_a_folder_without_a_configuration_and_a_missing_package_are_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match=r"ATLAS_GUARD_RAILS: there is no config.yml in"):
        check_folder(tmp_path)
    folder = configured(tmp_path / "rails")
    check_folder(folder)
    monkeypatch.setattr(rails_module, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match=r"'nemoguardrails' is not installed.*the extra 'rails'"):
        check_folder(folder)
