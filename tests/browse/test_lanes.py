"""Lanes against plain reckoning: over the shipped handover, and over made-up rows and spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources import as_file, files
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.browse.lanes import (
    Lane,
    Level,
    Span,
    among,
    dark_parts,
    find_gap,
    make_lanes,
    nearest_row,
    next_common,
    next_row,
    shown,
    stack,
)
from tracekit.browse.open import Opened, open_recording
from tracekit.browse.running_tasks import turns_in
from tracekit.query.selection import Selection
from tracekit.report.devices import Device

UNKNOWN = dict.fromkeys(("gap_ns", "gap_error_ns", "gap_earliest_ns", "gap_latest_ns"))
PIECE = 5  # rows that a search looks at, at a time: so that borders of pieces are met


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        yield open_recording(path, lambda what, share: None)


@pytest.fixture(scope="module")
def lanes(opened: Opened) -> dict[str, Lane]:
    return {lane.name: lane for lane in make_lanes(opened.recording, opened.report, opened.index)}


@pytest.fixture(scope="module")
def table(opened: Opened) -> list[dict[str, Any]]:
    return opened.recording.timeline.to_pylist()


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracekit.browse.lanes._PIECE", PIECE)


def rows_where(table: list[dict[str, Any]], true: Callable[[dict[str, Any]], bool]) -> list[int]:
    return [i for i, row in enumerate(table) if true(row)]


# -- the shipped handover ----------------------------------------------------------------------


def test_lanes_of_events_have_the_rows_they_say(
    lanes: dict[str, Lane], table: list[dict[str, Any]]
) -> None:
    plain: dict[str, Callable[[dict[str, Any]], bool]] = {
        "CPU 0": lambda r: r["cpu"] == 0,
        "CPU 1": lambda r: r["cpu"] == 1,
        "kernel log": lambda r: r["event"] == "printk:console",
        "BPF probes": lambda r: r["source"] == "bpf",
        "markers": lambda r: r["event"] == "ftrace:print",
    }
    assert [lane.name for lane in lanes.values() if lane.kind != "spans"] == [
        "kernel log", "BPF probes", "markers", "CPU 0", "CPU 1",
    ]  # fmt: skip
    for name, true in plain.items():
        assert lanes[name].rows.tolist() == rows_where(table, true) != []
        assert lanes[name].rows.dtype == np.uint32


def test_lanes_of_spans_have_what_the_report_has(opened: Opened, lanes: dict[str, Lane]) -> None:
    report = opened.report
    phases = {(p.name, p.start_ns, p.duration_ns) for p in report.phases if p.start_ns is not None}
    found = {(s.label, s.start_ns, s.end_ns - s.start_ns) for s in lanes["phases"].spans}
    assert found == phases
    assert {s.label for s in lanes["devices"].spans} == {d.name for d in report.devices}
    calls = sorted((c.start_ns, c.function) for c in report.initcalls)
    assert [(s.start_ns, s.label) for s in lanes["initcalls"].spans] == calls
    assert "units" not in lanes  # this one has none


def test_the_dark_part_is_between_the_kernels(opened: Opened) -> None:
    (dark,) = dark_parts(opened.recording, opened.report)
    boots, ts = opened.recording.rows.boot, opened.recording.axis.ts_ns
    assert (dark.start_ns, dark.end_ns) == (ts[boots == 0].max(), ts[boots == 1].min())
    assert dark.length_ns == opened.report.handovers[0].gap_ns
    assert dark.error_ns == opened.report.handovers[0].gap_error_ns


@pytest.mark.parametrize("overlap", [True, False])
def test_the_edges_of_boots_are_found_even_where_they_overlap(overlap: bool) -> None:
    boots = np.array([0, 0, 1, 0, 2, 1, 2] if overlap else [0, 0, 0, 1, 1, 2, 2], np.uint8)
    found = [SimpleNamespace(code="boots-overlap")] if overlap else []
    axis = SimpleNamespace(ts_ns=np.arange(7) * 10 - 20, diagnostics=found)
    rows = SimpleNamespace(boot=boots, cpu=np.zeros(7, np.uint16))
    recording = cast("Any", SimpleNamespace(rows=rows, axis=axis, kinds=(), event_names=()))
    jumps = [SimpleNamespace(new=boot, jump_ns=-25 + boot, **UNKNOWN) for boot in range(4)]
    firsts = [(-25 + b, axis.ts_ns[boots == b][0]) for b in range(3)]  # of the fourth there is none
    found_dark = dark_parts(recording, cast("Any", SimpleNamespace(handovers=jumps)))
    assert [(dark.start_ns, dark.end_ns) for dark in found_dark] == firsts
    stuck = [Device(f"of {b}", "", "f", b, -30, None, None, finished=False) for b in range(4)]
    report = cast("Any", SimpleNamespace(
        phases=(), kho_steps=(), devices=stuck, initcalls=(), units=(), boots=(), handovers=jumps,
    ))  # fmt: skip
    index = cast("Any", SimpleNamespace(cpus=SimpleNamespace(keys=())))
    (lane,) = make_lanes(recording, report, index)  # what never returned lasts to the boot's end
    ends = {span.label: span.end_ns for span in lane.spans}
    assert ends == {f"of {b}": axis.ts_ns[boots == b][-1] for b in range(3)} | {"of 3": 0}
    jump = SimpleNamespace(new=1, jump_ns=-15, **UNKNOWN)
    (dark,) = dark_parts(recording, cast("Any", SimpleNamespace(handovers=[jump])))
    assert (dark.start_ns, dark.end_ns, dark.length_ns) == (-15, 0 if overlap else 10, None)


def test_a_cpu_without_events_has_a_lane_and_what_is_lost_is_said(opened: Opened) -> None:
    boot = opened.report.boots[0]
    idle = SimpleNamespace(cpu=7, events=0, lost=None, lost_at_least=False, unreadable=3)
    hurt = SimpleNamespace(cpu=0, events=9, lost=1200, lost_at_least=True, unreadable=0)
    report = SimpleNamespace(
        phases=(), kho_steps=(), devices=(), initcalls=(), units=(), handovers=(),
        boots=(SimpleNamespace(index=boot.index, cpus=(hurt, idle)),),
    )  # fmt: skip
    made = make_lanes(opened.recording, cast("Any", report), opened.index)
    cpus = {lane.name: lane for lane in made if lane.kind == "cpu"}
    assert list(cpus) == ["CPU 0", "CPU 1", "CPU 7"]
    assert len(cpus["CPU 7"].rows) == 0 and len(cpus["CPU 7"].turns) == 0
    assert cpus["CPU 0"].note == "at least 1,200 events lost in boot 0"
    assert cpus["CPU 1"].note == ""
    expected = "an unknown number of events lost and 3 pages unreadable in boot 0"
    assert cpus["CPU 7"].note == expected


def test_a_device_that_never_returned_lasts_to_the_end_of_its_kernel(opened: Opened) -> None:
    device = SimpleNamespace(
        name="nvme0", driver="nvme", function="nvme_shutdown", boot=0, start_ns=-500,
        duration_ns=None, bus_master=None, finished=False,
    )  # fmt: skip
    report = SimpleNamespace(
        phases=(), kho_steps=(), devices=(device,), initcalls=(), units=(), handovers=(), boots=()
    )
    (span,) = make_lanes(opened.recording, cast("Any", report), opened.index)[0].spans
    assert (span.start_ns, span.end_ns, span.open) == (-500, 0, True)
    assert span.note == "nvme nvme_shutdown: never returned"


def test_what_runs_is_what_the_switches_say(
    opened: Opened, lanes: dict[str, Lane], table: list[dict[str, Any]]
) -> None:
    """Against the arguments of the switches, which the reckoning does not look at."""
    ts = opened.recording.axis.ts_ns
    for cpu in (0, 1):
        lane = lanes[f"CPU {cpu}"]
        at = [
            i for i, r in enumerate(table)
            if r["cpu"] == cpu and r["event"] == "sched:sched_switch" and r["boot"] == 0
        ]  # fmt: skip
        args = opened.recording.fields(np.array(at))
        for first in range(0, len(at) - 40, 397):
            part = at[first : first + 40]
            times = sorted({int(ts[i]) for i in part})
            turns = turns_in(opened.recording, lane, times)
            assert turns is not None
            for cell, switch in enumerate(part[:-1]):
                if ts[part[cell + 1]] == ts[switch]:
                    break
                pid = args[first + cell]["next_pid"]
                assert turns.tasks[turns.task[cell]] == (0, pid)
                assert turns.known[cell] == pytest.approx(1)
                assert turns.busy[cell] == pytest.approx(float(pid != 0))


def test_shares_of_coarse_cells_add_up(opened: Opened, lanes: dict[str, Lane]) -> None:
    ts, lane = opened.recording.axis.ts_ns, lanes["CPU 1"]
    times = np.linspace(int(ts[lane.turns[0]]), int(ts[lane.turns[-1]]), 30).astype(int).tolist()
    turns = turns_in(opened.recording, lane, times)
    assert turns is not None
    fine = turns_in(opened.recording, lane, [times[10], times[20]])
    assert fine is not None
    assert fine.busy[0] == pytest.approx(turns.busy[10:20].mean(), abs=1e-6)
    rows = opened.recording.rows
    busy = sum(
        int(ts[b] - ts[a]) for a, b in pairwise(lane.turns.tolist())
        if rows.pid[b] and rows.boot[a] == rows.boot[b]
    )  # fmt: skip
    whole = turns_in(opened.recording, lane, [times[0], times[-1]])
    assert whole is not None
    assert whole.busy[0] * (times[-1] - times[0]) == pytest.approx(busy, rel=1e-6)


def test_too_many_switches_are_not_looked_at(
    opened: Opened, lanes: dict[str, Lane], monkeypatch: pytest.MonkeyPatch
) -> None:
    ts = opened.recording.axis.ts_ns
    monkeypatch.setattr("tracekit.browse.running_tasks.MOST_TURNS", 100)
    assert turns_in(opened.recording, lanes["CPU 1"], [int(ts[0]), int(ts[-1])]) is None


def test_what_a_filter_leaves(opened: Opened, lanes: dict[str, Lane]) -> None:
    wanted = np.arange(0, len(opened.recording), 7, dtype=np.uint32)
    lane = shown(lanes["kernel log"], Selection(len(opened.recording), wanted))
    assert lane.rows.tolist() == [r for r in lanes["kernel log"].rows.tolist() if r % 7 == 0]
    assert shown(lanes["phases"], Selection(1, wanted[:0])) is lanes["phases"]


# -- made-up rows ------------------------------------------------------------------------------

row_sets = st.sets(st.integers(0, 60), max_size=40).map(
    lambda rows: np.array(sorted(rows), np.uint32)
)


@given(row_sets, row_sets, st.integers(0, 60), st.booleans())
def test_next_rows(rows: Any, kept: Any, row: int, forward: bool) -> None:
    def plain(of: list[int]) -> int | None:
        beyond = [r for r in of if (r > row if forward else r < row)]
        return (min if forward else max)(beyond, default=None)

    both = sorted({*rows.tolist()} & {*kept.tolist()})
    assert next_row(rows, row, forward) == plain(rows.tolist())
    assert next_common(rows, Selection(61, kept), row, forward) == plain(both)
    assert next_common(rows, Selection(61), row, forward) == plain(rows.tolist())
    lane = shown(Lane("x", "events", rows), Selection(61, kept))
    assert lane.rows.tolist() == both


@given(
    row_sets,
    st.lists(st.integers(0, 9), min_size=61, max_size=61),
    st.integers(0, 60),
    st.integers(1, 40),
    st.booleans(),
)
def test_gaps(rows: Any, steps: list[int], row: int, least: int, forward: bool) -> None:
    ts = np.cumsum(steps)
    gaps = [(a, b) for a, b in pairwise(rows.tolist()) if ts[b] - ts[a] >= least]
    if forward:
        expected = next(((a, b) for a, b in gaps if a > row), None)
    else:
        expected = next(((a, b) for a, b in reversed(gaps) if a < row), None)
    assert find_gap(ts, rows, row, least, forward) == expected


@given(row_sets.filter(len), st.lists(st.integers(0, 9), min_size=61, max_size=61), st.data())
def test_the_nearest_row(rows: Any, steps: list[int], data: st.DataObject) -> None:
    ts = np.cumsum(steps)
    ns = data.draw(st.integers(-5, int(ts[-1]) + 5))
    found = nearest_row(ts, rows, ns)
    assert found in rows.tolist()
    assert abs(int(ts[found]) - ns) == min(abs(int(ts[row]) - ns) for row in rows.tolist())


@given(row_sets, st.integers(0, 60), st.sampled_from(["left", "right"]))
def test_where_a_row_has_its_place(rows: Any, at: int, side: Any) -> None:
    below = [r for r in rows.tolist() if (r < at if side == "left" else r <= at)]
    assert among(rows, at, side) == len(below)


spans = st.lists(
    st.tuples(st.integers(-50, 50), st.integers(0, 30)).map(
        lambda s: Span(s[0], s[0] + s[1], f"{s}", "x", 0)
    ),
    max_size=30,
)


@given(spans, st.integers(1, 4))
def test_stacked_spans_overlap_on_the_last_level_only(of: list[Span], most: int) -> None:
    levels = stack(of, most)
    assert sorted(map(id, of)) == sorted(id(s) for level in levels for s in level)
    assert len(levels) <= most
    for level in levels[: most - 1]:
        assert all(a.end_ns <= b.start_ns for a, b in pairwise(level))
    for level in levels:
        assert [s.start_ns for s in level] == sorted(s.start_ns for s in level)
    for lower, upper in pairwise(levels):
        for span in upper:  # nothing is put further down than it must
            beside = [s for s in lower if s.start_ns <= span.start_ns <= s.end_ns]
            assert beside


@given(spans, st.integers(-60, 60), st.integers(1, 40), st.integers(1, 5))
def test_spans_of_a_window(of: list[Span], start: int, length: int, most: int) -> None:
    of = sorted(of, key=lambda s: s.start_ns)
    end = start + length
    touching = [
        s for s in of
        if s.start_ns < end and (s.end_ns > start or s.start_ns == s.end_ns >= start)
    ]  # fmt: skip
    assert list(Level(of).within(start, end)) == touching
    few = Level(of).within(start, end, most)
    assert len(few) <= most and all(any(s is t for t in touching) for s in few)


@given(spans.filter(len), st.integers(-60, 90), st.booleans())
def test_spans_beside_and_at_an_instant(of: list[Span], ns: int, forward: bool) -> None:
    lane = Lane("x", "spans", spans=tuple(sorted(of, key=lambda s: s.start_ns)))
    beyond = [s.start_ns for s in of if (s.start_ns > ns if forward else s.start_ns < ns)]
    found = lane.span_beside(ns, forward)
    assert (found.start_ns if found else None) == (min if forward else max)(beyond, default=None)
    holding = [s for s in of if s.start_ns <= ns < s.end_ns or s.start_ns == ns]
    inner = max(((s.start_ns, -s.end_ns) for s in holding), default=None)
    at = lane.span_at(ns)
    assert ((at.start_ns, -at.end_ns) if at else None) == inner
