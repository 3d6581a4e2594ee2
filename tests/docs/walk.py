"""Walking through a page as its reader does: every block in its order, in a real shell, in an empty home of its own.

A `bash` block runs in the page's one shell; a `python` block is a program of its own, run by the same interpreter; a
block with a title is written to that file instead. Ports that a page names are replaced by free ones, so that two
pages, or two people, can run it at a time. Servers that a page leaves behind in the background are ended after it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.docs.blocks import Block

DEADLINE = 420.0
"""Seconds a page may take: a minute or less in quiet, several times that beside other work."""
PORTS = re.compile(r"(?<=[: ])(8765|8283|5005)(?=[\s/\"',)]|$)", re.MULTILINE)
_MARK = "-*- block"
_END = """
status=$?
[ $status -eq 0 ] || exit $status
"""


@dataclass(frozen=True)
class Walked:
    """What came of a page: what each of its blocks printed, and at which one it ended."""

    outputs: dict[int, str]
    code: int | None
    last: int

    def told(self) -> str:
        """How it ended, for a person."""
        how = "did not end in time" if self.code is None else f"ended with code {self.code}"
        return f"the block at line {self.last} {how}:\n{self.outputs.get(self.last, '')}"


def runs(block: Block) -> bool:
    """Whether a walk does anything with the block."""
    return block.language in {"bash", "python"} or (block.title is not None and block.title != "output")


def walk(blocks: list[Block], folder: Path) -> Walked:
    """Run a page's blocks in `folder`, which is empty."""
    files, work = folder / "blocks", folder / "work"
    for one in (files, work, folder / "user"):
        one.mkdir(parents=True)
    ports = {name: _free_port() for name in ("8765", "8283", "5005")}
    script = ["set -uo pipefail", "set -e", "trap '[ -z \"$(jobs -p)\" ] || kill $(jobs -p)' EXIT"]
    for block in filter(runs, blocks):
        text = PORTS.sub(lambda found: str(ports[found[0]]), block.text)
        script += [f"echo; echo '{_MARK} {block.line}'", _step(block, text, files)]
    program = folder / "page.sh"
    program.write_text("\n".join(script) + "\n", encoding="utf-8")
    printed = folder / "printed.txt"
    with printed.open("w", encoding="utf-8") as out:
        shell = subprocess.Popen(
            ["bash", str(program)],
            cwd=work,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = shell.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(shell)
    return _read(printed.read_text(encoding="utf-8", errors="replace"), code)


def _step(block: Block, text: str, files: Path) -> str:
    if block.language == "bash" and not block.title:
        return text + _END
    kept = files / f"{block.line}"
    kept.write_text(text, encoding="utf-8")
    if not block.title:
        return f"python {shlex.quote(str(kept))}{_END}"
    target = shlex.quote(block.title)
    return f'mkdir -p "$(dirname {target})"; cp {shlex.quote(str(kept))} {target}'


def _environment(folder: Path) -> dict[str, str]:
    """What a new user has: a home, a PATH with the environment's programs, and no settings."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {
        "PATH": path,
        "HOME": str(folder / "user"),
        "ATLAS_HOME": str(folder / "home"),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        "COLUMNS": "120",
    }


def _read(printed: str, code: int | None) -> Walked:
    parts = re.split(rf"^{re.escape(_MARK)} (\d+)\n", printed, flags=re.MULTILINE)
    numbers = [int(number) for number in parts[1::2]]
    outputs = dict(zip(numbers, parts[2::2], strict=True))
    return Walked(outputs, code, numbers[-1] if numbers else 0)


def _end(shell: subprocess.Popen[bytes]) -> None:
    """End whatever the page left running: asked first, so that servers can close their files."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(shell.pid, how)
        except ProcessLookupError:
            return
        try:
            shell.wait(15)
        except subprocess.TimeoutExpired:
            continue


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def shell_is_there() -> bool:
    """Whether this machine has the shell that the pages are written for."""
    return shutil.which("bash") is not None
