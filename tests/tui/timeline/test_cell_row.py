"""Rows of cells: a character each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui.timeline.cell_row import one_line


@given(st.text())
def test_recorded_names_take_a_cell_a_character(text: str) -> None:
    from rich.cells import cell_len

    drawn = one_line(text)
    assert cell_len(drawn) == len(drawn)
    assert drawn == "" or drawn.isprintable()
