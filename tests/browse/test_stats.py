"""Counts and times of the tables, against walks over the same events one by one."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tracekit
from tests.support.ring.event_payloads import FORMATS, sched_switch
from tests.support.ring.region_writer import RingBuffer, layout_615
from tests.support.session_trees import make_session
from tests.support.sessions.loose import loosen
from tracekit.browse import stats
from tracekit.browse.stats import Times, count_all, recorded_ns, running_times
from tracekit.query.groups import Groups, Index
from tracekit.recording import Recording

SWITCH = "sched:sched_switch"
SESSIONS = (
    "shipped",
    "handover-7.2-to-7.3-tsc",
    pytest.param("handover-7.2-tsc", marks=pytest.mark.slow),
    pytest.param("same-boot-wide-7.2", marks=pytest.mark.slow),
)


def nothing(done: int, total: int) -> None:
    """Goes on."""


@pytest.fixture(params=SESSIONS)
def recording(request: pytest.FixtureRequest, session: Callable[[str], Path]) -> Recording:
    if request.param != "shipped":
        return tracekit.open(session(request.param))
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        return tracekit.open(path)


def walk(recording: Recording, rows: Iterable[dict[str, Any]]) -> tuple[Any, Any, Any, Any]:
    """(pid's time, pid's switches, the CPU's span, nobody's time), by boot, one row at a time."""
    ran, switched, spans = defaultdict(int), Counter[tuple[int, int]](), {}
    holes: defaultdict[tuple[int, int], int] = defaultdict(int)
    last: dict[tuple[int, int], tuple[int, int]] = {}
    for row in rows:
        if not recording.axis.timed(row["boot"]):
            continue
        cpu, now = (row["boot"], row["cpu"]), row["ts_ns"]
        if cpu in last:
            since, pid = last[cpu]
            if pid == row["prev_pid"]:
                ran[row["boot"], pid] += now - since
            else:
                holes[cpu] += now - since
        spans[cpu] = spans.get(cpu, (now, now))[0], now
        last[cpu] = now, row["next_pid"]
        switched[row["boot"], row["next_pid"]] += 1
    return ran, switched, spans, holes


def agree(times: Times, walked: tuple[Any, Any, Any, Any]) -> None:
    ran, switched, spans, holes = walked
    assert {key: task.ns for key, task in times.tasks.items() if task.ns} == {
        key: ns for key, ns in ran.items() if ns
    }
    assert {key: task.switches for key, task in times.tasks.items() if task.switches} == switched
    assert {key: (cpu.first_ns, cpu.last_ns) for key, cpu in times.cpus.items()} == spans
    assert {key: cpu.nobodys_ns for key, cpu in times.cpus.items() if cpu.nobodys_ns} == {
        key: ns for key, ns in holes.items() if ns
    }


@pytest.mark.slow
@pytest.mark.parametrize("piece", [3, 1 << 13])
def test_times_are_those_of_a_walk(
    recording: Recording, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if SWITCH not in recording.event_names:
        pytest.skip("no task switches were recorded")
    rows = recording.event(SWITCH).to_pylist()[:4000]
    code = recording.event_names.index(SWITCH)
    of = np.flatnonzero(recording.name_codes(slice(None)) == code)[: len(rows)]
    index = Index(recording)
    index.events = only(recording, code, of)
    monkeypatch.setattr(stats, "_DECODE", piece)
    agree(running_times(recording, index, nothing), walk(recording, rows))


def only(recording: Recording, code: int, rows: np.ndarray[Any, Any]) -> Groups:
    """Groups in which the event with that code has these rows, and no other has any."""
    names = len(recording.event_names)
    starts = np.array([0] * (code + 1) + [len(rows)] * (names - code), np.int64)
    return Groups(range(names), starts, rows.astype(np.uint32))


def test_what_tasks_and_idle_ran_is_the_span(recording: Recording) -> None:
    times = running_times(recording, Index(recording), nothing)
    for boot in {boot for boot, _ in times.cpus}:
        ran = sum(task.ns for (b, _), task in times.tasks.items() if b == boot)
        cpus = [cpu for (b, _), cpu in times.cpus.items() if b == boot]
        assert ran + sum(c.nobodys_ns for c in cpus) == sum(c.last_ns - c.first_ns for c in cpus)
        assert times.tasks[boot, 0].ns == sum(c.idle_ns for c in cpus)
        assert all(c.idle is None or 0 <= c.idle <= 1 for c in cpus)


def test_missing_switches_are_nobodys_time_and_said(recording: Recording) -> None:
    if SWITCH not in recording.event_names:
        pytest.skip("no task switches were recorded")
    code = recording.event_names.index(SWITCH)
    rows = np.flatnonzero(recording.name_codes(slice(None)) == code)
    kept = np.delete(rows, np.arange(5, len(rows), 7))
    index = Index(recording)
    index.events = only(recording, code, kept)
    times = running_times(recording, index, nothing)
    agree(times, walk(recording, recording.event_at(SWITCH, kept).to_pylist()))
    whole = running_times(recording, Index(recording), nothing)
    assert sum(t.ns for t in times.tasks.values()) < sum(t.ns for t in whole.tasks.values())
    assert any(cpu.nobodys_ns for cpu in times.cpus.values())
    assert any("lower bounds" in note for note in times.notes)


def test_counts_are_those_of_the_timeline(recording: Recording) -> None:
    report, index = recording.report(), Index(recording)
    counts = count_all(recording, report, index, nothing)
    table = recording.table(args=False).to_pylist()
    by_event = Counter((row["boot"], row["event"]) for row in table)
    by_task = Counter((row["boot"], row["pid"]) for row in table)
    assert {(e.boot, e.name): e.events for e in counts.events} == by_event
    assert {(t.boot, t.pid): t.events for t in counts.tasks} == by_task
    assert [e.events for e in counts.events] == sorted(by_event.values(), reverse=True)
    for event in counts.events:
        mine = [(n, r) for n, r in enumerate(table)
                if (r["boot"], r["event"]) == (event.boot, event.name)]  # fmt: skip
        assert event.first_row == mine[0][0]
        assert event.cpus == len({row["cpu"] for _, row in mine})
    assert sum(e.share for e in counts.events) == pytest.approx(len({r["boot"] for r in table}))
    names = {(row["boot"], row["pid"]): row["comm"] for row in table}
    first = {(r["boot"], r["pid"]): n for n, r in reversed(list(enumerate(table)))}
    for task in counts.tasks:
        assert task.comm == names[task.boot, task.pid]
        assert task.first_row == first[task.boot, task.pid]
    cpus = {(r["boot"], r["cpu"]): n for n, r in reversed(list(enumerate(table)))}
    assert {(c.boot, c.account.cpu): c.first_row for c in counts.cpus if c.account.events} == cpus


def test_rates_are_over_the_recorded_time(recording: Recording) -> None:
    report = recording.report()
    counts = count_all(recording, report, Index(recording), nothing)
    spans = recorded_ns(report)
    for event in counts.events:
        span = spans[event.boot]
        assert span is None or event.rate == pytest.approx(event.events / (span / 1e9))


def test_without_switches_times_are_unknown(tmp_path: Path) -> None:
    ring = RingBuffer(4)
    recording = tracekit.open(make_session(tmp_path, layout_615([ring])))
    assert SWITCH not in FORMATS  # no event of the tests' own kernel is called so
    times = running_times(recording, Index(recording), nothing)
    assert (times.tasks, times.cpus) == ({}, {})
    assert times.notes == (f"boot 0: {SWITCH} was not recorded; times are unknown",)
    counts = count_all(recording, recording.report(), Index(recording), nothing)
    assert (counts.tasks, counts.events) == ((), ())
    assert [(c.account.events, c.first_row, c.rate) for c in counts.cpus] == [(0, None, None)]


def test_a_switch_without_its_pids_is_nobodys(tmp_path: Path) -> None:
    """A record that ends early: the tasks it names are not known, and are not pid 0."""
    ring = RingBuffer(4)
    for at, (left, comes) in enumerate([(0, 5), (5, 0), (0, 7), (7, 0)]):
        whole = sched_switch(b"left", left, b"comes", comes)
        ring.write(1000 + at * 1000, whole[:24] if left == 0 and comes == 7 else whole)
    text = FORMATS["test:switch"].replace("name: switch", "name: sched_switch")
    formats = {"sys/kernel/tracing/events/sched/sched_switch/format": text}
    path = make_session(tmp_path, layout_615([ring]), formats)
    shutil.rmtree(loosen(path) / "boots/0/tracefs/events/test/switch")
    recording = tracekit.open(path)
    assert recording.event(SWITCH)["prev_pid"].to_pylist() == [0, 5, None, 7]
    times = running_times(recording, Index(recording), nothing)
    assert {pid: (t.ns, t.switches) for (_, pid), t in times.tasks.items()} == {
        0: (0, 2), 5: (1000, 1)
    }  # fmt: skip
    (cpu,) = times.cpus.values()
    assert (cpu.idle_ns, cpu.nobodys_ns) == (0, 2000)


def test_the_step_ends_the_work(recording: Recording) -> None:
    class Enough(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Enough

    with pytest.raises(Enough):
        count_all(recording, recording.report(), Index(recording), stop)
    if SWITCH in recording.event_names:
        with pytest.raises(Enough):
            running_times(recording, Index(recording), stop)
