"""What ran last is told as far as it is known, and no further."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest

from tests.support.sessions import missing
from tests.support.sessions.missing import END, OFFLINE, ONLINE, START
from tracekit.browse.lanes import Lane, make_lanes
from tracekit.browse.open import Opened, open_recording
from tracekit.browse.running_tasks import turns_in
from tracekit.browse.turn_rows import turn_rows

IDLE, WORKER, READER = 0, 70, 71
STEP = 10_000_000


def opened(path: Path) -> Opened:
    return open_recording(path, lambda what, share: None)


def lane_of(of: Opened, cpu: int) -> Lane:
    lanes = make_lanes(of.recording, of.report, of.index, of.coverage)
    return next(lane for lane in lanes if lane.name == f"CPU {cpu}")


def runs(of: Opened, cpu: int) -> Callable[[int, int], tuple[int | None, float]]:
    """(the pid that ran longest, the share that is known) in a stretch of the kernel's clock."""
    zero = int(of.recording.axis.ts_ns[0]) - int(of.recording.rows.ts_raw[0])
    lane = lane_of(of, cpu)

    def at(start: int, end: int) -> tuple[int | None, float]:
        turns = turns_in(of.recording, lane, [zero + start, zero + end])
        assert turns is not None
        task = int(turns.task[0])
        return (turns.tasks[task][1] if task >= 0 else None), float(turns.known[0])

    return at


def test_the_last_task_runs_to_where_its_cpu_is_known_to_be_recorded(tmp_path: Path) -> None:
    at = runs(opened(missing.whole(tmp_path)), 1)
    last = END - 50_000_000  # CPU 1's last switch is its 40th, from the reader to idle
    assert at(last, END - STEP) == (IDLE, 1.0)  # CPU 0's last event, in the same region
    assert at(END - STEP + 1, END + STEP) == (None, 0.0)
    assert at(last, END - STEP + 40_000_000) == (IDLE, pytest.approx(0.5, abs=1e-6))


def test_and_to_the_stop_of_its_cpu(tmp_path: Path) -> None:
    at = runs(opened(missing.offline(tmp_path)), 1)
    last = OFFLINE - 50_000_000
    assert at(last, OFFLINE + 1_000_000) == (IDLE, 1.0)
    assert at(OFFLINE + 1_000_000, ONLINE) == (None, 0.0)
    assert at(ONLINE, ONLINE + 50_000_000) == (WORKER, 1.0)


def test_and_not_beyond_the_end_of_a_record(tmp_path: Path) -> None:
    at = runs(opened(missing.short(tmp_path)), 0)
    end = END - 500_000_000
    assert at(end - 2 * STEP, end - STEP)[1] == 1.0
    assert at(end - STEP + 1, END) == (None, 0.0)


def test_no_task_is_told_in_a_hole_nor_before_the_first_switch(tmp_path: Path) -> None:
    of = opened(missing.damaged(tmp_path))
    (hole,) = (s for s in of.coverage[0] if s.kind == "unreadable")
    zero = int(of.recording.axis.ts_ns[0]) - int(of.recording.rows.ts_raw[0])
    at = runs(of, 0)
    start, end = hole.start_ns - zero, hole.end_ns - zero
    assert at(start, end) == (None, 0.0)
    assert at(start - STEP, start)[1] == at(end, end + STEP)[1] == 1.0
    assert at(START - STEP, START) == (None, 0.0)


def test_after_a_hole_a_task_is_known_from_the_first_event_on(tmp_path: Path) -> None:
    of = opened(missing.damaged(tmp_path))
    lane = lane_of(of, 0)
    pids, ts = of.recording.rows.pid, of.recording.axis.ts_ns
    (hole,) = (s for s in of.coverage[0] if s.kind == "unreadable")
    after = lane.rows[np.searchsorted(ts[lane.rows], hole.end_ns)]
    turns = turns_in(of.recording, lane, [int(ts[after]), int(ts[after]) + STEP])
    assert turns is not None
    following = lane.rows[np.searchsorted(lane.rows, after) + 1]
    assert turns.tasks[turns.task[0]] == (0, int(pids[following]))


@pytest.mark.parametrize("cpu", [0, 1])
def test_the_handover_that_ships(cpu: int) -> None:
    """CPU 1 is idle until CPU 0 stops it; CPU 0 runs the same task to the jump."""
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        of = opened(path)
        lane = lane_of(of, cpu)
        end = next((s.start_ns for s in of.coverage[1] if s.kind == "stopping"), 0)
        until = end if cpu == 1 else 0
        turns = turns_in(of.recording, lane, [until - 1_000_000, until, until + 10**9])
        assert turns is not None
        assert turns.known.tolist() == pytest.approx([1.0, 0.0], abs=1e-3)
        assert turns.tasks[turns.task[0]][1] == (76 if cpu == 0 else 0)


def test_no_switches_no_turns() -> None:
    from tracekit.analysis.stretches import Stretch, Stretches

    rows, none = np.arange(4, dtype=np.uint32), np.empty(0, np.uint32)
    boots, ts = np.zeros(4, np.uint8), np.arange(4) * 10
    of = Stretches([Stretch(15, 17, "unreadable")])
    assert len(turn_rows(rows, none, boots, ts, of)) == 0
    assert turn_rows(rows, rows[1:2], boots, ts, of).tolist() == [1, 2, 3]
    assert turn_rows(rows, rows[2:3], boots, ts, of).tolist() == [2, 3]
