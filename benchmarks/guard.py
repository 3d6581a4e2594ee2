"""What the guard takes for a kilobyte of text: run `python benchmarks/guard.py [--kilobytes N]`.

Rules over what enters and what leaves, beside two peers in the same run: the same patterns as they stand, each searched
through the whole text, as a scanner does that knows nothing of anchors; and a walk over the text's words. For each kind
of text: milliseconds for a kilobyte at three lengths, which is the same for all where the time grows with the length,
and how many times as long each peer takes. Then what looking at a call of a tool takes, and what the validator adds of
its own, with a model that answers at once.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))

from atlas_mcp.guard.calling import CallRules
from atlas_mcp.guard.layers import About
from atlas_mcp.guard.leaving import LeavingRules
from atlas_mcp.guard.red_team import read_cases
from atlas_mcp.guard.rule import book
from atlas_mcp.guard.rules import hits
from atlas_mcp.guard.validator import Opinion, Validator
from atlas_mcp.model.guard import Direction
from benchmarks._machine import machine_line

ROOT = Path(__file__).parents[1]
REPEATS = 5


def texts() -> dict[str, str]:
    """One of each kind."""
    benign = tomllib.loads((ROOT / "tests" / "guard" / "benign.toml").read_text("utf-8"))
    return {
        "prose": (ROOT / "atlas_mcp" / "data" / "federalist-10.md").read_text("utf-8"),
        "code": (ROOT / "atlas_mcp" / "guard" / "rules.py").read_text("utf-8"),
        "many languages": "\n".join(benign["business"]["texts"]),
        "attacks": "\n".join(one.text for one in read_cases()),
    }


def long(text: str, kilobytes: int) -> str:
    """The text again and again, up to that length."""
    return (text * (kilobytes * 1_000 // len(text) + 1))[: kilobytes * 1_000]


def milliseconds(work: Callable[[str], object], text: str) -> float:
    """For a kilobyte: the median of some runs."""
    work(text)
    samples: list[float] = []
    for _ in range(REPEATS):
        began = time.process_time()
        work(text)
        samples.append(time.process_time() - began)
    return statistics.median(samples) * 1e6 / len(text)


def plainly(text: str) -> list[int]:
    """The peer: every pattern, everywhere."""
    small = text.lower()
    return [len(pattern.findall(small)) for pattern in PATTERNS]


def words(text: str) -> int:
    """The least that any reader does."""
    return len(re.findall(r"\w+", text))


PATTERNS = [pattern for rule in book().rules for pattern in rule.compiled]
LEAVING = LeavingRules({f"value-of-a-key-{n:04}": f"KEY_{n}" for n in range(12)})


def rules(kilobytes: int) -> None:
    """A line for each kind of text."""
    lengths = sorted({1, max(1, kilobytes // 10), kilobytes})
    shown = " ".join(f"{length:>5} KB" for length in lengths)
    print(f"entering, ms for a kilobyte at {shown}; leaving; times as long: every pattern, words alone")
    for kind, text in texts().items():
        entering = [milliseconds(hits, long(text, length)) for length in lengths]
        leaving = milliseconds(LEAVING.spots, long(text, lengths[-1]))
        peers = [milliseconds(peer, long(text, lengths[-1])) / entering[-1] for peer in (plainly, words)]
        figures = " ".join(f"{value:8.4f}" for value in entering)
        print(f"{kind:>15} {figures}; leaving {leaving:.4f}; every pattern {peers[0]:.1f}, words alone {peers[1]:.2f}")


async def calls() -> None:
    """What a call costs: one with an address in which there is much to decode, and one with a long text."""
    looking = CallRules(LEAVING)
    address = "https://example.org/d/1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms/edit?q=%C3%9Cberfahrt&page=2"
    for kind, text in {"an address": address, "20 KB of prose": long(texts()["prose"], 20)}.items():
        samples: list[float] = []
        for _ in range(REPEATS):
            began = time.process_time()
            for _ in range(50):
                await looking.look({"text": text, "start": 0}, About("call"))
            samples.append((time.process_time() - began) / 50)
        print(f"a call with {kind}: {statistics.median(samples) * 1e3:.4f} ms")


async def validator(kilobytes: int) -> None:
    """What stands around the model's own time."""

    async def passes(prompt: str, about: About) -> Opinion:
        return Opinion(verdict="pass")

    layer, text = Validator(passes, "at once"), long(texts()["prose"], kilobytes)
    directions: tuple[Direction, ...] = ("entering", "leaving")
    for direction in directions:
        began = time.process_time()
        for _ in range(REPEATS):
            await layer.check(text, direction, About("result", name="page"))
        taken = (time.process_time() - began) / REPEATS
        print(f"validator, {direction}: {taken * 1e6 / len(text):.4f} ms for a kilobyte beside its model's own time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kilobytes", type=int, default=100, help="the longest text")
    kilobytes = parser.parse_args().kilobytes
    print(machine_line())
    rules(kilobytes)
    anyio.run(calls)
    anyio.run(validator, kilobytes)


if __name__ == "__main__":
    main()
