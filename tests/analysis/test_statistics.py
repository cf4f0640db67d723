"""Statistics of numbers, against pandas and one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tracekit
from tests.support.sessions.made_events import US, at, made, switch
from tracekit.analysis.analysis import BY
from tracekit.analysis.statistics import Piece, durations, histogram, intervals
from tracekit.cli import main
from tracekit.cli.analysis import stats
from tracekit.errors import UsageError
from tracekit.timeline.filter import Filter

VALUES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1 << 50)), max_size=60)


@given(VALUES)
def test_durations_are_those_of_a_loop(values: list[tuple[int, int]]) -> None:
    key, took = (np.array([v[i] for v in values], np.int64) for i in (0, 1))
    at_, rows = np.arange(len(values)) * 10, np.arange(len(values))
    table = durations(key, list("abcde"), took, at_, rows).to_pylist()
    groups: dict[str, list[tuple[int, int]]] = {}
    for n, (k, v) in enumerate(values):
        groups.setdefault("abcde"[k], []).append((v, n))
    assert {r["name"] for r in table} == set(groups)
    assert [r["total_ns"] for r in table] == sorted((r["total_ns"] for r in table), reverse=True)
    for row in table:
        mine = sorted(v for v, _ in groups[row["name"]])
        assert (row["count"], row["total_ns"], row["max_ns"]) == (len(mine), sum(mine), mine[-1])
        assert row["mean_ns"] == sum(mine) // len(mine)
        for name, share in (("p50_ns", 0.5), ("p99_ns", 0.99)):
            assert row[name] == mine[math.ceil(len(mine) * share) - 1]
        worst = min(n for v, n in groups[row["name"]] if v == mine[-1])
        assert (row["max_row"], row["max_at_ns"]) == (worst, worst * 10)
        buckets = histogram(row["histogram"])
        assert sum(n for *_, n in buckets) == len(mine)
        for least, top, count in buckets:
            assert count == sum(least <= v <= top for v in mine)


def _apart(
    ts: list[int], boots: list[int], kinds: list[int], timed: Collection[int], *,
    chosen: list[bool] | None = None, recorded: int = 100, size: int = 3,
) -> list[dict[str, Any]]:  # fmt: skip
    """The intervals of events of kinds 0 to 3, which count for a, b, a and c; some at a time."""
    columns = np.array(kinds, np.int32), np.array(ts, np.int64), np.array(boots, np.uint8)
    mask = None if chosen is None else np.array(chosen, bool)

    def some() -> Iterator[Piece]:
        for start in range(0, len(ts), size):
            part = slice(start, start + size)
            yield Piece(start, mask if mask is None else mask[part], *(c[part] for c in columns))

    table = np.array([0, 1, 0, 2], np.int32)
    rows: list[dict[str, Any]] = intervals(
        "abc", table, some, columns[1:], timed, recorded
    ).to_pylist()
    return rows


def test_intervals_do_not_cross_boots() -> None:
    ts, boots = [0, 10, 50, 55], [0, 0, 1, 1]
    (row,) = _apart(ts, boots, [0, 2, 2, 0], [0, 1])
    assert (row["count"], row["max_ns"], row["max_at_ns"], row["p50_ns"]) == (4, 10, 0, 5)
    assert row["rate"] == 4e7
    (row,) = _apart(ts, boots, [0] * 4, [], recorded=0)
    assert (row["max_ns"], row["rate"], row["first_ns"]) == (None, None, None)
    assert _apart([], [], [], [0, 1]) == []


@given(data=st.data())
def test_intervals_are_those_of_a_loop(data: st.DataObject) -> None:
    """Times of every size; some boots' clocks count no time."""
    sizes = st.integers(0, 62).flatmap(lambda bits: st.integers(0, (1 << bits) - 1))
    ts = [0]
    for step in data.draw(st.lists(sizes, min_size=1, max_size=80)):
        ts.append(min(ts[-1] + step, (1 << 62) - 1))

    def each(values: st.SearchStrategy[Any]) -> list[Any]:
        return data.draw(st.lists(values, min_size=len(ts), max_size=len(ts)))

    boots, kinds = sorted(each(st.integers(0, 2))), each(st.integers(0, 3))
    chosen = data.draw(st.none()) if data.draw(st.booleans()) else each(st.booleans())
    timed = data.draw(st.sets(st.integers(0, 2)))
    size = data.draw(st.integers(1, 90))
    found = {
        row["name"]: row for row in _apart(ts, boots, kinds, timed, chosen=chosen, size=size)
    }  # fmt: skip
    for name, mine in (("a", {0, 2}), ("b", {1}), ("c", {3})):
        rows = [n for n, k in enumerate(kinds) if k in mine and (chosen is None or chosen[n])]
        if not rows:
            assert name not in found
            continue
        row = found.pop(name)
        assert (row["count"], row["first_row"]) == (len(rows), rows[0])
        ends = [ts[r] if boots[r] in timed else None for r in (rows[0], rows[-1])]
        assert [row["first_ns"], row["last_ns"]] == ends
        times = [
            (ts[b] - ts[a], a)
            for a, b in pairwise(rows) if boots[a] == boots[b] and boots[a] in timed
        ]  # fmt: skip
        if not times:
            assert row["max_ns"] is row["p50_ns"] is row["max_row"] is None
            continue
        longest = max(time for time, _ in times)
        assert row["max_ns"] == longest
        assert row["max_row"] == next(a for time, a in times if time == longest)
        assert row["max_at_ns"] == ts[row["max_row"]]
        ordered = sorted(time for time, _ in times)
        for name_, percent in (("p50_ns", 50), ("p99_ns", 99)):
            assert row[name_] == ordered[(len(ordered) * percent + 99) // 100 - 1]
    assert not found


def test_events_that_are_none_are_refused() -> None:
    for ts, kinds in (([5, 3], [0, 0]), ([3, 5], [0, 4]), ([3, 5], [-1, 0])):
        with pytest.raises(ValueError, match="events without a name"):
            _apart(ts, [0, 0], kinds, [0])
    with pytest.raises(ValueError, match="different lengths"):
        _apart([3, 5], [0], [0, 0], [0])
    table = np.array([7], np.int32)  # of one name
    with pytest.raises(ValueError, match="events without a name"):
        piece = Piece(0, None, np.zeros(1, np.int32), np.zeros(1, np.int64), np.zeros(1, np.uint8))
        intervals("a", table, lambda: [piece], (piece.ts, piece.boot), [0], 1)


@pytest.mark.parametrize("name", ["handover-7.2-to-7.3-tsc", "same-boot-wide-7.2"])
def test_turns_of_a_filter_are_those_of_a_loop(session: Callable[[str], Path], name: str) -> None:
    recording = tracekit.open(session(name))
    rows, every = recording.rows, recording.analysis.turns()
    busy = int(np.argmax(np.bincount(np.maximum(rows.pid, 0))))
    for wanted in (Filter(pids=frozenset({busy})), Filter(cpus=frozenset({1})),
                   Filter(events=("sched_switch",), pids=frozenset({0, busy}))):  # fmt: skip
        chosen = recording.select(wanted)
        where = {*zip(*(c[chosen].tolist() for c in (rows.boot, rows.cpu)), chosen.tolist(),
                      strict=True)}  # fmt: skip
        ran = [
            turn for turn in every.to_pylist()
            if turn["end_row"] is not None and any(
                (turn["boot"], turn["cpu"], row) in where
                for row in range((-1 if turn["row"] is None else turn["row"]) + 1,
                                 turn["end_row"] + 1)
            )
        ]  # fmt: skip
        assert recording.analysis.turns(wanted).to_pylist() == ran


def test_the_command_takes_what_there_is() -> None:
    assert set(stats.BY) == set(BY) and len(stats.BY) == len(BY)


@pytest.fixture(scope="module")
def frame(
    session: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, pd.DataFrame]:
    path = session("same-boot-wide-7.2")
    file = tmp_path_factory.mktemp("timeline") / "t.parquet"
    assert main(["-q", "export", str(path), "--format", "parquet", "-o", str(file)]) == 0
    return path, pd.read_parquet(file)


@pytest.mark.parametrize("window", [(None, None), (-700_000_000, -100_000_000)], ids=str)
def test_events_are_those_of_pandas(
    frame: tuple[Path, pd.DataFrame], window: tuple[int | None, int | None]
) -> None:
    path, every = frame
    wanted = Filter(since=window[0], until=window[1], cpus=frozenset({1}))
    mine = every[every["cpu"] == 1]
    mine = mine[(mine["ts_ns"] >= (window[0] or -(1 << 62))) & (mine["ts_ns"] <= (window[1] or 0))]
    apart = mine.groupby("event", observed=True)["ts_ns"].diff()
    grouped = mine.assign(apart=apart).groupby("event", observed=True)
    rows = tracekit.open(path).analysis.statistics("event", wanted).to_pylist()
    counts = grouped.size()
    assert {r["name"]: r["count"] for r in rows} == counts[counts > 0].to_dict()
    longest = grouped["apart"].max().dropna().astype("int64").to_dict()
    assert {r["name"]: r["max_ns"] for r in rows if r["max_ns"] is not None} == longest
    middle = grouped["apart"].apply(lambda x: x.dropna().quantile(0.5, interpolation="lower"))
    found = {r["name"]: r["p50_ns"] for r in rows if r["p50_ns"] is not None}
    assert found == middle.dropna().to_dict()


def test_a_window_counts_what_is_in_it(tmp_path: Path) -> None:
    """A system call from before it to after it, one inside, one that never ends."""
    events = [
        at(0, "syscalls/sys_enter_write", pid=1), at(20, "syscalls/sys_enter_read", pid=2),
        at(25, "syscalls/sys_exit_read", pid=2), at(30, "syscalls/sys_enter_read", pid=3),
        at(50, "syscalls/sys_exit_write", pid=1),
    ]  # fmt: skip
    recording = tracekit.open(made(tmp_path / "s", events))
    first = int(recording.axis.ts_ns[0])
    window = Filter(since=first + 10 * US, until=first + 40 * US)
    rows = {r["name"]: r for r in recording.analysis.statistics("syscall", window).to_pylist()}
    assert (rows["write"]["total_ns"], rows["write"]["max_at_ns"]) == (30 * US, first)
    assert (rows["read"]["count"], rows["read"]["total_ns"], rows["read"]["open"]) == (1, 5 * US, 1)
    assert rows["read"]["self_ns"] == 5 * US and rows["write"]["self_ns"] == 0


def test_what_never_ended_alone_has_no_time(tmp_path: Path) -> None:
    events = [at(0, "syscalls/sys_enter_read", pid=3), at(1, "syscalls/sys_exit_write", pid=4)]
    analysis = tracekit.open(
        made(tmp_path / "s", events, enabled="syscalls:sys_exit_read\n")
    ).analysis
    rows = {r["name"]: r for r in analysis.statistics("syscall").to_pylist()}
    assert (rows["read"]["count"], rows["read"]["open"], rows["read"]["max_ns"]) == (0, 1, None)
    assert (rows["write"]["count"], rows["write"]["unpaired"]) == (0, 1)


def test_turns_are_chosen_by_what_happened_in_them(tmp_path: Path) -> None:
    events = [
        switch(0, 0, 0, 7), at(5, "irq/softirq_raise", 1, pid=7), switch(10, 7, 1, 8),
        switch(30, 8, 1, 7), switch(60, 7, 1, 0), at(70, "irq/softirq_raise", 1, pid=0),
    ]  # fmt: skip
    analysis = tracekit.open(made(tmp_path / "s", events)).analysis

    def total(by: str, wanted: Filter) -> dict[str, int]:
        return {r["name"]: r["total_ns"] // US for r in analysis.statistics(by, wanted).to_pylist()}

    assert total("task", Filter(pids=frozenset({7}))) == {"<...>-7": 40}
    assert total("task", Filter(where="event = softirq_raise")) == {"<...>-7": 10, "<idle>-0": 10}
    assert total("cpu", Filter()) == {"cpu 0": 60}


def test_gaps_and_rates(tmp_path: Path) -> None:
    events = [at(us, "irq/softirq_raise", 1) for us in (0, 1, 2, 50, 51, 90)]
    recording = tracekit.open(made(tmp_path / "s", events))
    first = int(recording.axis.ts_ns[0])
    gaps = recording.analysis.gaps(10 * US).to_pylist()
    assert [(g["start_ns"] - first, g["duration_ns"], g["cut"]) for g in gaps] == [
        (2 * US, 48 * US, False), (51 * US, 39 * US, False),
    ]  # fmt: skip
    assert recording.analysis.gaps(48 * US).num_rows == 0  # longer, not as long
    rates = recording.analysis.rates("event", 45 * US).to_pylist()
    assert sum(r["count"] for r in rates) == 6
    assert all(r["start_ns"] % (45 * US) == 0 for r in rates)
    with pytest.raises(UsageError, match="make them longer"):
        recording.analysis.rates("event", 0)
    for answer in (recording.analysis.statistics, partial(recording.analysis.rates, every_ns=1)):
        with pytest.raises(UsageError, match="no statistics by"):
            answer("moon")


def test_every_kind_of_statistics_of_next_to_nothing(tmp_path: Path) -> None:
    for name, events in (("s", []), ("t", [switch(0, 1, 1, 2)])):
        analysis = tracekit.open(made(tmp_path / name, events)).analysis
        for by in BY:
            table = analysis.statistics(by)
            assert len(table) == len(set(table["name"].to_pylist()))
            assert analysis.rates(by, 1_000_000).num_rows <= 1
        assert analysis.gaps(1).num_rows == 0
