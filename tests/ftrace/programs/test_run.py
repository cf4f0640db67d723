"""The texts of some rows as one column."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.ftrace.programs import run
from tracekit.ftrace.programs.run import TextColumn

PARTS = st.lists(
    st.tuples(st.lists(st.text(max_size=4), min_size=1, max_size=4), st.integers(0, 5)), max_size=4
)


@given(PARTS, st.randoms())
def test_distinct_texts_are_the_same_few_or_many(
    parts: list[tuple[list[str], int]], random: Random
) -> None:
    wanted = [made[i % len(made)] for made, rows in parts for i in range(rows)]
    order = list(range(len(wanted)))
    random.shuffle(order)
    column, at = TextColumn(len(wanted)), 0
    for made, rows in parts:
        mine = np.array(order[at : at + rows], np.int64)
        column.add(mine, np.arange(rows) % len(made), made)
        at += rows
    expected = [wanted[order.index(row)] for row in range(len(wanted))]
    for few in (run.FEW, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "FEW", few)
            which, texts = column.distinct()
        assert texts.to_pylist() == list(dict.fromkeys(expected))
        assert [texts[i].as_py() for i in which.tolist()] == expected
