"""States, turns and wakeups: of events written down, and against walks over exported files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tracekit
from tests.support.sessions.made_events import HARDIRQ, US, at, made, switch
from tracekit.browse.stats import running_times
from tracekit.cli import main
from tracekit.errors import UsageError
from tracekit.query.groups import Index
from tracekit.timeline.filter import Filter

S, D, R, PREEMPTED, DEAD, IDLE = 1, 2, 0, 0x100, 0x10, 0x80


def states(path: Path, *cpus: Any) -> list[tuple[Any, ...]]:
    table = tracekit.open(made(path, *cpus)).analysis.states()
    return [
        (r["pid"], r["state"], r["cpu"], r["duration_ns"] // US, r["waker_pid"], r["waker_context"],
         r["inferred"])
        for r in table.to_pylist()
    ]  # fmt: skip


def test_a_task_sleeps_is_woken_and_runs(tmp_path: Path) -> None:
    events = [
        switch(0, 0, R, 7), switch(10, 7, S, 8), at(30, "sched/sched_waking", 7, 0, pid=8),
        at(31, "sched/sched_wakeup", 7, 0, pid=8), switch(50, 8, PREEMPTED, 7),
        switch(90, 7, D, 0), at(95, "sched/sched_waking", 7, 0, pid=0, flags=HARDIRQ),
        switch(99, 0, R, 7),
    ]  # fmt: skip
    assert states(tmp_path / "s", events) == [
        (7, "running", 0, 10, None, None, False), (7, "sleeping", 0, 20, None, None, False),
        (7, "runnable", 0, 20, 8, "task", False), (7, "running", 0, 40, None, None, False),
        (7, "uninterruptible", 0, 5, None, None, False),
        (7, "runnable", 0, 4, None, "hardirq", False),
        (8, "running", 0, 40, None, None, False), (8, "preempted", 0, 49, None, None, True),
    ]  # fmt: skip


def test_both_ends_of_the_record_are_inferred_and_no_further(tmp_path: Path) -> None:
    """Up to the first switch, and after the last, a CPU's events are those of one task."""
    zero = [
        at(0, "irq/softirq_raise", 1, pid=5), at(4, "irq/softirq_raise", 1, pid=5),
        switch(10, 5, S, 6), at(17, "irq/softirq_raise", 1, pid=6),
    ]  # fmt: skip
    one = [
        at(2, "irq/softirq_raise", 1, pid=3),
        switch(12, 9, R, 4),
        at(40, "irq/softirq_raise", 1, pid=2),
    ]
    path = made(tmp_path / "s", zero, one)
    turns = tracekit.open(path).analysis.turns().to_pylist()
    assert [(t["cpu"], t["pid"], t["duration_ns"] // US, t["inferred"]) for t in turns] == [
        (0, 5, 10, True), (0, 6, 7, True),
    ]  # fmt: skip


def test_switches_that_do_not_fit_are_nobodys(tmp_path: Path) -> None:
    events = [switch(0, 1, S, 2), switch(10, 2, S, 3), switch(20, 4, S, 5), switch(25, 5, S, 1)]
    turns = tracekit.open(made(tmp_path / "s", events)).analysis.turns().to_pylist()
    assert [(t["pid"], t["duration_ns"] // US) for t in turns] == [(2, 10), (None, 10), (5, 5)]
    table = tracekit.open(tmp_path / "s").analysis.statistics("task").to_pylist()
    assert [(r["name"], r["total_ns"] // US) for r in table] == [("<...>-2", 10), ("<...>-5", 5)]


def test_woken_while_leaving_is_runnable_at_once(tmp_path: Path) -> None:
    zero = [switch(0, 0, R, 7), switch(10, 7, S, 0), switch(20, 0, R, 7)]
    one = [at(9, "sched/sched_waking", 7, 0, pid=3)]
    rows = states(tmp_path / "s", zero, one)
    assert (7, "runnable", 0, 10, 3, "task", False) in rows
    assert len(tracekit.open(tmp_path / "s").analysis.wakeups()) == 0


def test_a_sleep_whose_wakeup_is_not_recorded_is_inferred(tmp_path: Path) -> None:
    rows = states(tmp_path / "s", [switch(0, 0, R, 7), switch(10, 7, S, 0), switch(20, 0, R, 7)])
    assert rows == [
        (7, "running", 0, 10, None, None, False),
        (7, "sleeping", 0, 10, None, None, True),
    ]


def test_only_a_task_is_named_as_waker(tmp_path: Path) -> None:
    """``sched_wakeup`` alone happens in whatever runs where the task is put."""
    events = [
        switch(0, 0, R, 7), switch(10, 7, S, 8), at(20, "sched/sched_wakeup", 7, 0, pid=8),
        switch(30, 8, S, 7),
    ]  # fmt: skip
    (wakeup,) = tracekit.open(made(tmp_path / "s", events)).analysis.wakeups().to_pylist()
    assert (wakeup["waker_pid"], wakeup["waker_context"]) == (None, "unknown")
    assert (wakeup["pid"], wakeup["duration_ns"]) == (7, 10 * US)


def test_the_dead_are_in_no_state(tmp_path: Path) -> None:
    rows = states(tmp_path / "s", [switch(0, 0, R, 7), switch(10, 7, DEAD, 0), switch(90, 0, R, 8)])
    assert [r[:4] for r in rows] == [(7, "running", 0, 10)]


def test_the_first_wakeup_counts(tmp_path: Path) -> None:
    events = [
        switch(0, 7, S, 8), at(10, "sched/sched_waking", 7, 0, pid=8),
        at(20, "sched/sched_waking", 7, 0, pid=9), switch(30, 8, S, 7),
        at(31, "sched/sched_waking", 7, 0, pid=9),  # it runs: nothing changes
        switch(40, 7, S, 8),
    ]  # fmt: skip
    (wakeup,) = tracekit.open(made(tmp_path / "s", events)).analysis.wakeups().to_pylist()
    assert (wakeup["duration_ns"], wakeup["waker_pid"]) == (20 * US, 8)


def test_sums_are_cut_by_the_window_and_say_what_is_unknown(tmp_path: Path) -> None:
    events = [
        switch(0, 0, R, 7), switch(10, 7, S, 0), at(30, "sched/sched_waking", 7, 0, pid=0),
        switch(50, 0, R, 7), switch(90, 7, IDLE, 0), switch(100, 1, R, 7), switch(110, 7, S, 0),
    ]  # fmt: skip
    recording = tracekit.open(made(tmp_path / "s", events))
    (row,) = recording.analysis.time_in_states(Filter(pids=frozenset({7}))).to_pylist()
    named = {k: v // US for k, v in row.items() if k.endswith("_ns") and v}
    assert named == {"running_ns": 60, "sleeping_ns": 20, "runnable_ns": 20, "idle_ns": 10}
    first = int(recording.axis.ts_ns[0])
    window = Filter(since=first + 5 * US, until=first + 35 * US)
    (row,) = recording.analysis.time_in_states(window).to_pylist()
    assert (row["running_ns"], row["sleeping_ns"], row["runnable_ns"], row["turns"]) == (
        5 * US, 20 * US, 5 * US, 1,
    )  # fmt: skip


def test_states_are_not_chosen_by_events(tmp_path: Path) -> None:
    analysis = tracekit.open(made(tmp_path / "s", [switch(0, 0, R, 7)])).analysis
    with pytest.raises(UsageError, match="belong to tasks"):
        analysis.states(Filter(where="event = sched_switch"))


def test_without_switches_nothing_is_said(tmp_path: Path) -> None:
    analysis = tracekit.open(made(tmp_path / "s", [at(0, "irq/softirq_raise", 1)])).analysis
    assert len(analysis.states()) == len(analysis.turns()) == len(analysis.wakeups()) == 0
    assert len(analysis.statistics("task")) == len(analysis.time_in_states()) == 0


# -- against others -------------------------------------------------------------------------------


def test_running_times_are_those_of_the_interface() -> None:
    """They do not count what is inferred at both ends of the record."""
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        recording = tracekit.open(path)
        times = running_times(recording, Index(recording), lambda done, total: None)
        turns = recording.analysis.turns().to_pandas()
    sure = turns[~turns["inferred"]]
    mine = sure.dropna(subset="pid").groupby(["boot", "pid"])["duration_ns"].sum()
    assert {k: v for k, v in mine.items() if v} == {k: t.ns for k, t in times.tasks.items() if t.ns}


@pytest.fixture(scope="module")
def exported(
    session: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, pd.DataFrame, pd.DataFrame]:
    path, where = session("same-boot-wide-7.2"), tmp_path_factory.mktemp("exported")
    command = ["-q", "export", str(path), "--format", "parquet", "--per-event", str(where)]
    assert main([*command, "--event", "sched_switch", "--event", "sched_waking"]) == 0
    switches, wakings = (pd.read_parquet(where / f"sched.{name}.parquet")
                         for name in ("sched_switch", "sched_waking"))  # fmt: skip
    return path, switches, wakings


def test_latencies_are_those_of_a_walk(exported: tuple[Path, pd.DataFrame, pd.DataFrame]) -> None:
    path, switches, wakings = exported
    steps = [(int(r.ts_ns), 1, "switch", r) for r in switches.itertuples()]
    steps += [(int(r.ts_ns), 0, "waking", r) for r in wakings.itertuples()]
    asleep, woken = dict[int, bool](), dict[int, int]()
    waits = defaultdict(list)
    for ts, _, what, row in sorted(steps, key=lambda step: step[:2]):
        if what == "waking":
            if asleep.get(row.pid, True):
                woken.setdefault(row.pid, ts)
            continue
        # 1 to 0xff are the states in which a task sleeps; 0x100 is preempted
        asleep[row.prev_pid], asleep[row.next_pid] = 0 < row.prev_state < 0x100, False
        if (since := woken.pop(row.next_pid, None)) is not None and row.next_pid:
            waits[row.next_pid].append(ts - since)
        woken.pop(row.prev_pid, None)
    table = tracekit.open(path).analysis.wakeups().to_pandas()
    mine = table.groupby("pid")["duration_ns"].apply(sorted).to_dict()
    assert len(waits) > 40
    for pid, values in mine.items():
        rest = list(values)
        for value in waits[pid]:
            rest.remove(value)
        # a new task's first wait is from sched_wakeup_new, which the walk does not look at
        assert len(rest) <= 1, pid
    assert sum(map(len, mine.values())) - sum(map(len, waits.values())) <= 46


def test_time_on_cpu_is_that_of_pandas(exported: tuple[Path, pd.DataFrame, pd.DataFrame]) -> None:
    path, switches, _ = exported
    ordered = switches.sort_values("ts_ns", kind="stable")
    following = ordered.groupby("cpu")[["ts_ns", "prev_pid"]].shift(-1)
    fits = following["prev_pid"] == ordered["next_pid"]
    took = (following["ts_ns"] - ordered["ts_ns"])[fits]
    wanted = took.groupby([ordered["cpu"], ordered["next_pid"]]).sum()
    turns = tracekit.open(path).analysis.turns().to_pandas()
    sure = turns[~turns["inferred"]].dropna(subset="pid")
    mine = sure.groupby(["cpu", "pid"])["duration_ns"].sum()
    assert dict(mine.items()) == {k: int(v) for k, v in wanted.items()}
