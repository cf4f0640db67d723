"""Statistics: events by CPU, task and event, and the time that tasks spent on the CPUs.

The counts come from the groups of an :class:`~tracekit.query.groups.Index`. The times come from
``sched:sched_switch``, a piece at a time. ``step(done, total)`` is called between pieces; it may
raise to end the work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.browse.lanes import SWITCH
from tracekit.frozen import dataclass, field
from tracekit.ftrace.columns import as_numpy
from tracekit.query.groups import Groups, Index
from tracekit.recording import Recording
from tracekit.report.make import CpuReport, Report

__all__ = [
    "Counts",
    "CpuCount",
    "CpuTime",
    "EventCount",
    "TaskCount",
    "TaskTime",
    "Times",
    "count_all",
    "recorded_ns",
    "running_times",
]

_Array = npt.NDArray[Any]
Step = Callable[[int, int], None]

_GATHER = 1 << 18  # rows whose boots and CPUs are read at a time
_DECODE = 1 << 13  # switches that are decoded at a time


@dataclass(frozen=True, slots=True)
class CpuCount:
    """A CPU of a boot: its account, and the row of its first event (None: it has none)."""

    boot: int
    account: CpuReport
    first_row: int | None

    @property
    def rate(self) -> float | None:
        """Events a second between its first and its last; None if that time is not known."""
        return _rate(self.account.events, _span(self.account.first_ns, self.account.last_ns))


@dataclass(frozen=True, slots=True)
class TaskCount:
    """A task of a boot; ``comm`` is None if its name is not known."""

    boot: int
    pid: int
    comm: str | None
    events: int
    first_row: int


@dataclass(frozen=True, slots=True)
class EventCount:
    """An event (``system:name``) in a boot.

    ``share`` is of the boot's events, ``rate`` a second of the boot's recorded time (None where
    that is not known), ``cpus`` how many CPUs it occurred on.
    """

    boot: int
    name: str
    events: int
    share: float
    rate: float | None
    cpus: int
    first_row: int


@dataclass(frozen=True, slots=True)
class Counts:
    """By boot and CPU; by boot and pid; the events, the most frequent first."""

    cpus: tuple[CpuCount, ...]
    tasks: tuple[TaskCount, ...]
    events: tuple[EventCount, ...]


@dataclass(slots=True)
class TaskTime:
    """``ns`` on a CPU: the sum of the times from a switch to the task until the next switch of
    that CPU, which must be from it. ``switches``: how often it was switched to.

    Nothing is counted before a CPU's first switch and after its last. If events were lost, the
    time between two switches that do not fit together is given to no task, so ``ns`` is a lower
    bound; it is wrong only if a task was switched away and back within the hole.
    """

    ns: int = 0
    switches: int = 0


@dataclass(slots=True)
class CpuTime:
    """A CPU between its first and its last switch (ns on the session's axis).

    ``idle_ns`` is the idle task's part, ``nobodys_ns`` the part between switches that do not fit
    together; the rest is the tasks'.
    """

    first_ns: int
    last_ns: int
    idle_ns: int = 0
    nobodys_ns: int = 0

    @property
    def idle(self) -> float | None:
        """The share of the time in which it was idle; None if that time is empty."""
        span = self.last_ns - self.first_ns
        return self.idle_ns / span if span > 0 else None


@dataclass(frozen=True, slots=True)
class Times:
    """By (boot, pid) and (boot, CPU); what was not observed is absent.

    ``notes`` say which numbers are unknown or lower bounds.
    """

    tasks: dict[tuple[int, int], TaskTime] = field(default_factory=dict)
    cpus: dict[tuple[int, int], CpuTime] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def _span(first: int | None, last: int | None) -> int | None:
    return None if first is None or last is None else last - first


def _rate(events: int, ns: int | None) -> float | None:
    return events * 1e9 / ns if ns else None


def recorded_ns(report: Report) -> dict[int, int | None]:
    """Boot -> ns from its first event to its last; None where that is not known."""
    lengths: dict[int, int | None] = {}
    for boot in report.boots:
        firsts = [c.first_ns for c in boot.cpus if c.first_ns is not None]
        lasts = [c.last_ns for c in boot.cpus if c.last_ns is not None]
        lengths[boot.index] = _span(min(firsts, default=None), max(lasts, default=None))
    return lengths


# -- counts -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _BootCount:
    """A group's rows in one boot."""

    events: int
    cpus: set[int]
    first_row: int


class _Counter:
    """Counts the rows of groups by boot, and reports its progress."""

    def __init__(self, recording: Recording, cpus: Groups, step: Step) -> None:
        self._rows = recording.rows
        self._cpus = max(cpus.keys, default=0) + 1
        self._step = step
        self._done, self._total = 0, 2 * len(recording)  # by CPU and by event

    def of(self, group: _Array) -> dict[int, _BootCount]:
        """The counts of a group in each boot."""
        boots: dict[int, _BootCount] = {}
        for start in range(0, len(group), _GATHER):
            part = group[start : start + _GATHER]
            key = self._rows.boot[part].astype(np.int64) * self._cpus + self._rows.cpu[part]
            counts = np.bincount(key)
            for one in np.flatnonzero(counts).tolist():
                boot, cpu = divmod(one, self._cpus)
                if boot not in boots:
                    first = int(part[int(np.argmax(key // self._cpus == boot))])
                    boots[boot] = _BootCount(0, set(), first)
                boots[boot].events += int(counts[one])
                boots[boot].cpus.add(cpu)
            self._done += len(part)
            self._step(self._done, self._total)
        return boots


def _cpus(report: Report, groups: Groups, counter: _Counter) -> Iterator[CpuCount]:
    by_cpu = {cpu: counter.of(groups.rows(i)) for i, cpu in enumerate(groups.keys)}
    for boot in report.boots:
        for account in boot.cpus:
            of_boot = by_cpu.get(account.cpu, {}).get(boot.index)
            yield CpuCount(boot.index, account, of_boot.first_row if of_boot else None)


def _tasks(recording: Recording, groups: Groups, step: Step) -> Iterator[TaskCount]:
    comms = {b.index: c for b, c in zip(recording.boots, recording.comms, strict=True)}
    starts, counts = groups.starts.tolist(), groups.counts()
    for i, key in enumerate(groups.keys):
        if i % 4096 == 0:
            step(i, len(groups.keys))
        boot, pid = key >> 32, (key & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)
        comm = comms.get(boot, {}).get(pid)
        yield TaskCount(boot, pid, comm, counts[i], int(groups.order[starts[i]]))


def _events(
    recording: Recording, report: Report, groups: Groups, counter: _Counter
) -> Iterator[EventCount]:
    spans = recorded_ns(report)
    counted = {
        (boot, name): one
        for i, name in enumerate(recording.event_names)
        for boot, one in counter.of(groups.rows(i)).items()
    }
    totals: defaultdict[int, int] = defaultdict(int)
    for (boot, _), one in counted.items():
        totals[boot] += one.events
    for (boot, name), one in counted.items():
        share = one.events / totals[boot]
        rate = _rate(one.events, spans.get(boot))
        yield EventCount(boot, name, one.events, share, rate, len(one.cpus), one.first_row)


def count_all(recording: Recording, report: Report, index: Index, step: Step) -> Counts:
    """The events of every CPU, task and event, by boot."""
    step(0, 1)
    groups = index.cpus, index.events, index.tasks
    counter = _Counter(recording, groups[0], step)
    return Counts(
        tuple(_cpus(report, groups[0], counter)),
        tuple(_tasks(recording, groups[2], step)),
        tuple(sorted(_events(recording, report, groups[1], counter), key=lambda e: -e.events)),
    )


# -- times ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Switches:
    """Switches in the order of time. ``key`` is ``boot << 16 | cpu``."""

    rows: _Array
    key: _Array
    ts: _Array
    prev: _Array
    next: _Array


def _pids(table: pa.Table, name: str, null: int) -> _Array:
    """A column of pids; ``null`` if a record is too short for it, or it is no integer."""
    if name in table.column_names and pa.types.is_integer(table.schema.field(name).type):
        wide = table[name].combine_chunks().cast(pa.int64(), safe=False)  # which ``null`` fits
        return as_numpy(wide, null)
    return np.full(len(table), null, np.int64)


def _decoded(recording: Recording, rows: _Array) -> _Switches:
    table = recording.event_at(SWITCH, rows)
    boot = recording.rows.boot[rows].astype(np.int64)
    return _Switches(
        rows=rows,
        key=boot << 16 | recording.rows.cpu[rows],
        ts=recording.axis.ts_ns[rows],
        prev=_pids(table, "prev_pid", -1 << 40),
        next=_pids(table, "next_pid", -1 << 41),
    )


def _sums(keys: _Array, values: _Array) -> Iterator[tuple[int, int]]:
    """(key, the sum of its values)."""
    distinct_keys, which = np.unique(keys, return_inverse=True)
    sums = np.zeros(len(distinct_keys), np.int64)
    np.add.at(sums, which.reshape(-1), values)
    yield from zip(distinct_keys.tolist(), sums.tolist(), strict=True)


class _SwitchTotals:
    """Adds up pieces of the switches; the last switch of each CPU is carried into the next."""

    def __init__(self) -> None:
        self.tasks: defaultdict[tuple[int, int], TaskTime] = defaultdict(TaskTime)
        self.cpus: dict[tuple[int, int], CpuTime] = {}
        self.last = np.empty(0, np.int64)  # rows, ascending

    def add(self, s: _Switches, carried: int) -> None:
        """Add a piece; its first ``carried`` switches have been counted before."""
        order = np.argsort(s.key, kind="stable")
        one, other = order[:-1], order[1:]
        same = s.key[one] == s.key[other]
        self.last = np.sort(s.rows[order[np.append(~same, True)]])
        one, other = one[same], other[same]
        ns, fits = s.ts[other] - s.ts[one], s.next[one] == s.prev[other]
        for task, total in _sums(self._task(s.key, s.next)[one[fits]], ns[fits]):
            self.tasks[self._pair(task)].ns += total
        new = self._task(s.key[carried:], s.next[carried:])
        for task, total in _sums(new, np.ones(len(new), np.int64)):
            self.tasks[self._pair(task)].switches += total
        self._cpus(s, order)
        idle = fits & (s.next[one] == 0)
        for key, total in _sums(s.key[one[idle]], ns[idle]):
            self.cpus[key >> 16, key & 0xFFFF].idle_ns += total
        for key, total in _sums(s.key[one[~fits]], ns[~fits]):
            self.cpus[key >> 16, key & 0xFFFF].nobodys_ns += total

    def _cpus(self, s: _Switches, order: _Array) -> None:
        keys, first, count = np.unique(s.key[order], return_index=True, return_counts=True)
        begins, ends = s.ts[order[first]].tolist(), s.ts[order[first + count - 1]].tolist()
        for key, begin, end in zip(keys.tolist(), begins, ends, strict=True):
            cpu = key >> 16, key & 0xFFFF
            self.cpus.setdefault(cpu, CpuTime(begin, end)).last_ns = end

    @staticmethod
    def _task(key: _Array, pid: _Array) -> _Array:
        task: _Array = (key >> 16) << 48 | (pid & (1 << 48) - 1)
        return task

    @staticmethod
    def _pair(task: int) -> tuple[int, int]:
        return task >> 48, (task & (1 << 48) - 1 ^ 1 << 47) - (1 << 47)


def _notes(recording: Recording, totals: _SwitchTotals, untold: set[int]) -> Iterator[str]:
    for boot in recording.boots:
        if boot.index in untold:
            yield f"boot {boot.index}: its clock does not count time; times are unknown"
        elif not recording.has_event(SWITCH, boot.index):
            yield f"boot {boot.index}: {SWITCH} was not recorded; times are unknown"
        holes = [c for (b, _), c in totals.cpus.items() if b == boot.index and c.nobodys_ns]
        if holes:
            lost = sum(c.nobodys_ns for c in holes) / 1e9
            yield (
                f"boot {boot.index}: switches are missing on {len(holes)} CPUs: {lost:.3f} s of "
                "CPU time are nobody's, and times are lower bounds"
            )


def running_times(recording: Recording, index: Index, step: Step) -> Times:
    """Time on CPU by task, idle time by CPU; see :class:`TaskTime` for what is counted."""
    totals, untold = _SwitchTotals(), set[int]()
    if SWITCH in recording.event_names:
        rows = index.events.of(recording.event_names.index(SWITCH))
        untold = {b.index for b in recording.boots if not recording.axis.timed(b.index)}
        for start in range(0, len(rows), _DECODE):
            step(start, len(rows))
            new = rows[start : start + _DECODE].astype(np.int64)
            new = new[~np.isin(recording.rows.boot[new], list(untold))]
            if len(new):
                carried = len(totals.last)
                totals.add(_decoded(recording, np.append(totals.last, new)), carried)
    tasks = {key: time for key, time in totals.tasks.items() if key[1] >= -1 << 31}
    return Times(tasks, totals.cpus, tuple(_notes(recording, totals, untold)))
