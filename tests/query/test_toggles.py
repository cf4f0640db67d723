"""Values turned on and off: what is left on is what was chosen, and what a walk finds."""

from __future__ import annotations

import random
from importlib.resources import as_file, files

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tracekit
from tracekit.query.expr import parse
from tracekit.query.match import matches
from tracekit.query.selection import Selection
from tracekit.query.toggles import CHOICES, choose, switched_on, tally, values_of
from tracekit.recording import Recording

VALUES = {
    "cpu": [0, 1, 2, 3],
    "event": ["sched:a", "sched:b", "irq:a", "x:", "a:b:c", "sched:in", "z:5", "z:/x/", "z:q r"],
    "comm": ["", "kworker/u8:0", "kworker/0:1", "0", "-5ms", "/x/", "a b", "not", 'q"uo', "b\\s"],
    "source": ["ftrace", "bpf"],
}
BEFORE = ["", "cpu = 1", "cpu not in (1, 2) and kexec", "event ~ s*", "comm in (kexec, '0')",
          "event = sched:a and comm != 0", "cpu = 0 or cpu = 1", "not cpu = 0"]  # fmt: skip


@pytest.fixture(scope="module")
def recording() -> Recording:
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        return tracekit.open(path)


@given(before=st.sampled_from(BEFORE), data=st.data())
def test_what_is_chosen_is_left_on(before: str, data: st.DataObject) -> None:
    expr = parse(before)
    for column in data.draw(st.lists(st.sampled_from(CHOICES), min_size=1, max_size=3)):
        values = VALUES[column]
        on = data.draw(st.sets(st.sampled_from(values)))
        expr = choose(expr, column, on, values)
        assert parse(str(expr)) == expr
        assert switched_on(expr, column, values) == on


@pytest.mark.parametrize("column", CHOICES)
def test_what_is_chosen_is_what_is_found(recording: Recording, column: str) -> None:
    values, chance = values_of(recording, column), random.Random(column)
    rows = [value or "" if column == "comm" else value
            for value in recording.table(args=False)[column].to_pylist()]  # fmt: skip
    *_, (counts, counted) = tally(recording, column, Selection(len(recording)))
    assert (counts.tolist(), counted) == ([rows.count(value) for value in values], len(rows))
    for _ in range(8):
        on = {value for value in values if chance.random() < 0.5}
        found = matches(recording, choose(parse(""), column, on, values), np.arange(len(rows)))
        assert found.tolist() == [value in on for value in rows]
