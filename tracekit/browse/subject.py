"""What tables, counts and panels are of: a stretch of time and a filter, or everything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.analysis.columns import ints
from tracekit.browse.stats import (
    Counts,
    CpuCount,
    CpuTime,
    EventCount,
    TaskCount,
    TaskTime,
    Times,
)
from tracekit.frozen import dataclass
from tracekit.query.expr import Compare, parse, terms
from tracekit.query.selection import Selection, among
from tracekit.recording import Recording
from tracekit.report.make import Report
from tracekit.text import duration
from tracekit.timeline.filter import Filter

__all__ = ["Subject", "count_subject", "rows_of", "times_of"]

_Array = npt.NDArray[Any]
Step = Callable[[int, int], None]
_PIECE = 1 << 18  # rows that are counted at a time
_OF_TASKS = {"boot": "boots", "cpu": "cpus", "pid": "pids", "comm": "comms"}


@dataclass(frozen=True)
class Subject:
    """``span``: ns on the axis, both ends included, None for all time; ``where``: a filter.

    ``name``: what the stretch is called, '' if nothing is.
    """

    span: tuple[int, int] | None = None
    where: str = ""
    name: str = ""

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return self.span is None and not self.where

    @property
    def wanted(self) -> Filter:
        """The same for :class:`~tracekit.analysis.analysis.Analysis`."""
        since, until = self.span or (None, None)
        return Filter(since=since, until=until, where=self.where)

    @property
    def of_tasks(self) -> tuple[Filter, bool]:
        """(what states and wakeups can be chosen by; whether that is all of the filter)."""
        chosen: dict[str, frozenset[int] | tuple[str, ...]] = {}
        whole = True
        for term in terms(parse(self.where)):
            field = _OF_TASKS.get(term.name) if isinstance(term, Compare) else None
            if not isinstance(term, Compare) or field is None or field in chosen:
                whole = False
                continue
            if term.op not in ("=", "in") and (term.op, field) != ("~", "comms"):
                whole = False
            elif field == "comms":
                chosen[field] = tuple(value.text for value in term.values)
            else:
                chosen[field] = frozenset(v.number for v in term.values if v.number is not None)
        return replace(Filter(), **chosen, since=self.wanted.since, until=self.wanted.until), whole  # type: ignore[arg-type]

    def text(self) -> str:
        """What it is, for people."""
        parts = []
        if self.span is not None:
            start, end = self.span
            length = f"{duration(end - start)} from {duration(start)}"
            parts.append(f"{self.name}, {length}" if self.name else f"A to B, {length}")
        parts += [self.where] if self.where else []
        return "; ".join(parts) or "everything"


def rows_of(subject: Subject, ts_ns: _Array, selection: Selection) -> _Array | range:
    """The rows of ``subject``; ``selection`` are those that its filter left."""
    first, last = 0, len(ts_ns)
    if subject.span is not None:
        first = int(np.searchsorted(ts_ns, subject.span[0]))
        last = int(np.searchsorted(ts_ns, subject.span[1], "right"))
    if selection.rows is None:
        return range(first, last)
    start, stop = among(selection.rows, [first, last]).tolist()
    rows: _Array = selection.rows[start:stop]
    return rows


class _Tally:
    """Counts keys piece by piece: how many, and the first row of each."""

    def __init__(self) -> None:
        self.found: dict[int, list[int]] = {}

    def add(self, keys: _Array, rows: _Array) -> None:
        least = int(keys.min())
        width = int(keys.max()) - least + 1
        if width <= len(keys):  # numbers close to each other: without sorting
            places = keys - least
            counted = np.bincount(places, minlength=width)
            at = np.zeros(width, np.int64)
            at[places[::-1]] = np.arange(len(keys) - 1, -1, -1)  # the last one written is the first
            there = np.flatnonzero(counted)
            unique, first, counts = there + least, at[there], counted[there]
        else:
            unique, first, counts = np.unique(keys, return_index=True, return_counts=True)
        for key, place, count in zip(unique.tolist(), first.tolist(), counts.tolist(), strict=True):
            self.found.setdefault(key, [0, int(rows[place])])[0] += count


def count_subject(recording: Recording, report: Report, rows: _Array | range, step: Step) -> Counts:
    """The events of every CPU, task and event among ``rows``; the losses are those of the report.

    Rates are of the time between the first and the last of ``rows`` in each boot.
    """
    columns, names = recording.rows, len(recording.event_names)
    cpus, tasks, events = _Tally(), _Tally(), _Tally()
    ends: dict[int, tuple[int, int]] = {}
    for start in range(0, len(rows), _PIECE):
        some = rows[start : start + _PIECE]
        part = (
            np.arange(some.start, some.stop) if isinstance(some, range) else some.astype(np.int64)
        )
        boot, cpu = columns.boot[part].astype(np.int64), columns.cpu[part].astype(np.int64)
        cpus.add(boot << 16 | cpu, part)
        tasks.add(boot << 32 | columns.pid[part].astype(np.int64) & 0xFFFFFFFF, part)
        events.add((boot * names + recording.name_codes(part)) << 16 | cpu, part)
        for one in np.unique(boot).tolist():
            mine = part[boot == one]
            first, last = int(recording.axis.ts_ns[mine[0]]), int(recording.axis.ts_ns[mine[-1]])
            old = ends.get(one, (first, last))
            ends[one] = min(old[0], first), max(old[1], last)
        step(start + len(part), len(rows))
    return Counts(_cpus(recording, report, cpus), _tasks(recording, tasks),
                  _events(recording, events, ends))  # fmt: skip


def _cpus(recording: Recording, report: Report, tally: _Tally) -> tuple[CpuCount, ...]:
    found = []
    for boot in report.boots:
        for account in boot.cpus:
            count = tally.found.get(boot.index << 16 | account.cpu)
            if count is not None:
                mine = replace(account, events=count[0],
                               first_ns=int(recording.axis.ts_ns[count[1]]))  # fmt: skip
                found.append(CpuCount(boot.index, mine, count[1]))
    return tuple(found)


def _tasks(recording: Recording, tally: _Tally) -> tuple[TaskCount, ...]:
    comms = {b.index: c for b, c in zip(recording.boots, recording.comms, strict=True)}
    found = []
    for key, (count, row) in tally.found.items():
        boot, pid = key >> 32, (key & 0xFFFFFFFF ^ 1 << 31) - (1 << 31)
        found.append(TaskCount(boot, pid, comms.get(boot, {}).get(pid), count, row))
    return tuple(found)


def _events(
    recording: Recording, tally: _Tally, ends: dict[int, tuple[int, int]]
) -> tuple[EventCount, ...]:
    names = recording.event_names
    by_event: dict[int, list[int]] = {}
    totals: dict[int, int] = {}
    for key, (count, row) in tally.found.items():
        one = by_event.setdefault(key >> 16, [0, row, 0])
        one[0], one[1], one[2] = one[0] + count, min(one[1], row), one[2] + 1
        boot = (key >> 16) // len(names)
        totals[boot] = totals.get(boot, 0) + count
    found = []
    for key, (count, row, cpus) in by_event.items():
        boot, code = divmod(key, len(names))
        took = ends[boot][1] - ends[boot][0]
        rate = count * 1e9 / took if took and recording.axis.timed(boot) else None
        found.append(EventCount(boot, names[code], count, count / totals[boot], rate, cpus, row))
    return tuple(sorted(found, key=lambda event: -event.events))


def times_of(recording: Recording, subject: Subject) -> Times:
    """Time on CPU by task, idle time by CPU, in the stretch and of the turns the filter chooses."""
    table = recording.analysis.turns(subject.wanted)
    start, end = ints(table, "start_ns"), ints(table, "end_ns")
    if subject.span is not None:
        start, end = np.maximum(start, subject.span[0]), np.minimum(end, subject.span[1])
    tasks: dict[tuple[int, int], TaskTime] = {}
    cpus: dict[tuple[int, int], CpuTime] = {}
    columns = (ints(table, "boot"), ints(table, "cpu"), ints(table, "pid", -(1 << 40)), start, end)
    for boot, cpu, pid, begin, stop in zip(*(c.tolist() for c in columns), strict=True):
        took = max(stop - begin, 0)
        mine = cpus.setdefault((boot, cpu), CpuTime(begin, stop))
        mine.last_ns = max(mine.last_ns, stop)
        if pid < -(1 << 31):
            mine.nobodys_ns += took
            continue
        mine.idle_ns += took if pid == 0 else 0
        task = tasks.setdefault((boot, pid), TaskTime())
        task.ns, task.switches = task.ns + took, task.switches + 1
    return Times(tasks, cpus)
