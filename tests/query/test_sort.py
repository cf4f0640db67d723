"""Sorting rows: against pandas, by every column and every argument."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tracekit
from tracekit.errors import UsageError
from tracekit.query import sort as ordering
from tracekit.query.sort import COLUMNS, order_by
from tracekit.recording import Recording


@pytest.fixture(scope="module")
def recording(session: Callable[[str], Path]) -> Recording:
    return tracekit.open(session("handover-7.2-to-7.3-tsc"))


def quiet(done: int, total: int) -> None:
    assert 0 <= done <= total


def frame(recording: Recording, rows: np.ndarray) -> pd.DataFrame:
    table = recording.table(rows.astype(np.int64)).to_pandas()
    for name in ("comm", "event", "source", "args"):
        table[name] = table[name].astype(object)
    table["delta"] = np.diff(table["ts_ns"], prepend=table["ts_ns"][:1])
    table.index = pd.Index(rows)
    return table


def some(recording: Recording) -> np.ndarray:
    return np.sort(np.random.default_rng(4).permutation(len(recording))[:3000]).astype(np.uint32)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("column", COLUMNS)
def test_columns_sort_as_pandas_sorts_them(
    recording: Recording, column: str, descending: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordering, "_CHUNK", 700)  # several pieces
    rows = some(recording)
    table = frame(recording, rows)
    expected = table.sort_values(column, ascending=not descending, kind="stable")
    found = order_by(recording, rows, column, descending, quiet)
    assert found.dtype == np.uint32
    if column == "comm":  # where the name is unknown the row is a text like any other
        found = found[table.loc[found, "comm"].notna().to_numpy()]
        expected = expected[expected["comm"].notna()]
    if column == "ts_ns" and descending:  # simply turned round
        assert found.tolist() == rows[::-1].tolist()
    else:
        assert found.tolist() == expected.index.tolist()


def test_all_rows_are_sorted_without_naming_them(recording: Recording) -> None:
    rows = np.arange(len(recording), dtype=np.uint32)
    every = order_by(recording, None, "pid", False, quiet)
    assert every.tolist() == order_by(recording, rows, "pid", False, quiet).tolist()
    assert np.sort(every).tolist() == rows.tolist()


def arguments(recording: Recording) -> list[str]:
    fields = recording.fields(np.arange(0, len(recording), 7))
    return sorted({name for one in fields for name in one})


@pytest.mark.parametrize("descending", [False, True])
def test_arguments_sort_by_their_typed_values(recording: Recording, descending: bool) -> None:
    rows = some(recording)
    fields = recording.fields(rows.astype(np.int64))
    for name in arguments(recording):
        found = order_by(recording, rows, f"args.{name}", descending, quiet)
        place = {row: n for n, row in enumerate(rows.tolist())}
        values = [fields[place[row]].get(name) for row in found.tolist()]
        having = [v for v in values if v is not None]
        assert values[len(having) :] == [None] * (len(values) - len(having)), name
        numbers = [v for v in having if isinstance(v, int)]
        texts = [v if isinstance(v, str) else str(v) for v in having if not isinstance(v, int)]
        assert numbers == sorted(numbers, reverse=descending)
        assert texts == sorted(texts, reverse=descending)
        if numbers and texts:
            assert isinstance(having[0], int) != descending
        for value in dict.fromkeys(map(str, having)):  # equal ones by time
            mine = [r for r, v in zip(found.tolist(), values, strict=True) if str(v) == value]
            assert mine == sorted(mine)


def test_signs_count(recording: Recording) -> None:
    found = order_by(recording, None, "ret", False, quiet)
    values = [f.get("ret") for f in recording.fields(found[:200].astype(np.int64))]
    assert any(v is not None and v < 0 for v in values)
    known = [v for v in values if v is not None]
    assert known == sorted(known)


def test_nothing_is_sorted_too(recording: Recording) -> None:
    for column in (*COLUMNS, "prev_comm"):
        assert len(order_by(recording, np.empty(0, np.uint32), column, True, quiet)) == 0


def test_an_argument_that_nothing_has_leaves_the_order_of_time(recording: Recording) -> None:
    assert order_by(recording, None, "nobody", True, quiet).tolist() == list(range(len(recording)))


def test_too_many_texts_are_refused(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "ARGS_ROWS", 100)
    with pytest.raises(UsageError, match="filter to 100 or fewer"):
        order_by(recording, None, "args", False, quiet)
    monkeypatch.setattr(ordering, "_TEXTS", 2)
    with pytest.raises(UsageError, match="prev_comm has more than 2 different"):
        order_by(recording, None, "prev_comm", False, quiet)


def test_it_can_be_ended_at_any_step(recording: Recording) -> None:
    class Enough(Exception):
        pass

    for column in (*COLUMNS[1:], "prev_comm"):

        def step(done: int, total: int) -> None:
            raise Enough

        with pytest.raises(Enough):
            order_by(recording, None, column, False, step)
