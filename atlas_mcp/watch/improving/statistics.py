"""How sure one can be: the few sums that proposals rest on, each with its rule. Nothing is drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, exp, lgamma, log, pi, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MARGIN = 0.25
"""By how much of the five points of a rating something may be worse and still count as equal."""
LEAST_SCATTER = 0.25
"""Ratings that happen to be all alike are taken to scatter by so much: a handful of them proves no less."""
_Z = 1.959964
_STEPS = 400


@dataclass(frozen=True)
class Sample:
    """Ratings of runs: how many, their mean, and their standard deviation (of a sample: n - 1)."""

    n: int
    mean: float
    scatter: float


@dataclass(frozen=True)
class Difference:
    """How much higher the second sample's mean is, its 95 % interval, and how sure it is above -MARGIN."""

    mean: float
    low: float
    high: float
    not_worse: float


def sample(values: Sequence[float]) -> Sample:
    """The sample of at least two values. ValueError for fewer."""
    n = len(values)
    if n < 2:
        raise ValueError("a sample has at least two values")
    mean = sum(values) / n
    return Sample(n, mean, sqrt(sum((v - mean) ** 2 for v in values) / (n - 1)))


def compare(before: Sample, after: Sample, margin: float = MARGIN) -> Difference:
    """Welch's comparison of two means, for samples that may scatter differently.

    The difference divided by its standard error is taken to follow Student's distribution with the degrees of freedom
    of Welch and Satterthwaite. `not_worse` is that distribution's share below (difference + margin) / standard error.
    """
    parts = [max(s.scatter, LEAST_SCATTER) ** 2 / s.n for s in (before, after)]
    error = sqrt(sum(parts))
    freedom = sum(parts) ** 2 / sum(p**2 / (s.n - 1) for p, s in zip(parts, (before, after), strict=True))
    found, reach = after.mean - before.mean, _quantile(0.975, freedom) * error
    return Difference(found, found - reach, found + reach, student((found + margin) / error, freedom))


def share_below(successes: int, tries: int, limit: float) -> float:
    """How sure it is that a share is under `limit`, after so many tries: Bayes' rule from an even prior.

    The posterior is Beta(successes + 1, failures + 1); its part below `limit` is the chance of at least `successes + 1`
    successes among `tries + 1` with that limit as their chance.
    """
    n = tries + 1
    return sum(comb(n, k) * limit**k * (1 - limit) ** (n - k) for k in range(successes + 1, n + 1))


def interval(successes: int, tries: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; everything is possible without tries."""
    if not tries:
        return 0.0, 1.0
    p, z2 = successes / tries, _Z**2
    middle = (p + z2 / (2 * tries)) / (1 + z2 / tries)
    reach = _Z * sqrt(p * (1 - p) / tries + z2 / (4 * tries**2)) / (1 + z2 / tries)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def student(t: float, freedom: float) -> float:
    """The share of Student's distribution below t, by Simpson's rule over its density; exact to six places."""
    height = exp(lgamma((freedom + 1) / 2) - lgamma(freedom / 2) - 0.5 * log(freedom * pi))
    width = min(abs(t), 60.0) / _STEPS

    def density(x: float) -> float:
        return height * (1 + x * x / freedom) ** (-(freedom + 1) / 2)

    inner = sum((4 if i % 2 else 2) * density(i * width) for i in range(1, _STEPS))
    area = (density(0.0) + inner + density(_STEPS * width)) * width / 3
    return min(1.0, max(0.0, 0.5 + area if t >= 0 else 0.5 - area))


def _quantile(share: float, freedom: float) -> float:
    low, high = 0.0, 60.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if student(middle, freedom) < share else (low, middle)
    return high
