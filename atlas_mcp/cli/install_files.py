"""Hosts' files changed: what would change is known first, what was there is kept, and readers see the old or the new.

What a file was before is kept in the home, closed to others, for it may hold keys. Undoing gives exactly that back
while nobody else has changed the file since; else it takes out what is ATLAS's and leaves the rest.
"""

from __future__ import annotations

import hashlib
import os
import stat
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from atlas_mcp.cli.install_edit import drop, get, put
from atlas_mcp.cli.install_hosts import MODULE, NAME, entry, inputs
from atlas_mcp.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from atlas_mcp.cli.install_hosts import Host

T = TypeVar("T")
KEPT = "hosts"
"""The folder in the home that keeps what files were before."""


@dataclass(frozen=True)
class Change:
    """A file as it is and as it will be; None where there is none."""

    path: Path
    before: str | None
    after: str | None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return self.before == self.after


def read(path: Path) -> str | None:
    """The file's text, None where there is no file. InvalidInput or ConfigurationError when it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise InvalidInput(f"{path} is not UTF-8 text.", next_step="Nothing was changed. Save it as UTF-8.") from None
    except OSError as error:
        raise _refused(path, error, "read") from None


def entry_in(path: Path, text: str | None, host: Host) -> dict[str, Any] | None:
    """ATLAS's entry in a host's file, if it has one that is an object. InvalidInput with line and column."""
    found = _in_file(path, lambda: get(text or "", [host.servers, NAME]))
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def installing(host: Host, path: Path, python: str, variables: Mapping[str, str]) -> Change:
    """What to change so that the host starts ATLAS by that interpreter. InvalidInput for a file that cannot be read."""
    before = read(path)
    return Change(
        path,
        before,
        _in_file(path, lambda: _with(host, before, entry(host, python, variables), inputs(host, variables))),
    )


def uninstalling(host: Host, path: Path, home: Path) -> Change:
    """What to change so that ATLAS is no longer in it. InvalidInput for a file that cannot be read."""
    before = read(path)
    if before is None or entry_in(path, before, host) is None:
        return Change(path, before, before)
    mine = cast("dict[str, Any]", get(before, [host.servers, NAME]))
    asked = [one for one in _listed(get(before, ["inputs"])) if f"${{input:{one.get('id')}}}" in str(mine)]
    for was in [None, *map(read, reversed(kept(path, home)))]:
        if before == _recall(host, was, mine, asked) and not _is_ours(host, was):
            return Change(path, before, was)
    return Change(path, before, _without(host, before, [one["id"] for one in asked]))


def kept(path: Path, home: Path) -> list[Path]:
    """What is kept of the file, oldest first."""
    return sorted((home / KEPT).glob(f"{_mark(path)}-*"))


def write(change: Change, home: Path) -> Path | None:
    """Make the change, whole or not at all; where what was there before is kept, if anything was.

    A link is followed, and stays one. The file keeps its mode. Raises ConfigurationError when it cannot be written.
    """
    target = _target(change.path)
    backup = _keep(change, home) if change.before is not None else None
    try:
        if change.after is None:
            target.unlink()
        else:
            _replace(target, change.after)
    except OSError as error:
        raise _refused(change.path, error, "written") from None
    return backup


def _with(host: Host, text: str | None, wanted: Mapping[str, Any], asked: Sequence[Mapping[str, Any]]) -> str:
    """The text with the entry. Of one that is there, what ATLAS does not set stays: time-outs, further arguments."""
    made, place = text or "", [host.servers, NAME]
    found = get(made, place)
    there = cast("dict[str, Any]", found) if isinstance(found, dict) else {"url": None}
    if "url" in there or not isinstance(there.get("env", {}), dict):
        made = put(made, place, dict(wanted))
    else:
        for key, value in wanted.items():
            if key == "env":
                for name, one in value.items():
                    made = put(made, [*place, "env", name], one)
            elif key != "args" or not _starts_us(there):
                made = put(made, [*place, key], value)
    listed = _listed(get(made, ["inputs"]))
    for number, one in enumerate(one for one in asked if one["id"] not in {other.get("id") for other in listed}):
        made = put(made, ["inputs", len(listed) + number], dict(one))
    return made


def _recall(host: Host, was: str | None, mine: Mapping[str, Any], asked: Sequence[Mapping[str, Any]]) -> str | None:
    try:
        return _with(host, was, mine, asked)
    except InvalidInput:
        return None


def _is_ours(host: Host, text: str | None) -> bool:
    found = get(text or "", [host.servers, NAME])
    return isinstance(found, dict) and _starts_us(cast("dict[str, Any]", found))


def _starts_us(found: Mapping[str, Any]) -> bool:
    args = found.get("args")
    return isinstance(args, list) and cast("list[Any]", args)[: len(MODULE)] == MODULE


def _without(host: Host, text: str, asked: Sequence[str]) -> str:
    made = drop(text, [host.servers, NAME])
    for one in asked:
        ids = [other.get("id") for other in _listed(get(made, ["inputs"]))]
        if f"${{input:{one}}}" not in made and one in ids:
            made = drop(made, ["inputs", ids.index(one)])
    return made


def _listed(value: Any) -> list[dict[str, Any]]:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", item) if isinstance(item, dict) else {} for item in items]


def _in_file(path: Path, work: Callable[[], T]) -> T:
    try:
        return work()
    except InvalidInput as error:
        raise InvalidInput(
            f"{path}, {error.message}", next_step="Nothing was changed. Mend the file, then try again."
        ) from None


def _target(path: Path) -> Path:
    """Where the links lead. ConfigurationError when they lead in a circle."""
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise ConfigurationError(f"{path} is a link that leads nowhere: {error}.") from None


def _keep(change: Change, home: Path) -> Path:
    folder = home / KEPT
    path = folder / f"{_mark(change.path)}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{change.path.name.lstrip('.')}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(path, change.before or "")
    except OSError as error:
        raise _refused(folder, error, "written") from None
    return path


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        mode = 0o600
    else:
        if not os.access(path, os.W_OK):  # replaced it could be all the same; but somebody closed it on purpose
            raise PermissionError(13, "it is closed to writing")
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(mode)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _mark(path: Path) -> str:
    return hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:12]


def _refused(path: Path, error: OSError, how: str) -> ConfigurationError:
    reason = (error.strerror or str(error)).lower()
    return ConfigurationError(
        f"{path} cannot be {how}: {reason}.", next_step="Nothing was changed. Make it yours to write, then try again."
    )
