"""Whether two samples differ: the Mann-Whitney rank test, and what many tests at once allow.

Ranks ask nothing of how the values are distributed, and one wild value moves them by one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, erfc, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["fewest_p", "holm", "mid_ranks", "normal_p", "rank_test"]

_EXACT = 40  # values in both samples up to which every way to share out the ranks is counted


def mid_ranks(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The rank of each value, from 1; equal values share the mean of theirs."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: npt.NDArray[np.float64] = (ends - (counts - 1) / 2.0)[where.reshape(-1)]
    return ranks


def _exact_p(doubled: npt.NDArray[np.int64], size: int, total: int) -> float:
    """Two-sided: the share of the samples of ``size`` ranks whose sum is as far from the mean.

    ``doubled``: twice the mid-ranks, so that they are whole numbers also where values are equal.
    """
    ways = np.zeros((size + 1, int(doubled.sum()) + 1))
    ways[0, 0] = 1.0
    for rank in doubled.tolist():
        for k in range(size, 0, -1):
            ways[k, rank:] += ways[k - 1, : ways.shape[1] - rank]
    middle = size * float(doubled.sum()) / len(doubled)
    far = np.abs(np.arange(ways.shape[1]) - middle) >= abs(total - middle) - 1e-9
    return min(1.0, float(ways[size][far].sum()) / comb(len(doubled), size))


def normal_p(rank_sum: float, size: int, others: int, ties: float = 0.0) -> float:
    """Two-sided p by the normal approximation, continuity corrected.

    ``rank_sum`` is of a sample of ``size``; ``ties`` is the sum of t**3 - t over groups of t equal
    values.
    """
    n = size + others
    variance = size * others / 12.0 * ((n + 1) - (ties / (n * (n - 1)) if n > 1 else 0.0))
    if variance <= 0:
        return 1.0
    away = max(0.0, abs(rank_sum - size * (n + 1) / 2.0) - 0.5)
    return erfc(away / sqrt(2.0 * variance))


def rank_test(a: Sequence[float], b: Sequence[float]) -> float:
    """The two-sided p that two samples come from one distribution; 1.0 where one is empty.

    Exact, with equal values, up to 40 values in both; beyond that by the normal approximation.
    """
    if not a or not b:
        return 1.0
    values = np.array([*a, *b], np.float64)
    ranks = mid_ranks(values)
    if len(values) <= _EXACT:
        doubled = np.rint(2 * ranks).astype(np.int64)
        return _exact_p(doubled, len(a), int(doubled[: len(a)].sum()))
    counts = np.unique(values, return_counts=True)[1].astype(np.float64)
    return normal_p(float(ranks[: len(a)].sum()), len(a), len(b), float((counts**3 - counts).sum()))


def fewest_p(n: int, m: int) -> float:
    """The smallest p that samples of these sizes can give: 2 in all the ways to share them out."""
    return min(1.0, 2.0 / comb(n + m, n)) if n and m else 1.0


def holm(ps: Sequence[float], tests: int = 0) -> list[float]:
    """The p values adjusted so that one below alpha is by chance in at most alpha of all families.

    Holm's step-down: asks nothing of how the tests depend on each other. ``tests``: how many there
    were, where only the smallest p values are given.
    """
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    number = max(tests, len(ps))
    adjusted, worst = [1.0] * len(ps), 0.0
    for place, i in enumerate(order):
        worst = max(worst, min(1.0, (number - place) * ps[i]))
        adjusted[i] = worst
    return adjusted
