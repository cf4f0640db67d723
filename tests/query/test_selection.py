"""What is shown, beside plain lists of the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tracekit.query.selection import Selection


@st.composite
def selections(draw: Any) -> tuple[Selection, list[int]]:
    """A selection, and the rows it shows in the order it shows them."""
    total = draw(st.integers(0, 40))
    if draw(st.booleans()):
        rows, shown = None, list(range(total))
    else:
        shown = sorted(draw(st.sets(st.integers(0, max(0, total - 1)), max_size=total)))
        rows = np.array(shown, np.uint32)
    order = None
    if draw(st.booleans()):
        shown = draw(st.permutations(shown))
        order = np.array(shown, np.uint32)
    return Selection(total, rows, order), shown


@given(selections(), st.integers(-5, 45), st.integers(-5, 60))
def test_a_page_is_a_piece_of_what_is_shown(
    made: tuple[Selection, list[int]], start: int, stop: int
) -> None:
    selection, shown = made
    assert len(selection) == len(shown)
    assert selection.page(start, stop).tolist() == shown[max(0, start) : max(0, stop)]
    assert selection.page(start, stop).dtype == np.int64


@given(selections(), st.integers(-5, 45))
def test_the_nearest_row_and_its_position(made: tuple[Selection, list[int]], row: int) -> None:
    selection, shown = made
    later, earlier = [r for r in shown if r >= row], [r for r in shown if r < row]
    expected = min(later) if later else max(earlier) if earlier else None
    assert selection.nearest(row) == expected
    assert selection.position(row) == (0 if expected is None else shown.index(expected))


@given(selections(), st.sets(st.integers(0, 39)))
def test_within_keeps_the_rows_that_are_shown(
    made: tuple[Selection, list[int]], rows: set[int]
) -> None:
    selection, shown = made
    some = sorted(r for r in rows if r < selection.total)
    found = selection.within(np.array(some, np.uint32)).tolist()
    assert found == [r for r in some if r in shown]
