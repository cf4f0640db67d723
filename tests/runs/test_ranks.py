"""The rank test against every way to share the values out, and against the definition of Holm."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.runs.ranks import fewest_p, holm, mid_ranks, normal_p, rank_test

SMALL = st.lists(st.integers(0, 6), min_size=1, max_size=5)


def p_by_counting(a: list[int], b: list[int]) -> float:
    """The share of all samples whose rank sum is as far from the middle, one by one."""
    ranks = mid_ranks(np.array([*a, *b]))
    middle = len(a) * (len(ranks) + 1) / 2
    seen = abs(ranks[: len(a)].sum() - middle)
    sums = [sum(c) for c in combinations(ranks.tolist(), len(a))]
    return sum(abs(s - middle) >= seen - 1e-9 for s in sums) / len(sums)


@given(SMALL, SMALL)
def test_it_is_exact_for_small_samples(a: list[int], b: list[int]) -> None:
    assert rank_test(a, b) == pytest.approx(p_by_counting(a, b))


@given(SMALL, SMALL)
def test_it_does_not_matter_which_is_first(a: list[int], b: list[int]) -> None:
    assert rank_test(a, b) == pytest.approx(rank_test(b, a))


def test_known_values() -> None:
    """Mann and Whitney's own table: n = m = 5, U = 2 has a one-sided 0.016."""
    assert rank_test([1, 2, 3, 4, 7], [5, 6, 8, 9, 10]) == pytest.approx(2 * 4 / 252)
    assert rank_test(range(10), range(10, 20)) == pytest.approx(fewest_p(10, 10))
    assert rank_test([], [1]) == 1.0


def test_the_approximation_goes_on_where_counting_ends() -> None:
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.normal(size=20), rng.normal(0.8, size=20)])
    exact = rank_test(values[:20].tolist(), values[20:].tolist())
    assert normal_p(float(mid_ranks(values)[:20].sum()), 20, 20) == pytest.approx(exact, rel=0.03)
    more = rank_test([*values[:20].tolist(), -9.0], [*values[20:].tolist(), 9.0])  # 42 values
    assert more < exact < 0.05


def test_false_positives_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(11)
    values = rng.lognormal(size=(400, 60))
    hits = sum(rank_test(row[:30].tolist(), row[30:].tolist()) <= 0.05 for row in values)
    assert hits <= 400 * 0.05 + 3 * (400 * 0.05 * 0.95) ** 0.5


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
