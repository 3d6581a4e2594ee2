"""What a Python process that is closed in must still have: the paths that it reads, and a clean environment."""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
from pathlib import Path

SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo", "/etc/localtime")
"""What the interpreter reads of the system, where there are such paths."""


@functools.cache
def python_paths() -> tuple[list[str], list[str]]:
    """The paths of this Python that a process of it reads, its packages among them; and those of its packages."""
    paths = sysconfig.get_paths()
    packages = list(dict.fromkeys((paths["purelib"], paths["platlib"])))
    own = [paths["stdlib"], paths["platstdlib"], str(Path(sys.base_prefix) / "lib"), *packages]
    return list(dict.fromkeys([*own, *SYSTEM])), packages


def clean_environment(**own: str) -> dict[str, str]:
    """The environment of such a process: nothing of ours, and what is its own."""
    made = {"LANG": "C.UTF-8", "PATH": "", **own}
    # Without its root folder Windows starts no process.
    return made | ({"SYSTEMROOT": os.environ["SYSTEMROOT"]} if "SYSTEMROOT" in os.environ else {})
