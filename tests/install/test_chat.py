"""`atlas-mcp chat`: a person and an agent in a terminal, one message from the command line, and a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pexpect
import pytest

from tests.interruptible import interruptible
from tests.server.doors import MODERN, call, over_stdio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Terminal = Callable[..., pexpect.spawn]

COMMAND = [sys.executable, "-m", "atlas_mcp"]
ENOUGH = 200
pytestmark = pytest.mark.timeout(300)
PROMPT = "you> "


def chat(*arguments: str, said: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "chat", *arguments],
        capture_output=True,
        text=True,
        timeout=ENOUGH,
        check=False,
        input=said or "",
        env={**os.environ, **environment},
    )


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """What starts a chat in a terminal; it is ended with the test."""
    started: list[pexpect.spawn] = []

    def start(*arguments: str, **environment: str) -> pexpect.spawn:
        plain = {"TERM": "xterm", "INPUTRC": os.devnull}
        process = pexpect.spawn(
            COMMAND[0],
            [*COMMAND[1:], "chat", *arguments],
            encoding="utf-8",
            timeout=ENOUGH,
            dimensions=(40, 100),
            env={**os.environ, **plain, **environment},
            preexec_fn=interruptible,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.close(force=True)


def test_one_message_gets_one_reply_and_nothing_else_on_stdout() -> None:
    told = chat("librarian", "Please remember: I like pears.")
    assert told.returncode == 0, told.stderr
    assert "pears" in told.stdout
    assert "\x1b" not in told.stdout
    assert "tokens" not in told.stdout
    again = chat("librarian", said="What do you remember of my likings?\n")
    assert again.returncode == 0
    assert again.stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "said", "words"),
    [
        (
            ["librarin", "hello"],
            None,
            "there is no agent 'librarin'. Did you mean 'librarian'? There are: global_super",
        ),
        (["librarian"], None, "MESSAGE: nothing was piped in"),
        (["librarian", "  "], None, "message: the message is empty"),
    ],
)
def test_a_mistake_is_told_in_words(arguments: list[str], said: str | None, words: str) -> None:
    told = chat(*arguments, said=said)
    assert told.returncode == 2
    assert words in told.stderr
    assert told.stdout == ""


def test_a_conversation_shows_replies_memory_and_cost_and_ends_with_ctrl_d(terminal: Terminal) -> None:
    talk = terminal("librarian")
    talk.expect_exact(PROMPT)
    talk.sendline("Please remember: I like pears.")
    talk.expect("remembered in human: .*pears")
    talk.expect(r"\d tokens in, [\d,]+ out")
    talk.expect_exact(PROMPT)
    talk.sendline("/memory")
    talk.expect("What librarian remembers")
    talk.expect("pears")
    talk.expect_exact(PROMPT)
    talk.send("/he\t\r")
    talk.expect("/new.*begin a new conversation")
    talk.expect_exact(PROMPT)
    talk.sendline("/nonsense")
    talk.expect("there is no command '/nonsense'")
    talk.expect_exact(PROMPT)
    talk.sendline("/new")
    talk.expect("A new conversation")
    talk.expect_exact(PROMPT)
    talk.send("\x1b[A\x1b[A\x1b[A\x1b[A\x1b[A\r")  # the fifth line from here, called back
    talk.expect("tokens in")
    talk.expect_exact(PROMPT)
    talk.send("half a line")
    talk.expect_exact("half a line")  # it reads again: an interrupt in between is heard with the next key only
    talk.sendintr()
    talk.expect_exact(PROMPT)
    talk.sendeof()
    talk.expect(pexpect.EOF)
    talk.wait()
    assert talk.exitstatus == 0


def test_ctrl_c_stops_the_turn_and_not_the_program(terminal: Terminal) -> None:
    talk = terminal("librarian", ATLAS_OFFLINE_DELAY="60")
    talk.expect_exact(PROMPT)
    talk.sendline("Think about this for a minute.")
    talk.expect("librarian is thinking")
    talk.sendintr()
    talk.expect("Stopped")
    talk.expect_exact(PROMPT)
    talk.sendline("/quit")
    talk.expect(pexpect.EOF)
    talk.wait()
    assert talk.exitstatus == 0
    runs = subprocess.run([*COMMAND, "runs", "list"], capture_output=True, text=True, timeout=ENOUGH, check=True)
    assert "cancelled" in runs.stdout
    assert "working" not in runs.stdout


def test_ctrl_c_ends_a_single_message(terminal: Terminal) -> None:
    talk = terminal("librarian", "Think about this.", ATLAS_OFFLINE_DELAY="60")
    talk.expect("librarian is thinking")
    talk.sendintr()
    talk.expect("atlas-mcp: interrupted")
    talk.expect(pexpect.EOF)
    talk.wait()
    assert talk.exitstatus == 130


@pytest.mark.anyio
async def test_it_works_beside_a_server_on_the_same_home_and_both_see_one_memory() -> None:
    async with over_stdio(MODERN) as client:
        await call(client, "chat_with_agent", agent="librarian", message="Please remember: I like plums.")
        told = chat("librarian", "Please remember: I like pears.")
        assert told.returncode == 0, told.stderr
        blocks = (await call(client, "get_agent_memory", agent="librarian", label="human"))["blocks"]
    assert "plums" in blocks[0]["value"]
    assert "pears" in blocks[0]["value"]
