"""Run everything a change must pass: lint, format, types, then each test suite, with the time of each.

    python -m tests              all of it
    python -m tests store runs   these suites only

Two suites run at a time where there are two cores: much of what they do is to wait for processes of their own. What a
suite prints is shown when it has ended. A suite that needs npm's packages is skipped by name where they are missing;
with ATLAS_NO_SKIPS=1 a skip is a failure. Exit code 0 only when all passed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock

HERE = Path(__file__).parent
SHOWING = Lock()
CHECKS = {
    "lint": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["pyright"],
}
LONGEST = frozenset(
    {
        *(
            "cli",
            "clients",
            "contract",
            "deploy",
            "docs",
            "evaluation",
            "hostile",
            "main_job",
            "memory",
            "memory_crashes",
            "mlflow_server",
        ),
        *("install", "prompts", "quality", "runs_crashes", "scenarios", "server", "vectors", "watch"),
    }
)
"""Begun first, so that none of them is left alone at the end."""


def suites() -> dict[str, list[str]]:
    """Each suite's name and the command that runs it: the checks, then one folder of tests after the other."""
    folders = sorted(p.name for p in HERE.iterdir() if p.is_dir() and any(p.glob("test_*.py")))
    tests = {name: ["pytest", "-q", "--durations=3", f"tests/{name}"] for name in folders}
    return {**CHECKS, **tests, "architecture": ["pytest", "-q", *map(str, sorted(HERE.glob("test_*.py")))]}


def main(names: list[str]) -> int:
    """Run the named suites, or all; the exit code."""
    known = suites()
    if unknown := set(names) - set(known):
        sys.stderr.write(f"unknown suites: {', '.join(sorted(unknown))}; there are: {', '.join(known)}\n")
        return 2
    chosen = names or [*known]
    first = [name for name in chosen if name in CHECKS]
    rest = sorted((name for name in chosen if name not in CHECKS), key=lambda name: name not in LONGEST)
    outcomes = [_run(name, known[name]) for name in first]
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as lanes:
        running = [lanes.submit(_run, name, known[name]) for name in rest]
        outcomes += [done.result() for done in as_completed(running)]
    sys.stdout.write("\n== suites\n")
    for name, seconds, passed in outcomes:
        sys.stdout.write(f"{'ok    ' if passed else 'FAILED'} {seconds:7.1f} s  {name}\n")
    failed = sum(not passed for _, _, passed in outcomes)
    sys.stdout.write(f"{len(outcomes) - failed} passed, {failed} failed\n")
    return 1 if failed else 0


def _run(name: str, command: list[str]) -> tuple[str, float, bool]:
    """Run one suite and show what it printed; its name, its seconds, and whether it passed."""
    start = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-m", *command], cwd=HERE.parent, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    with SHOWING:
        sys.stdout.write(f"\n== {name}\n{ran.stdout.decode(errors='replace')}")
        sys.stdout.flush()
    return name, time.monotonic() - start, ran.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
