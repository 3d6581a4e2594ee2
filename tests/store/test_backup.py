"""A home in one file: written while others write, read again, put back whole or not at all."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from atlas_mcp.errors import (
    BrokenPackage,
    BrokenStore,
    ConfigurationError,
    IllegalChange,
    InvalidInput,
    LockTimeout,
    NewerRecord,
)
from atlas_mcp.home_care import back_up, restore
from atlas_mcp.settings import load_settings
from atlas_mcp.store.backup import ABOUT, Backup, part_of
from atlas_mcp.store.home import Home, open_home

KEY = "sk-a-very-secret-key"
SETTINGS = f"""model = "anthropic:claude"
ANTHROPIC_API_KEY = "{KEY}"
daily_usd = 2.5
redis_url = "redis://:{KEY}@redis:6379/0"

[[letta_servers]]
name = "one"
base_url = "http://localhost:8283"
api_key = "{KEY}"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with two databases that are always changed together, and settings with keys."""
    monkeypatch.setenv("ATLAS_HOME", str(tmp_path / "home"))
    opened = open_home(tmp_path / "home")
    (opened.path / "settings.toml").write_text(SETTINGS)
    opened.prepare_databases()
    for path in (opened.record, opened.letta):
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE step (number INTEGER PRIMARY KEY, text TEXT)")
    return opened


def steps(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT count(*) FROM step").fetchone()[0]


def step(home: Home, number: int) -> None:
    """One change of both, as a turn makes it: neither is ever more than one ahead of the other."""
    for path in (home.record, home.letta):
        with closing(sqlite3.connect(path, timeout=30)) as database:
            database.execute("INSERT INTO step VALUES (?, ?)", (number, "x" * 2_000))
            database.commit()


def until_more(home: Home) -> None:
    """Return when whoever writes all the time has come to it again."""
    there, end = steps(home.letta), time.monotonic() + 60
    while steps(home.letta) == there:
        assert time.monotonic() < end
        time.sleep(0.001)


@contextmanager
def busy(home: Home) -> Iterator[threading.Event]:
    """Both databases are written all the time; the event is set when some were."""
    stop, begun = threading.Event(), threading.Event()

    def work() -> None:
        number = 1_000
        while not stop.is_set():
            number += 1
            step(home, number)
            if number == 1_020:
                begun.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield begun
    finally:
        stop.set()
        thread.join()


def test_a_backup_is_of_one_moment_while_others_write(home: Home, tmp_path: Path) -> None:
    with busy(home) as begun:
        assert begun.wait(60)
        for number in range(5):
            back_up(load_settings(), tmp_path / f"{number}.atlas")
            until_more(home)
    seen: list[int] = []
    for number in range(5):
        other = open_home(tmp_path / f"other{number}")
        restore(load_settings(home=other.path), tmp_path / f"{number}.atlas")
        record, letta = steps(other.record), steps(other.letta)
        assert record - letta in (0, 1), "a change is in one and not in the other"
        seen.append(record)
    assert seen == sorted(set(seen)), "nothing was written meanwhile, so nothing was tested"


def test_what_is_put_back_is_what_was_there_and_what_was_there_is_kept(home: Home, tmp_path: Path) -> None:
    step(home, 1)
    home_id = home.local_id
    back_up(load_settings(), tmp_path / "one.atlas")
    step(home, 2)
    (home.path / "chroma").mkdir()
    (home.path / "chroma" / "index").write_text("of another time")
    _, aside = restore(load_settings(), tmp_path / "one.atlas")
    assert (steps(home.record), steps(home.letta)) == (1, 1)
    assert aside
    assert (steps(aside / "atlas.db"), steps(aside / "letta.db")) == (2, 2)
    assert (aside / "chroma" / "index").exists()
    assert not (home.path / "chroma").exists()
    assert open_home(home.path).local_id == home_id
    assert (home.path / "settings.toml").read_text() == SETTINGS, "the settings that are there have the keys"
    assert oct(home.record.stat().st_mode)[-3:] == "600"


def test_a_new_home_gets_everything_and_no_key_is_in_the_file(home: Home, tmp_path: Path) -> None:
    step(home, 1)
    (home.path / "roster.toml").write_text('name = "mine"\n')
    home.servers.write_text('{"mcpServers": {"far": {"url": "https://far.example/mcp"}}}')
    file = tmp_path / "one.atlas"
    about = back_up(load_settings(), file)
    texts = {"id", "settings.toml", "roster.toml", "mcp_servers.json"}
    assert {part.name for part in about.parts} == {"atlas.db", "letta.db", *texts}
    assert oct(file.stat().st_mode)[-3:] == "600"
    with zipfile.ZipFile(file) as package:
        assert not [name for name in package.namelist() if KEY.encode() in package.read(name)]
    other = open_home(tmp_path / "other")
    restore(load_settings(home=other.path), file)
    assert open_home(other.path).local_id == home.local_id
    assert "daily_usd = 2.5" in (other.path / "settings.toml").read_text()
    assert (other.path / "roster.toml").read_text() == 'name = "mine"\n'
    assert other.servers.read_text() == home.servers.read_text()
    assert steps(other.record) == 1


def test_nothing_is_put_back_while_a_process_has_the_home_open(home: Home, tmp_path: Path) -> None:
    step(home, 1)
    back_up(load_settings(), tmp_path / "one.atlas")
    step(home, 2)
    with home.in_use(), pytest.raises(IllegalChange, match="Stop every atlas-mcp"):
        restore(load_settings(), tmp_path / "one.atlas")
    reading = (
        f"import sqlite3; d = sqlite3.connect({str(home.letta)!r}); d.execute('select 1 from step'); print(); input()"
    )
    with subprocess.Popen([sys.executable, "-c", reading], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        with pytest.raises(IllegalChange, match="a server has"):
            restore(load_settings(), tmp_path / "one.atlas")
        other.kill()
    assert (steps(home.record), steps(home.letta)) == (2, 2)
    restore(load_settings(), tmp_path / "one.atlas")
    assert (steps(home.record), steps(home.letta)) == (1, 1)


def test_a_home_is_not_opened_while_something_is_put_back(home: Home) -> None:
    from atlas_mcp.store.home import RESTORING
    from atlas_mcp.store.locks import Locks

    held = Locks(home.locks).try_hold(RESTORING)
    assert held
    with held, pytest.raises(LockTimeout, match="is just being restored"), home.in_use():
        pass


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-2_000])


def flipped(file: Path) -> None:
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    file.write_bytes(whole)


def no_zip(file: Path) -> None:
    file.write_text("not a backup")


def another_zip(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as package:
        package.writestr("letter.txt", "hello")


def climbing(file: Path) -> None:
    with zipfile.ZipFile(file) as package:
        about = Backup.model_validate_json(package.read(ABOUT))
    bad = about.parts[0].model_copy(update={"name": "../escaped.db"})
    with zipfile.ZipFile(file, "w") as package:
        package.writestr(ABOUT, about.model_copy(update={"parts": (bad,)}).model_dump_json())
        package.writestr("../escaped.db", "x")


def exchanged(file: Path) -> None:
    with zipfile.ZipFile(file) as package:
        held = {name: package.read(name) for name in package.namelist()}
    held["letta.db"] = held["atlas.db"] + b"x"
    with zipfile.ZipFile(file, "w") as package:
        for name, data in held.items():
            package.writestr(name, data)


@pytest.mark.parametrize("damage", [cut, flipped, no_zip, another_zip, climbing, exchanged])
def test_a_file_that_is_no_whole_backup_changes_nothing(home: Home, tmp_path: Path, damage: object) -> None:
    step(home, 1)
    file = tmp_path / "one.atlas"
    back_up(load_settings(), file)
    step(home, 2)
    assert callable(damage)
    damage(file)
    with pytest.raises(BrokenPackage):
        restore(load_settings(), file)
    assert (steps(home.record), steps(home.letta)) == (2, 2)
    assert not [*tmp_path.rglob("escaped.db")]
    assert not [*home.path.glob("before-restore-*")]


def test_a_backup_of_a_newer_atlas_changes_nothing(home: Home, tmp_path: Path) -> None:
    file, inner = tmp_path / "one.atlas", tmp_path / "atlas.db"
    back_up(load_settings(), file)
    step(home, 1)
    with zipfile.ZipFile(file) as package:
        held = {name: package.read(name) for name in package.namelist()}
    inner.write_bytes(held["atlas.db"])
    with closing(sqlite3.connect(inner)) as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES ('9999')")
        database.commit()
    about = Backup.model_validate_json(held[ABOUT])
    parts = tuple(part_of(inner) if part.name == "atlas.db" else part for part in about.parts)
    held |= {
        "atlas.db": inner.read_bytes(),
        ABOUT: about.model_copy(update={"parts": parts}).model_dump_json().encode(),
    }
    with zipfile.ZipFile(file, "w") as package:
        for name, data in held.items():
            package.writestr(name, data)
    with pytest.raises(NewerRecord):
        restore(load_settings(), file)
    assert (steps(home.record), steps(home.letta)) == (1, 1)


def test_a_damaged_database_is_named_and_gives_no_backup(home: Home, tmp_path: Path) -> None:
    with closing(sqlite3.connect(home.letta)) as database:
        database.executemany("INSERT INTO step VALUES (?, ?)", [(number, "x" * 2_000) for number in range(200)])
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = home.letta.read_bytes()
    home.letta.write_bytes(whole[:8_192] + b"\xff" * 100_000 + whole[108_192:])
    with pytest.raises(BrokenStore, match=r"letta\.db"):
        back_up(load_settings(), tmp_path / "one.atlas")
    assert not (tmp_path / "one.atlas").exists()
    assert [*tmp_path.glob(".one*")] == []


def test_a_damaged_home_is_mended_by_putting_a_backup_back(home: Home, tmp_path: Path) -> None:
    step(home, 1)
    back_up(load_settings(), tmp_path / "one.atlas")
    home.record.write_text("not a database")
    _, aside = restore(load_settings(), tmp_path / "one.atlas")
    assert steps(home.record) == 1
    assert aside
    assert (aside / "atlas.db").read_text() == "not a database"


def test_bad_places_are_told(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match="there is no folder"):
        back_up(load_settings(), tmp_path / "nowhere" / "one.atlas")
    with pytest.raises(InvalidInput, match="there is no file"):
        restore(load_settings(), tmp_path / "nothing.atlas")
    monkeypatch.setenv("ATLAS_DATABASE_URL", "postgresql://me:secret@db/atlas")
    monkeypatch.setenv("LETTA_BASE_URL", "http://letta:8283")
    for command, program in ((back_up, "pg_dump"), (restore, "pg_restore")):
        with pytest.raises(ConfigurationError, match=program) as raised:
            command(load_settings(), tmp_path / "one.atlas")
        assert "secret" not in str(raised.value)


KILLED = """
import os, signal, sys
from pathlib import Path
from atlas_mcp.home_care import restore
from atlas_mcp.settings import load_settings
left = int(sys.argv[2])
def counted(name):
    real = getattr(Path, name)
    def call(*given, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given, **named)
    setattr(Path, name, call)
for name in ("rename", "replace", "unlink", "mkdir"):
    counted(name)
restore(load_settings(), Path(sys.argv[1]))
"""


def test_killed_at_any_step_the_home_is_as_before_or_as_the_backup_and_never_mixed(home: Home, tmp_path: Path) -> None:
    step(home, 1)
    file = tmp_path / "one.atlas"
    back_up(load_settings(), file)
    step(home, 2)
    outcomes: list[int] = []
    for number in range(100):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(file), str(number)], env={**os.environ}, capture_output=True, text=True
        )
        opened = open_home(home.path)
        assert steps(opened.record) == steps(opened.letta)
        outcomes.append(steps(opened.record))
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        if outcomes[-1] == 1:
            step(home, 2)
    assert outcomes[0] == 2
    assert outcomes[-1] == 1
    assert len(outcomes) > 8
    assert not (home.path / ".restore").exists()
    assert json.loads(zipfile.ZipFile(file).read(ABOUT))["format"] == 1
