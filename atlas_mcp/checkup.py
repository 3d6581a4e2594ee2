"""What only the doctor looks at: the home folder as others see it, and the models, called for once.

Nothing is opened for it and nothing is kept of it.
"""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import anyio

from atlas_mcp._config import model_config
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.errors import AtlasError, UnwritableHome
from atlas_mcp.model.status import Room
from atlas_mcp.models.chat import Models
from atlas_mcp.store.home import open_home

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.settings import Settings

QUESTION = "Answer with the one word: ready"
_CALL_SECONDS = 60.0
_LOW_BYTES, _FULL_BYTES = 1_000_000_000, 100_000_000


def home_checks(settings: Settings) -> list[Room]:
    """Whether the home can be written, whether its disk has room, and whether its keys are its owner's alone."""
    try:
        home = open_home(settings.home)
    except UnwritableHome as error:
        return [Room(name="home", health="failing", text=error.message, next_step=error.next_step)]
    return [_disk(home.path), *_keys(home.path)]


async def call_models(settings: Settings) -> list[Room]:
    """Each configured model asked one small question, by itself and once: how long it took and what it cost."""
    if any(server.kind != "embedded" for server in settings.lettas):
        text = "A Letta server calls its models itself: `atlas-mcp chat AGENT` tries one."
        return [Room(name="model call", health="idle", text=text)]
    config = model_config(settings, load_roster(settings.roster or open_home(settings.home).own_roster))
    alone = {"fallbacks": (), "own": (*config.own, *config.fallbacks), "retries": 0, "timeout": _CALL_SECONDS}
    models = Models(config.model_copy(update=alone))
    if models.offline:
        return [Room(name="model call", health="idle", text="No model is configured, so that there is none to call.")]
    return [await _called(models, handle) for handle in models.handles()]


async def _called(models: Models, handle: str) -> Room:
    name, begun = f"model {handle.replace('/', ':', 1)}", time.monotonic()
    try:
        with anyio.fail_after(_CALL_SECONDS):
            answer = await (await models.chat(handle)).ainvoke(QUESTION)
    except TimeoutError:
        text, step = f"It did not answer within {_CALL_SECONDS:g} s.", "Try another model, or look at its address."
        return Room(name=name, health="failing", text=text, next_step=step)
    except AtlasError as error:
        return Room(name=name, health="failing", text=error.message, next_step=error.next_step)
    used = answer.usage_metadata or {"input_tokens": 0, "output_tokens": 0}
    cost = models.cost(handle, used["input_tokens"], used["output_tokens"])
    price = f"${cost:.6f}" if cost is not None else "at a price that is not known"
    tokens = f"{used['input_tokens']} tokens in, {used['output_tokens']} out, {price}"
    return Room(name=name, health="ok", text=f"It answered in {time.monotonic() - begun:.1f} s; {tokens}.")


def _disk(home: Path) -> Room:
    free = shutil.disk_usage(home).free
    text = f"{home} can be written; {free / 1e9:,.1f} GB are free on its disk."
    if free >= _LOW_BYTES:
        return Room(name="home", health="ok", text=text)
    step = "Make room, or set ATLAS_HOME to a folder on another disk."
    return Room(name="home", health="warning" if free >= _FULL_BYTES else "failing", text=text, next_step=step)


def _keys(home: Path) -> list[Room]:
    if os.name != "posix":  # elsewhere the user's own folder is closed to others by itself
        return []
    held = [home / "keys", *sorted((home / "keys").iterdir())]
    exposed = [path for path in held if path.stat().st_mode & 0o077]
    if not exposed:
        return [Room(name="keys", health="ok", text="The keys in the home are yours alone to read.")]
    names = ", ".join(str(path) for path in exposed)
    step = f"Close it: chmod -R go= '{home / 'keys'}'"
    return [Room(name="keys", health="failing", text=f"Other users may reach {names}.", next_step=step)]
