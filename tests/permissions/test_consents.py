"""What the caller consented to is listed and revoked on the command line, beside a server at work."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import anyio.to_thread
import pytest

from tests.permissions.conftest import answered, chat, held

if TYPE_CHECKING:
    from mcp.client import Client

    from tests.permissions.board import Board

pytestmark = pytest.mark.anyio


async def consents(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "atlas_mcp", "tools", "consents", *words]
    return await anyio.to_thread.run_sync(lambda: subprocess.run(command, capture_output=True, text=True, check=False))


async def test_a_consent_is_listed_and_once_revoked_the_next_call_is_asked_about(client: Client, given: Board) -> None:
    await answered(client, await held(client), "always approve")
    assert (await chat(client))["status"] == "completed"
    listed = await consents("list")
    assert "post_note (write), always, since " in listed.stdout, listed.stderr
    assert (await consents("list", "--http")).stdout.startswith("There are none")
    revoked = await consents("revoke", "post_note")
    assert revoked.stdout == f"revoked: {listed.stdout}"
    assert (await held(client))["question"]
    assert len(given.notes) == 2


async def test_what_was_never_given_cannot_be_revoked(client: Client) -> None:
    await chat(client, "Good morning.")
    done = await consents("revoke", "post_note")
    assert done.returncode != 0
    assert "there is no consent 'post_note'" in done.stderr
