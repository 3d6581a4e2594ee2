"""The difference of two variants that did the same examples: how large it is, and whether chance explains it.

The example is the unit: several runs of it are one value, their mean (`compare` is given those). Nothing is assumed
about how scores are distributed, only that without a real difference A and B could be swapped in each example. Then the
sign of each difference d is a coin, which gives both the test and the interval, from the means of all subsets of d:

- Test (Fisher's exact sign-flip test): turning the signs of a subset F changes sum(d) to sum(d) - 2*sum(F), so it is at
  least as large as seen exactly where sum(F) <= 0. One-sided p = (1 + #{F not empty: sum(F) <= 0}) / 2^n; the smaller
  of both sides is doubled.
- Interval (J. A. Hartigan, Using subsample values as typical values, JASA 64, 1969, 1303-1317): of the 2^n - 1 ordered
  subset means each gap holds the true difference with the same chance 2^-n, so the k-th from either end, with
  k = floor(alpha/2 * 2^n), are the ends. It leaves zero out exactly where the test says so.

With at most EXACT examples every subset is looked at. With more, DRAWS of them are drawn by a seeded generator, and the
same counts hold with DRAWS + 1 for 2^n (B. Phipson, G. K. Smyth, Permutation p-values should never be zero, 2010).
With n examples p is at least 2^(1-n): under six of them nothing can be told at 5 %, and the text says so.

Several scores are corrected by step-down minP (P. H. Westfall, S. S. Young, Resampling-Based Multiple Testing, 1993,
algorithm 2.8), in two families: how good, and what it took. The signs of an example are turned in all its scores at
once, so that scores that say the same cost nothing, as they would by Holm's method: in the order of their p, a score's
adjusted one is how often the smallest p of it and those after it is as small as seen, and at least the one before it.
A score in which no example differs has p = 1, and costs the others nothing either.

The effect is the mean of d over its standard deviation, with Hedges'
correction for few examples, 1 - 3/(4(n-1) - 1). How many examples a difference as seen would take at 80 % power:
((z(1-alpha/2) + z(0.8)) / effect)^2 + z(1-alpha/2)^2 / 2 (W. C. Guenther, Amer. Statist. 35, 1981, 243-244), alpha
being that of one score.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import TYPE_CHECKING

from atlas_mcp.errors import InvalidInput
from atlas_mcp.model.evaluation import Comparison, Difference, Family, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ALPHA = 0.05
POWER = 0.8
EXACT = 14
"""Examples up to which all subsets are looked at: 16,383 of them."""
DRAWS = 9_999
SEED = 1979
_TINY = 1e-9


@dataclass(frozen=True)
class Score:
    """A score by its name, and what it answers."""

    name: str
    family: Family = "quality"
    unit: str = ""


@dataclass(frozen=True)
class Found:
    """What the differences of one score say by themselves."""

    p: float
    low: float | None
    high: float | None


def compare(
    a: str, b: str, pairs: Mapping[Score, Mapping[str, tuple[float, float]]], *, alpha: float = ALPHA
) -> Comparison:
    """What B is beside A, from each score's (value of A, value of B) by every example that both did.

    InvalidInput without a score, for a score without a pair, for a value that is no finite number, and for an `alpha`
    outside 0 to 0.5. The same pairs always give the same comparison.
    """
    _check(pairs, alpha)
    differences_of = {score: {e: y - x for e, (x, y) in both.items()} for score, both in pairs.items()}
    found = {score: sign_flip([*ds.values()], alpha) for score, ds in differences_of.items()}
    differences: list[Difference] = []
    families: tuple[Family, ...] = ("quality", "expense")
    for family in families:
        own = [score for score in pairs if score.family == family]
        adjusted = step_down({score: differences_of[score] for score in own})
        differences += [
            _difference(score, [*pairs[score].values()], found[score], max(found[score].p, adjusted[score]), alpha)
            for score in own
        ]
    quality = _joined(d.verdict for d in differences if d.family == "quality")
    expense = _joined(d.verdict for d in differences if d.family == "expense")
    examples = max(map(len, pairs.values()))
    text = _in_words(a, b, differences, quality, expense, examples, alpha)
    return Comparison(
        a=a, b=b, examples=examples, alpha=alpha, differences=tuple(differences), quality=quality, expense=expense,
        text=text,
    )  # fmt: skip


def sign_flip(differences: Sequence[float], alpha: float = ALPHA) -> Found:
    """The test and the interval of the mean difference; see the module."""
    n = len(differences)
    tiny = _TINY * math.fsum(map(abs, differences))
    masks = _masks(n)
    sums, sizes = _sums(differences, masks), [mask.bit_count() for mask in masks]
    subsets = [*zip(sums, sizes, strict=True)][1:]
    total = len(subsets) + 1
    up = (1 + sum(s <= tiny for s, _ in subsets)) / total
    down = (1 + sum(s >= -tiny for s, _ in subsets)) / total
    k = math.floor(alpha / 2 * total)
    if k < 1:
        return Found(min(1.0, 2 * min(up, down)), None, None)
    means = sorted(s / size for s, size in subsets)
    return Found(min(1.0, 2 * min(up, down)), means[k - 1], means[-k])


def step_down(differences: Mapping[Score, Mapping[str, float]]) -> dict[Score, float]:
    """Each score's p with all of them in view; see the module. The keys of the differences are their examples."""
    examples = sorted({example for ds in differences.values() for example in ds})
    ps = {score: _flipped([ds.get(e, 0.0) for e in examples]) for score, ds in differences.items()}
    ordered = sorted(ps, key=lambda score: ps[score][0])
    adjusted: dict[Score, float] = {}
    smallest = [1.0] * max(map(len, ps.values()), default=0)
    for score in reversed(ordered):  # from the last: the smallest of a score and those after it
        smallest = [*map(min, smallest, ps[score])]
        adjusted[score] = sum(one <= ps[score][0] for one in smallest) / len(smallest)
    highest = 0.0
    for score in ordered:
        adjusted[score] = highest = max(highest, adjusted[score])
    return adjusted


def fewest(alpha: float) -> int:
    """The examples without which no difference can be told from noise, however large it is."""
    return math.ceil(1 - math.log2(alpha) - _TINY)


def needed(effect: float, alpha: float) -> int:
    """The examples at which an effect of that size is seen four times out of five."""
    normal = NormalDist()
    z = normal.inv_cdf(1 - alpha / 2)
    count = ((z + normal.inv_cdf(POWER)) / effect) ** 2 + z * z / 2
    return max(fewest(alpha), math.ceil(count))


def hedges_g(differences: Sequence[float]) -> float | None:
    """The mean of paired differences over their standard deviation, corrected for few; None where there is none."""
    n = len(differences)
    if n < 2 or (spread := stdev(differences)) <= _TINY * max(map(abs, differences), default=0.0):
        return None
    return fmean(differences) / spread * (1 - 3 / (4 * (n - 1) - 1))


def _masks(n: int) -> Sequence[int]:
    """Subsets of n examples as bits, the empty one first: all there are, or DRAWS of the others."""
    if n <= EXACT:
        return range(1 << n)
    chance, drawn = random.Random(SEED), [0]  # noqa: S311 - a seeded draw, no secret
    while len(drawn) <= DRAWS:
        if bits := chance.getrandbits(n):
            drawn.append(bits)
    return drawn


def _sums(differences: Sequence[float], masks: Sequence[int]) -> list[float]:
    """The sum of each subset."""
    if len(differences) > EXACT:
        return [math.fsum(d for i, d in enumerate(differences) if mask >> i & 1) for mask in masks]
    sums = [0.0]
    for d in differences:
        sums += [s + d for s in sums]
    return sums


def _flipped(differences: Sequence[float]) -> list[float]:
    """The p as seen, and then those that there would be with the signs of each subset turned."""
    masks, total = _masks(len(differences)), math.fsum(differences)
    unit = _TINY * math.fsum(map(abs, differences)) or 1.0  # what differs by less is the same
    sizes = [round(abs(total - 2 * s) / unit) for s in _sums(differences, masks)]
    ordered = sorted(sizes)
    return [1 - bisect_left(ordered, size) / len(ordered) for size in sizes]


def _check(pairs: Mapping[Score, Mapping[str, tuple[float, float]]], alpha: float) -> None:
    if not 0 < alpha <= 0.5:
        raise InvalidInput(f"{alpha} is no level.", argument="alpha", next_step="Give one such as 0.05.")
    if not pairs or not all(pairs.values()):
        raise InvalidInput(
            "there is no example that both did.",
            argument="pairs",
            next_step="Run both on the same set.",
        )
    for score, both in pairs.items():
        if not all(math.isfinite(value) for pair in both.values() for value in pair):
            raise InvalidInput(f"a value of {score.name!r} is no finite number.", argument="pairs")


def _differs(both: Sequence[tuple[float, float]]) -> bool:
    return any(abs(y - x) > _TINY * max(abs(x), abs(y)) for x, y in both)


def _difference(
    score: Score, both: Sequence[tuple[float, float]], found: Found, adjusted: float, alpha: float
) -> Difference:
    ds = [y - x for x, y in both]
    mean, effect = fmean(ds), hedges_g(ds)
    verdict = _verdict(mean if score.family == "quality" else -mean, adjusted, alpha)
    wanted = None
    if verdict == "noise" and _differs(both):
        wanted = needed(effect, alpha) if effect else fewest(alpha) if effect is None and mean else None
    told = Difference(
        score=score.name, family=score.family, examples=len(both), mean_a=fmean(x for x, _ in both),
        mean_b=fmean(y for _, y in both), difference=mean, low=found.low, high=found.high, effect=effect, p=found.p,
        p_adjusted=adjusted, verdict=verdict, needed=wanted, text="",
    )  # fmt: skip
    return told.model_copy(update={"text": _told(told, score.unit)})


def _verdict(gain: float, p: float, alpha: float) -> Verdict:
    if p > alpha or not gain:
        return "noise"
    return "better" if gain > 0 else "worse"


def _joined(verdicts: Iterable[Verdict]) -> Verdict:
    said: set[Verdict] = {verdict for verdict in verdicts if verdict != "noise"}
    return "mixed" if len(said) > 1 else said.pop() if said else "noise"


def _told(d: Difference, unit: str) -> str:
    mark = f" {unit}" if unit else ""
    ends = f" ({d.low:+.3g} to {d.high:+.3g})" if d.low is not None and d.high is not None else ""
    said = f"{d.score}: {d.mean_a:.4g} to {d.mean_b:.4g}{mark}, {d.difference:+.3g}{ends}, p = {d.p_adjusted:.2g}: "
    if d.verdict != "noise":
        return said + d.verdict
    if not d.difference and d.effect is None:
        return f"{d.score}: {d.mean_a:.4g}{mark} in both"
    enough = f"; a difference as large takes about {d.needed} examples to be told" if d.needed else ""
    return said + "not more than noise" + enough


def _in_words(
    a: str, b: str, differences: Sequence[Difference], quality: Verdict, expense: Verdict, examples: int, alpha: float
) -> str:
    count = f"{examples} example{'' if examples == 1 else 's'}"
    parts: list[str] = []
    judged = [d for d in differences if d.family == "quality"]
    if judged:
        told = [d for d in judged if d.verdict != "noise"]
        by = ", ".join(f"{d.score} {d.difference:+.3g}" for d in told)
        parts.append(
            {
                "better": f"{b} does better work than {a} on {count} ({by}).",
                "worse": f"{b} does worse work than {a} on {count} ({by}).",
                "mixed": f"{b} is better than {a} in one thing and worse in another on {count} ({by}).",
                "noise": f"In how good the work is, {b} and {a} differ by no more than noise on {count}."
                + _how_many(judged, examples, alpha),
            }[quality]
        )
    spent = [d for d in differences if d.family == "expense" and d.verdict != "noise"]
    if spent:
        by = ", ".join(f"{d.score} {d.difference:+.3g}" for d in spent)
        words = {"better": "takes less", "worse": "takes more", "mixed": "takes more of one thing and less of another"}
        parts.append(f"{b} {words[expense]} ({by}).")
    return " ".join(parts)


def _how_many(judged: Sequence[Difference], examples: int, alpha: float) -> str:
    if examples < (least := fewest(alpha)):
        return f" With fewer than {least} examples no difference can be told, however large."
    wanted = [d for d in judged if d.needed]
    if not wanted:
        return ""
    nearest = min(wanted, key=lambda d: d.needed or 0)
    return f" If the difference in {nearest.score} is as seen, about {nearest.needed} examples would tell it."
