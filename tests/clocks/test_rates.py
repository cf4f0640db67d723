"""Cycles between two readings: whole numbers, as exact fractions have them."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

from hypothesis import given
from hypothesis import strategies as st

from tracekit.clocks.rates import Bent, Rate

rates = st.tuples(
    st.fractions(Fraction(1, 10), 10, max_denominator=10**9),
    st.fractions(0, Fraction(1, 100), max_denominator=10**9),
).map(lambda pair: Rate(pair[0], pair[0] + pair[1]))
stamps = st.integers(-(10**15), 10**15)


@given(rates, rates, stamps, stamps, stamps, st.integers(0, 10**9))
def test_cycles_are_those_of_fractions(
    early: Rate, late: Rate, start: int, end: int, knee: int, width: int
) -> None:
    bent = Bent(early, late, knee, knee + width, knee)
    first, last = min(start, end), max(start, end)
    fewest, most = [], []
    for at in (last,) if last <= knee else (knee, knee + width):
        before = min(max(at, first), last) - first
        after = last - first - before
        fewest.append(before * early.lo + after * late.lo)
        most.append(before * early.hi + after * late.hi)
    low, high = floor(min(fewest)), ceil(max(most))
    assert (bent.fewest(first, last), bent.most(first, last)) == (low, high)
    if first < last:
        assert (bent.fewest(last, first), bent.most(last, first)) == (-high, -low)
