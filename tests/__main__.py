"""Run everything a change must pass: lint, format, types, then each test suite, with the time of each.

    python -m tests              all of it
    python -m tests store runs   these suites only

A suite that needs npm's packages is skipped by name where they are missing; with ATLAS_NO_SKIPS=1 a skip is a failure.
Exit code 0 only when all passed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
CHECKS = {
    "lint": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["pyright"],
}


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
    outcomes: list[tuple[str, float, bool]] = []
    for name in names or known:
        sys.stdout.write(f"\n== {name}\n")
        sys.stdout.flush()
        start = time.monotonic()
        code = subprocess.run([sys.executable, "-m", *known[name]], cwd=HERE.parent, check=False).returncode
        outcomes.append((name, time.monotonic() - start, code == 0))
    sys.stdout.write("\n== suites\n")
    for name, seconds, passed in outcomes:
        sys.stdout.write(f"{'ok    ' if passed else 'FAILED'} {seconds:7.1f} s  {name}\n")
    failed = sum(not passed for _, _, passed in outcomes)
    sys.stdout.write(f"{len(outcomes) - failed} passed, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
