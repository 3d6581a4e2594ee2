"""The sandbox: what hostile or clumsy source can do costs an error text, and its caller nothing."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from atlas_mcp.constellation import sandbox
from atlas_mcp.constellation.sandbox import run_source, sandbox_means
from atlas_mcp.constellation.tool_folders import ToolFolders
from atlas_mcp.errors import ToolFailed
from atlas_mcp.store import _platform
from atlas_mcp.store.home import open_home
from atlas_mcp.store.locks import Locks

resource = pytest.importorskip("resource", reason="the limits are read the POSIX way")
pytestmark = pytest.mark.anyio

kernel = pytest.mark.skipif(sandbox_means() != "landlock+seccomp", reason="this kernel has no means to close a sandbox")


async def run(body: str, **options: Any) -> str:
    """Run `body`, the lines of a function."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return await run_source(f"def tool():\n{lines}", "tool", {}, **options)


async def failure(body: str, **options: Any) -> str:
    with pytest.raises(ToolFailed) as caught:
        await run(body, **options)
    return str(caught.value)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for temporary files that only this test uses."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def left_behind() -> list[Path]:
    return list(Path(tempfile.gettempdir()).iterdir())


async def test_a_function_gets_its_arguments_and_gives_its_text():
    source = "def add(a: int, b: int) -> str:\n    return f'{a} + {b} = {a + b}'"
    assert await run_source(source, "add", {"a": 2, "b": 3}) == "2 + 3 = 5"


async def test_other_values_come_as_json_and_none_as_what_was_printed():
    assert await run("return {'a': [1, None, 'ü']}") == '{"a": [1, null, "ü"]}'
    assert await run("print('hello')\nprint('there')") == "hello\nthere\n"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 1 / 0", "ZeroDivisionError: division by zero (line 2)"),
        ("raise SystemExit(3)", "SystemExit"),
        ("import os\nos.abort()", "stopped before it answered"),
        ("print('x' * 100_000)", "printed more than 20,000 characters"),
        ("for _ in range(500_000): print('x' * 100)", "printed more than 20,000 characters"),
        ("return 'x' * 50_000_000", "50,000,000 characters"),
        ("import os\nwhile True: os.write(3, b'x' * 100_000)", "failed|stopped|wrote"),
        ("return len(bytearray(5_000_000_000))", "more than 512 MB"),
        ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E", "tool failed: E"),
        ("with open('big', 'wb') as f:\n    for _ in range(100): f.write(b'x' * 1_000_000)", "too large"),
    ],
)
async def test_what_goes_wrong_inside_is_an_error_text(body: str, said: str):
    with anyio.fail_after(60), pytest.raises(ToolFailed, match=said.replace("(", r"\(").replace(")", r"\)")):
        await run(body)


async def test_source_that_does_not_compile_or_lacks_the_function_says_so():
    with pytest.raises(ToolFailed, match="SyntaxError"):
        await run_source("def f(:", "f", {})
    with pytest.raises(ToolFailed, match="no function f"):
        await run_source("def g(): ...", "f", {})
    with pytest.raises(ToolFailed, match="TypeError"):
        await run_source("def f(): ...", "f", {"unknown": 1})


@pytest.mark.parametrize("body", ["while True: pass", "import time\ntime.sleep(60)"])
async def test_what_hangs_is_stopped_at_the_deadline(body: str):
    with anyio.fail_after(30):
        assert "longer than 0.5 s" in await failure(body, seconds=0.5)


async def test_what_hangs_is_told_as_that_also_when_nobody_looked_until_it_had_ended_by_itself(
    monkeypatch: pytest.MonkeyPatch,
):
    pids = list[int]()
    open_process = anyio.open_process

    async def note(*args: Any, **kwargs: Any) -> Any:
        process = await open_process(*args, **kwargs)
        pids.append(process.pid)
        return process

    async def stall() -> None:
        while not (pids and [*Path(tempfile.gettempdir()).glob("*/began")]):  # one may be another's, of before
            await anyio.lowlevel.checkpoint()
        with suppress(ChildProcessError):  # asyncio was quicker to take notice of it
            os.waitid(os.P_PID, pids[0], os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - the event loop stands still

    monkeypatch.setattr(sandbox.anyio, "open_process", note)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stall)
        said = await failure("import time\nopen('began', 'w').close()\ntime.sleep(60)", seconds=1.0)
        tasks.cancel_scope.cancel()
    assert "longer than 1 s" in said


async def test_a_cancelled_call_leaves_no_process_and_no_folder():
    pids = list[int]()
    open_process = anyio.open_process

    async def note(*args: Any, **kwargs: Any) -> Any:
        process = await open_process(*args, **kwargs)
        pids.append(process.pid)
        scope.cancel()
        return process

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox.anyio, "open_process", note)
        with anyio.fail_after(60), anyio.CancelScope() as scope:
            await run("import time\ntime.sleep(600)")
    assert scope.cancelled_caught
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    assert left_behind() == []


async def test_it_sees_an_empty_folder_and_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-secret")
    said = await run("import os\nopen('mine', 'w').close()\nreturn [os.listdir(), dict(os.environ)]")
    assert said.startswith('[["mine"]')
    assert "a-secret" not in said
    assert "ANTHROPIC" not in said
    assert left_behind() == []


async def test_the_parent_keeps_its_own_limits_and_memory():
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await failure("for _ in range(500_000): print('x' * 100)")
    await failure("import os\nwhile True: os.write(3, b'x' * 100_000)")
    assert resource.getrlimit(resource.RLIMIT_AS) == limits
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


@kernel
@pytest.mark.parametrize(
    "body",
    [
        "return open('/etc/passwd').read()",
        "import os\nreturn os.listdir('/')",
        "import os\nreturn open(f'/proc/{os.getppid()}/environ').read()",
        "return open('/proc/self/environ').read()",
        "open('/tmp/atlas-escaped', 'w').close()",
        "import os\nreturn os.fork()",
        "import subprocess\nreturn subprocess.run(['/bin/true'])",
        "import os\nos.execv('/bin/true', ['true'])",
        "import os\nos.kill(os.getppid(), 0)",
        "import os\nos.chmod('/tmp', 0o777)",
        "import os\nos.utime('/tmp')",
        "import socket\nsocket.socket()",
        "import socket\nsocket.socketpair()",
        "import socket\nsocket.create_connection(('127.0.0.1', 9), 1)",
        "import os\nos.memfd_create('x')",
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    ],
)
async def test_the_kernel_closes_files_network_and_other_processes(body: str):
    assert "Error" in await failure(body)


@kernel
async def test_raw_calls_do_not_get_past_the_kernel_either():
    body = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
said = []
# ptrace, fork, socket, io_uring_setup, and prctl that would let it outlive its parent, on x86_64
for call in ((101, 0, 0, 0, 0), (57,), (41, 2, 1, 0), (425, 1, 0), (157, 1, 0)):
    said.append((libc.syscall(*call), ctypes.get_errno()))
return said
"""
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers are of x86_64")
    assert await run(body) == "[[-1, 1], [-1, 1], [-1, 1], [-1, 1], [-1, 1]]"


@kernel
async def test_what_needs_only_python_works_inside():
    body = """
import decimal, math, re, sqlite3, statistics, threading, zoneinfo
found = []
database = sqlite3.connect(':memory:', check_same_thread=False)
thread = threading.Thread(target=lambda: found.append(database.execute('SELECT 41 + 1').fetchone()[0]))
thread.start()
thread.join()
return found[0]
"""
    assert await run(body) == "42"


@kernel
async def test_network_is_open_only_for_those_who_were_given_it_and_then_only_the_internet():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connect = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2).close()\nreturn 'connected'"
        assert "PermissionError" in await failure(connect)
        assert await run(connect, network=True) == "connected"
    assert "PermissionError" in await failure("import socket\nsocket.socket(socket.AF_UNIX)", network=True)
    assert "PermissionError" in await failure("return open('/etc/passwd').read()", network=True)


@kernel
async def test_source_of_an_agent_runs_where_the_kernel_closes_it_in():
    assert await run("return 'mine'", trusted=False) == "mine"


@pytest.mark.parametrize("means", ["none", "seccomp", "landlock"])
async def test_source_of_an_agent_never_runs_without_the_kernels_means(monkeypatch: pytest.MonkeyPatch, means: str):
    monkeypatch.setattr(_platform, "sandbox_means", lambda: means)
    assert f"means here: {means}" in await failure("return 'mine'", trusted=False)
    assert await run("return 'shipped'") == "shipped"


async def test_many_at_once_all_get_through():
    said = list[str]()

    async def one(n: int) -> None:
        said.append(await run(f"return '{n}'"))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            for n in range(16):
                group.start_soon(one, n)
    assert sorted(map(int, said)) == list(range(16))
    assert left_behind() == []


SERVER = """
import sys, anyio
from pathlib import Path
from atlas_mcp.constellation.sandbox import run_source
from tests.constellation.test_sandbox import folders_of

SLEEPER = "def tool():\\n import os, time\\n open('pid', 'w').write(str(os.getpid()))\\n time.sleep(60)"

async def main(home, seconds):
    await run_source(SLEEPER, "tool", {}, seconds=float(seconds), folders=folders_of(Path(home)))

anyio.run(main, *sys.argv[1:])
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="a process ends with its parent on Linux only")


def folders_of(path: Path) -> ToolFolders:
    home = open_home(path)
    return ToolFolders(home.temporary, Locks(home.locks))


def started(home: Path, seconds: float) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SERVER, str(home), str(seconds)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2])


def pid_of_tool(home: Path) -> int:
    """The number that the tool wrote into its folder, once it is there."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        if written := [text for path in home.glob("tmp/*/pid") if (text := path.read_text())]:
            return int(written[0])
        time.sleep(0.01)
    raise TimeoutError("no tool began")


@asynccontextmanager
async def sleeping_tool(home: Path, seconds: float) -> AsyncGenerator[tuple[subprocess.Popen[bytes], int]]:
    """A process that runs a tool that sleeps, and a descriptor that is readable when the tool's process is gone."""
    server = started(home, seconds)
    try:
        child = os.pidfd_open(await anyio.to_thread.run_sync(pid_of_tool, home))
        yield server, child
        os.close(child)
    finally:
        server.kill()
        server.wait()


async def gone(child: int, seconds: float) -> bool:
    return bool((await anyio.to_thread.run_sync(select.select, [child], [], [], seconds))[0])


@linux
async def test_a_tool_does_not_outlive_a_server_that_is_killed_and_its_folder_goes_at_the_next_start(home: Path):
    async with sleeping_tool(home, seconds=60) as (server, child):
        folders_of(home).sweep()
        assert len(list(home.glob("tmp/*"))) == 1, "what is in use is never swept"
        assert not await gone(child, 0)
        server.kill()
        assert await gone(child, 60)
        server.wait()
    folders_of(home).sweep()
    assert list(home.glob("tmp/*")) == []
    assert list(home.glob("locks/*")) == []


@linux
async def test_a_tool_whose_server_is_frozen_ends_by_itself_after_its_deadline(home: Path):
    async with sleeping_tool(home, seconds=10) as (server, child):  # enough to begin in, also on a busy machine
        server.send_signal(signal.SIGSTOP)
        assert await gone(child, 60)


async def test_a_tool_goes_on_when_a_worker_thread_ends():
    threads = [threading.Thread(target=time.sleep, args=(0.01 * n,)) for n in range(1, 6)]
    waits = (
        "import os, time\nopen('began', 'w').close()\nwhile not os.path.exists('go'): time.sleep(0.01)\nreturn 'done'"
    )
    said: list[str] = []

    async def tool() -> None:
        said.append(await run(waits, seconds=60))

    with anyio.fail_after(90):
        async with anyio.create_task_group() as group:
            group.start_soon(tool)
            while not (began := [*Path(tempfile.gettempdir()).glob("*/began")]):
                await anyio.lowlevel.checkpoint()
            await anyio.to_thread.run_sync(time.sleep, 0.01)
            for thread in threads:
                thread.start()
            for thread in threads:
                await anyio.to_thread.run_sync(thread.join)
            assert said == []
            began[0].with_name("go").touch()
    assert said == ["done"]


async def test_tools_work_in_folders_below_the_home_and_nowhere_else(home: Path):
    where = await run("import os\nopen('mine', 'w').close()\nreturn os.getcwd()", folders=folders_of(home))
    assert Path(where).parent == home / "tmp"
    assert list(home.glob("tmp/*")) == []
    assert left_behind() == [home]
