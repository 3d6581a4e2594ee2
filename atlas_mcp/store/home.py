"""The home folder: where everything ATLAS keeps lies, and nothing lies elsewhere.

Promise: a home that is opened can be written, and is closed to other users if ATLAS made it; its databases and logs are
closed to them in any case. Its id and its keys are made once, whole, and never change, also when several processes open
a new home at the same moment.
"""

from __future__ import annotations

import re
import secrets
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from atlas_mcp.errors import LockTimeout, UnwritableHome
from atlas_mcp.store.files import make_private, prepare, write_private
from atlas_mcp.store.locks import Locks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

OPEN = "open-"
"""How the locks begin of the processes that have the home open."""
RESTORING = "restoring"
"""The lock of the process that restores something into it."""
RESTORE_PLAN = Path(".restore") / "plan.json"
"""What a restore has decided to do and not finished."""
_FOLDERS = ("locks", "keys", "spool", "logs")


@dataclass(frozen=True)
class Home:
    """An opened home folder and the places in it."""

    path: Path

    @property
    def record(self) -> Path:
        """The relational record."""
        return self.path / "atlas.db"

    @property
    def letta(self) -> Path:
        """The embedded Letta's database."""
        return self.path / "letta.db"

    @property
    def engine(self) -> Path:
        """The run engine's database."""
        return self.path / "runs.db"

    @property
    def traces(self) -> Path:
        """MLflow's database."""
        return self.path / "mlflow.db"

    @property
    def spool(self) -> Path:
        """Spans on their way to MLflow."""
        return self.path / "spool"

    @property
    def logs(self) -> Path:
        """Log files."""
        return self.path / "logs"

    @property
    def locks(self) -> Path:
        """The folder of the file locks."""
        return self.path / "locks"

    @property
    def temporary(self) -> Path:
        """Folders of tools at work."""
        return self.path / "tmp"

    @property
    def moves(self) -> Path:
        """What constellations that are just being imported or moved need to go on, or to be taken back."""
        return self.path / "moves"

    @property
    def roster(self) -> Path:
        """Where the roster lies that an import brought along; it counts unless the settings name another."""
        return self.path / "roster.toml"

    @property
    def servers(self) -> Path:
        """Where the user's file of other MCP servers lies, unless the settings name another."""
        return self.path / "mcp_servers.json"

    @property
    def own_roster(self) -> Path | None:
        """The roster that lies there; None if none does."""
        return self.roster if self.roster.exists() else None

    @property
    def databases(self) -> tuple[Path, ...]:
        """The files that work is kept in; MLflow's is the carrier's own business."""
        return (self.record, self.letta, self.engine)

    def prepare_databases(self) -> None:
        """Make those that are missing, for their owner only. Raises BrokenStore for a file that is no database."""
        for path in self.databases:
            prepare(path)
        for old in self.path.glob("checkpoints.db*"):  # earlier versions kept there where team tasks stand
            old.unlink(missing_ok=True)

    @cached_property
    def local_id(self) -> str:
        """The home's own id: who opens it over stdio is the caller `local:<id>`."""
        return self._once(self.path / "id", lambda: uuid.uuid4().hex[:12])

    @contextmanager
    def in_use(self) -> Generator[None]:
        """Nothing is restored into the home while the body runs. LockTimeout while something is being restored."""
        locks = Locks(self.locks)
        held = locks.try_hold(f"{OPEN}{uuid.uuid4().hex}")
        try:
            if locks.is_held(RESTORING):
                raise LockTimeout(
                    f"a backup is just being restored into {self.path}.", next_step="Try again in a moment."
                )
            yield
        finally:
            if held is not None:
                held.release()

    def key(self, name: str) -> str:
        """The secret of that name (letters, digits, `.`, `_`, `-`), made at its first use in a file of mode 0600."""
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name):
            raise ValueError(f"not a name for a key: {name!r}")
        return self._once(self.path / "keys" / name, lambda: secrets.token_urlsafe(32))

    def _once(self, path: Path, make: Callable[[], str]) -> str:
        if kept := _read(path):
            return kept
        locks = Locks(self.locks)
        while (held := locks.try_hold("home")) is None:
            time.sleep(0.001)
        with held:
            if kept := _read(path):
                return kept
            made = make()
            write_private(path, f"{made}\n")
            return made


def open_home(path: Path) -> Home:
    """The home at `path`, made if need be (mode 0700). Raises UnwritableHome, naming the reason."""
    path = path.expanduser().absolute()
    try:
        new = not path.exists()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if new or not any(path.iterdir()):
            path.chmod(0o700)
        for name in _FOLDERS:
            (path / name).mkdir(mode=0o700, exist_ok=True)
        if (path / RESTORE_PLAN).exists():
            from atlas_mcp.store.restore import finish_restore

            finish_restore(path, path / "locks")
        probe = path / f".probe-{uuid.uuid4().hex}"
        probe.touch(mode=0o600)
        probe.unlink()
        for file in (*path.glob("*.db*"), *(path / "logs").iterdir()):
            make_private(file)
    except OSError as error:
        raise UnwritableHome(str(path), (error.strerror or str(error)).lower()) from error
    return Home(path)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""
