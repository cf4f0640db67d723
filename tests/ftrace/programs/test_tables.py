"""Names by number in the tables of programs: those that share a place, and those that have none."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tracekit.ftrace.columns import Payloads
from tracekit.ftrace.programs.assemble import assemble
from tracekit.ftrace.programs.run import TextColumn
from tracekit.ftrace.programs.tables import NameTable

_HASHED = pow(0x9E3779B97F4A7C15, -1, 1 << 64)  # what taken.c multiplies with, taken back
_U64 = st.integers(0, (1 << 64) - 1)
#: Numbers that all have the same place, as whoever makes a record may choose them.
_CLASHING = st.integers(0, (1 << 32) - 1).map(lambda low: low * _HASHED % (1 << 64))


@given(st.sets(_U64 | _CLASHING | st.integers(0, 20), max_size=60), st.lists(_U64 | _CLASHING))
def test_every_name_is_found(known: set[int], others: list[int]) -> None:
    names = {key: f"name_{n}" for n, key in enumerate(known)}
    asked = [*known, *others]
    program = assemble(("symbolic", NameTable(names), 1, ("load", 0, 8)), 0)
    assert program is not None
    data = np.array(asked, np.uint64)
    places = np.arange(len(asked), dtype=np.uint64) * np.uint64(8)
    column = TextColumn(len(asked))
    payloads = Payloads(data.tobytes(), places, np.full(len(asked), 8, np.uint32))
    assert not len(column.print(np.arange(len(asked)), payloads, program))
    printed = [bytes(text).decode() for text in column.each()]
    assert printed == [names.get(key, f"{key:#x}") for key in asked]
