"""The home folder: made closed, its id and keys made once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from atlas_mcp.errors import UnwritableHome
from atlas_mcp.store.home import open_home

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")


@posix
def test_a_new_home_is_closed_to_others(home: Path):
    opened = open_home(home)
    assert home.stat().st_mode & 0o777 == 0o700
    opened.key("http")
    assert (home / "keys" / "http").stat().st_mode & 0o777 == 0o600


def test_the_id_and_the_keys_stay_the_same(home: Path):
    first, again = open_home(home), open_home(home)
    assert first.local_id == again.local_id != ""
    assert first.key("http") == again.key("http")
    assert first.key("http") != first.key("letta")
    assert len(first.key("http")) >= 32


def test_many_processes_that_open_a_new_home_at_once_agree_on_its_id(home: Path):
    code = (
        "import sys; from pathlib import Path; from atlas_mcp.store.home import open_home\n"
        "home = open_home(Path(sys.argv[1])); print(home.local_id, home.key('http'))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    said = {process.communicate(timeout=60)[0] for process in processes}
    assert len(said) == 1
    assert all(process.returncode == 0 for process in processes)


def test_a_home_that_is_a_file_is_refused_with_the_reason(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UnwritableHome, match=r"ATLAS_HOME: .*file"):
        open_home(tmp_path / "file")
    with pytest.raises(UnwritableHome):
        open_home(tmp_path / "file" / "below")


@posix
def test_a_home_without_permission_is_refused(tmp_path: Path):
    # Root may write into any folder but the kernel's own.
    place = Path("/proc") if os.geteuid() == 0 and Path("/proc/self").exists() else tmp_path
    tmp_path.chmod(0o500)
    with pytest.raises(UnwritableHome):
        open_home(place / "home")


def test_a_name_that_leaves_the_folder_is_no_key(home: Path):
    for name in ("../x", "", "a/b", ".hidden"):
        with pytest.raises(ValueError, match="not a name"):
            open_home(home).key(name)
