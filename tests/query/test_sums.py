"""Arithmetic and times in filters: reading them, and what they find against a plain loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tracekit.query.expr import QueryError, parse
from tracekit.query.groups import Index
from tracekit.query.match import Names, matches, read
from tracekit.query.scan import Hits, scan
from tracekit.query.selection import Selection
from tracekit.recording import Recording


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a-b>3", "a - b > 3"),
        ("(a + b) * 2 >= c", "(a + b) * 2 >= c"),
        ("a - (b - c) = 0 and cpu = 1", "a - (b - c) = 0 and cpu = 1"),
        ("len > 4*1024", "len > 4096"),
        ("delta > 5ms - 3us", "delta > 4997000ns"),
        ("Δ > 12.3 µs", "Δ > 12.3µs"),
        ("ts = -0.002891", "ts >= -2891499ns and ts <= -2890500ns"),
        ("ts >= 1.5", "ts >= 1500000000ns"),
        ("comm = my-task", "comm = my-task"),
        ("comm = kworker/0:1", "comm = kworker/0:1"),
    ],
)
def test_arithmetic_and_times_are_read(text: str, printed: str) -> None:
    assert str(parse(text)) == printed
    assert str(parse(printed)) == printed


@pytest.mark.parametrize(
    "text", ["ts > 5", "delta = 12", "ts - 5 > 3ms", "delta > 5 - 3", "Δ in (1, 2ms)"]
)
def test_a_bare_number_asks_for_its_unit(names: Names, text: str) -> None:
    with pytest.raises(QueryError, match="of which unit"):
        read(text, names)


def test_what_is_in_ns_by_its_name_needs_no_unit(names: Names) -> None:
    assert str(read("ts_ns > 5 and ts = 0", names)) == "ts_ns > 5 and ts = 0"


@pytest.mark.parametrize("text", ["comm + 1 > 2", "cpu + nothing_such > 2"])
def test_sums_of_what_is_no_number_are_refused(names: Names, text: str) -> None:
    with pytest.raises(QueryError):
        read(text, names)


def test_arithmetic_is_what_a_plain_loop_finds(
    recording: Recording, index: Index, rows: list[dict[str, Any]], names: Names
) -> None:
    def found(text: str) -> list[int]:
        pieces = scan(recording, read(text, names), index, Selection(len(recording)))
        hits = Hits()
        for piece in pieces:
            hits.add(piece.rows)
        return hits.rows().tolist()  # type: ignore[no-any-return]

    pids = [
        i for i, row in enumerate(rows)
        if isinstance(row["fields"].get("prev_pid"), int)
        and row["fields"]["prev_pid"] - row["fields"]["next_pid"] > 20
    ]  # fmt: skip
    assert pids and found("prev_pid - next_pid > 20") == pids
    ts = recording.axis.ts_ns
    late = (np.flatnonzero(np.diff(ts) > 100_000) + 1).tolist()
    assert late and found("delta > 100us") == late == found("Δ * 2 > 200us")
    assert found("cpu + boot = 2 and delta / 0 > pid") == []


def test_the_seconds_of_the_table_find_their_event(recording: Recording, names: Names) -> None:
    row = len(recording) // 3
    ns = int(recording.axis.ts_ns[row])
    every = np.arange(len(recording))
    for digits in (6, 9):
        shown = f"{ns / 10**9:.{digits}f}"
        hits = np.flatnonzero(matches(recording, read(f"ts = {shown}", names), every))
        assert row in hits
        assert np.abs(recording.axis.ts_ns[hits] - ns).max() <= 10 ** (9 - digits)
