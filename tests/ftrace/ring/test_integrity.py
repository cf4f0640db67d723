"""Which sub-buffers no intact ring holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tracekit.ftrace.ring.integrity import CUT, EMPTY, doubtful, stale

FULL = 4080


def test_what_an_intact_ring_has() -> None:
    assert doubtful([], FULL) == {}
    assert doubtful([(0, 0, 0)], FULL) == {}
    assert doubtful([(0, 0, 0), (FULL, 0, 1), (FULL - 4, 0, 2), (12, 0, 3)], FULL) == {}
    assert doubtful([(0, 0, 0), (FULL, 0, 1), (0, 0, 2)], FULL) == {}  # discarded: stamped
    assert doubtful([(0, 0, 0), (0, 1, 0), (FULL, 0, 3)], FULL) == {}  # the kernel emptied it
    assert doubtful([(0, 0, 0), (0, 0, 0)], FULL) == {}  # after a reset


def test_what_it_has_not() -> None:
    pages = [(FULL, 0, 1), (0, 0, 0), (FULL, 0, 3), (FULL - 8, 0, 4), (0, 0, 0)]
    assert doubtful(pages, FULL) == {1: EMPTY, 3: CUT, 4: EMPTY}


def spans(*stamps: tuple[int, int]) -> list[tuple[int, int, int]]:
    return [(i, first, last) for i, (first, last) in enumerate(stamps)]


def test_one_of_another_time() -> None:
    order = [(10 * i, 10 * i + 9) for i in range(12)]
    assert stale(spans(*order)) == []
    assert stale(spans(*order[:5], (0, 1), *order[6:])) == [5]
    assert stale(spans(*order[:5], (900, 901), *order[6:])) == [5]
    assert stale(spans(*order[:-1], order[3])) == [11]  # a copy of one that is there


def test_the_clock_or_the_pointers_may_be_what_is_wrong() -> None:
    order = [(10 * i, 10 * i + 9) for i in range(12)]
    assert stale(spans(*order[6:], *order[:6])) == []
    assert stale(spans(*order[1:], order[0])) == []
    assert stale(spans(order[-1], *order[:-1])) == []


@given(st.lists(st.integers(1, 50), min_size=8, max_size=40), st.data())
def test_one_wrong_page_among_many_is_found(lengths: list[int], data: st.DataObject) -> None:
    order, now = [], 0
    for length in lengths:
        order.append((now, now + length))
        now += length + 1
    wrong = data.draw(st.integers(1, len(order) - 2))
    first = data.draw(st.integers(0, now))
    last = data.draw(st.integers(first, now))
    before, after = order[wrong - 1][1], order[wrong + 1][0]
    changed = [*order[:wrong], (first, last), *order[wrong + 1 :]]
    fits = before <= first and last <= after
    assert len(stale(spans(*changed))) == (0 if fits else 1)
