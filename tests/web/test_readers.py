"""What strangers wrote is read in processes of its own: it may hang, crash or swell there, and nowhere else."""

from __future__ import annotations

import anyio
import pytest

from atlas_mcp.errors import ToolFailed
from atlas_mcp.reach.readers import Readers
from atlas_mcp.store._platform import sandbox_means

pytestmark = pytest.mark.anyio


@pytest.fixture
async def readers():
    made = Readers()
    yield made
    await made.close()


async def test_a_function_gets_the_bytes_and_its_answer_comes_back(readers: Readers) -> None:
    assert await readers.call("json:loads", b'{"a": [1, "\xc3\xa9"]}', seconds=30) == {"a": [1, "é"]}


async def test_what_a_function_raises_is_told(readers: Readers) -> None:
    with pytest.raises(ToolFailed, match=r"it cannot be read \(JSONDecodeError"):
        await readers.call("json:loads", b"{", seconds=30)
    assert await readers.call("json:loads", b"1", seconds=30) == 1


async def test_a_job_beyond_its_deadline_is_killed_and_the_next_one_is_done(readers: Readers) -> None:
    with pytest.raises(ToolFailed, match="longer than 2 s"):
        await readers.call("builtins:exec", b"while True: pass", seconds=2)
    assert await readers.call("json:loads", b"2", seconds=30) == 2


async def test_a_crash_and_a_swelling_cost_that_job_only(readers: Readers) -> None:
    with pytest.raises(ToolFailed, match="reading it failed: it ended with code 7"):
        await readers.call("builtins:exec", b"import os; os._exit(7)", seconds=30)
    with pytest.raises(ToolFailed, match="more memory than it may"):
        await readers.call("builtins:exec", b"bytearray(4_000_000_000)", seconds=30)
    assert await readers.call("json:loads", b"3", seconds=30) == 3


async def test_a_cancelled_job_is_ended_and_the_next_one_is_done(readers: Readers) -> None:
    with anyio.move_on_after(1) as gone:
        await readers.call("builtins:exec", b"while True: pass", seconds=60)
    assert gone.cancelled_caught
    assert await readers.call("json:loads", b"4", seconds=30) == 4


@pytest.mark.skipif(sandbox_means() != "landlock+seccomp", reason="this kernel cannot close files and network")
@pytest.mark.parametrize(
    "source",
    [
        "open('/etc/passwd').read()",
        "open('/tmp/atlas-reader-was-here', 'w')",
        "import socket; socket.socket().connect(('127.0.0.1', 9))",
        "import subprocess; subprocess.run(['/bin/true'])",
    ],
)
async def test_a_process_reaches_neither_files_nor_network_nor_programs(readers: Readers, source: str) -> None:
    with pytest.raises(ToolFailed, match="PermissionError"):
        await readers.call("builtins:exec", source.encode(), seconds=30)


@pytest.mark.parametrize("said", ["b'{'", "b'1'", "b'{}'", "b'[' * 100_000"])
async def test_an_answer_that_is_none_costs_that_job_only(readers: Readers, said: str) -> None:
    """As where bytes let their author write into the process that reads them."""
    forged = f"""
import sys
answers, said = sys._getframe(2).f_locals["answers"], {said}
answers.write(len(said).to_bytes(8, "big") + said)
answers.flush()
"""
    with pytest.raises(ToolFailed, match="reading it failed"):
        await readers.call("builtins:exec", forged.encode(), seconds=30)
    assert await readers.call("json:loads", b"5", seconds=30) == 5
