"""What a task did in a stretch of time, by its switches and wakeups: ran, waited, was woken.

``sched_switch`` happens in the task that is left; ``sched_waking`` in the context that wakes
(``try_to_wake_up()``, kernel/sched/core.c), an interrupt's where the flags say so. ``sched_wakeup``
may happen on the woken task's CPU instead: then it does not tell who woke it. Where two switches
do not fit, others are missing, and what lies between them is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tracekit.analysis.rows_of_events import EventRows
from tracekit.frozen import dataclass
from tracekit.timeline.events import Events

__all__ = ["Losses", "Stay", "Tasks"]

_Array = npt.NDArray[Any]
_SWITCH, _WAKING = "sched:sched_switch", "sched:sched_waking"
_WAKEUPS = ("sched:sched_wakeup", "sched:sched_wakeup_new")
_REPORTED = 0xFF  # TASK_REPORT: the states below TASK_REPORT_MAX, include/linux/sched.h
_INTERRUPT = 0x08 | 0x10  # TRACE_FLAG_HARDIRQ, TRACE_FLAG_SOFTIRQ, include/linux/trace_events.h
_STATES = {0x1: "S", 0x2: "D", 0x4: "T", 0x8: "t", 0x10: "X", 0x20: "Z", 0x40: "P", 0x80: "I"}
_BEFORE = 256  # events of a CPU that are looked through for the interrupt that woke
_ENTRIES = {
    "irq:irq_handler_entry": "irq:irq_handler_exit",
    "irq:softirq_entry": "irq:softirq_exit",
    "timer:hrtimer_expire_entry": "timer:hrtimer_expire_exit",
    "timer:timer_expire_entry": "timer:timer_expire_exit",
}
#: event -> (the one that enters, whether it is that one)
_EDGES = {name: (name, True) for name in _ENTRIES} | {
    leaves: (enters, False) for enters, leaves in _ENTRIES.items()
}


@dataclass(frozen=True, slots=True)
class Stay:
    """A stretch in which a task was in one state.

    ``state``: ``runs``, ``ready`` (it waits for a CPU), ``blocked`` or ``unknown``. ``rows``: the
    events that bound it. Of ``blocked``: ``letter`` as the kernel prints the state, ``waking`` the
    row that woke it (None: not recorded), ``waker`` the pid of the task that did, None where an
    interrupt did (``interrupt`` is its row, if recorded) or it is not known. ``lost``: events are
    lost there, so that nothing is known of it.
    """

    state: Literal["runs", "ready", "blocked", "unknown"]
    start_ns: int
    end_ns: int
    rows: tuple[int, ...] = ()
    letter: str = ""
    waking: int | None = None
    waker: int | None = None
    interrupt: int | None = None
    in_interrupt: bool = False
    lost: bool = False


#: CPU -> stretches of the axis, ns, in which events of it are lost.
Losses = Mapping[int, Sequence[tuple[int, int]]]


class Tasks:
    """The switches and wakeups of one boot in a stretch of its rows."""

    def __init__(self, events: Events, boot: int, lost: Losses | None = None) -> None:
        self._lost: Losses = lost or {}
        self._events, self._rows, self._ts = events, events.rows, events.axis.ts_ns
        self._boot = boot
        record = EventRows(events, boot)
        self._switches = record.of(_SWITCH)
        self._next = self._column(self._switches, "next_pid")
        self._state = self._column(self._switches, "prev_state")
        self._prev = events.rows.pid[self._switches].astype(np.int64)
        wakings = record.of(_WAKING)
        self.wakings_recorded = len(wakings) > 0
        self._wakes = wakings if len(wakings) else record.of(*_WAKEUPS)
        self._woken = self._column(self._wakes, "pid")
        self._names = frozenset(record.names.values())
        self._edges = {i: _EDGES[name] for i, name in record.names.items() if name in _EDGES}

    @property
    def recorded(self) -> bool:
        """Whether this boot recorded task switches at all."""
        return len(self._switches) > 0

    def _column(self, rows: _Array, field: str) -> _Array:
        """An argument of each row, -1 where it has none."""
        column = np.full(len(rows), -1, np.int64)
        for part, values in self._events.values(rows, field) if len(rows) else ():
            column[part] = [v if isinstance(v, int) else -1 for v in values.to_pylist()]
        return column

    def stays(self, pid: int, start: int, end: int) -> list[Stay]:
        """What a task did in ``[start, end]``, ns on the axis, without a gap."""
        mine = np.flatnonzero((self._prev == pid) | (self._next == pid))
        if pid <= 0 or not len(mine) or end <= start:
            found = [self._without_switches(pid, start, end)] if end > start else []
        else:
            found = list(self._between(pid, mine, start, end))
        pieces = (piece for stay in found for piece in self._without_losses(stay))
        return [s for s in pieces if s.end_ns > s.start_ns]

    def _without_losses(self, stay: Stay) -> Iterator[Stay]:
        """A stay in pieces: where events are lost that could have ended it, it is unknown.

        While a task runs, those are its CPU's; else it may have run on any CPU.
        """
        own = {int(self._rows.cpu[row]) for row in stay.rows} if stay.state == "runs" else None
        holes = sorted(
            (max(begin, stay.start_ns), min(end, stay.end_ns))
            for cpu, stretches in self._lost.items() if own is None or cpu in own
            for begin, end in stretches if begin < stay.end_ns and end > stay.start_ns
        )  # fmt: skip
        at = stay.start_ns
        for begin, end in holes if stay.state != "unknown" else ():
            if begin > at:
                yield replace(stay, start_ns=at, end_ns=begin)
            if end > at:
                yield Stay("unknown", max(at, begin), end, lost=True)
                at = end
        yield replace(stay, start_ns=at)

    def _without_switches(self, pid: int, start: int, end: int) -> Stay:
        """Of a task that no switch names: it ran throughout where it had events of its own."""
        if self.recorded and pid > 0:
            lo, hi = np.searchsorted(self._ts, [start, end + 1])
            own = (self._rows.pid[lo:hi] == pid) & (self._rows.boot[lo:hi] == self._boot)
            rows = (np.flatnonzero(own) + lo).tolist()
            cpus = set(self._rows.cpu[rows].tolist())
            before = self._ts[self._switches] <= start
            if len(cpus) == 1 and before.any():
                return Stay("runs", start, end, (rows[0], rows[-1]))
        return Stay("unknown", start, end)

    def _between(self, pid: int, mine: _Array, start: int, end: int) -> Iterator[Stay]:
        stamps = self._ts[self._switches[mine]]
        first, last = np.searchsorted(stamps, [start, end])
        inside = mine[first:last].tolist()
        before = int(mine[first - 1]) if first else None
        edges: list[int | None] = [before, *inside, int(mine[last]) if last < len(mine) else None]
        for one, other in pairwise(edges):
            yield from self._one(pid, one, other, start, end)

    def _one(self, pid: int, a: int | None, b: int | None, start: int, end: int) -> Iterator[Stay]:
        """Between two of a task's switches, cut to the stretch."""
        begin = start if a is None else max(start, int(self._ts[self._switches[a]]))
        until = end if b is None else min(end, int(self._ts[self._switches[b]]))
        rows = tuple(int(self._switches[i]) for i in (a, b) if i is not None)
        came_in = None if a is None else bool(self._next[a] == pid)
        goes_out = None if b is None else bool(self._prev[b] == pid)
        on = came_in if came_in is not None else goes_out
        if came_in is not None and goes_out is not None and came_in != goes_out:
            yield Stay("unknown", begin, until, rows)  # switches are missing
        elif on:
            yield Stay("runs", begin, until, rows)
        elif a is None:
            yield Stay("unknown", begin, until, rows)  # it left the CPU before the record begins
        else:
            yield from self._off(pid, a, begin, until, rows)

    def _off(
        self, pid: int, out: int, begin: int, until: int, rows: tuple[int, ...]
    ) -> Iterator[Stay]:
        """Off the CPU, from the switch ``out`` on."""
        state = int(self._state[out])
        if state < 0:
            yield Stay("unknown", begin, until, rows)
            return
        if not state & _REPORTED:
            yield Stay("ready", begin, until, rows)
            return
        letter = _STATES[state & _REPORTED & -(state & _REPORTED)]
        woken = self._waking(pid, int(self._switches[out]), until)
        if woken is None:
            yield Stay("blocked", begin, until, rows, letter)
            return
        at = min(max(begin, int(self._ts[woken])), until)
        waker, interrupt, in_interrupt = self._waker(woken)
        yield Stay("blocked", begin, at, (rows[0],), letter, woken, waker, interrupt, in_interrupt)
        yield Stay("ready", at, until, (woken, *rows[1:]))

    def _waking(self, pid: int, out: int, until: int) -> int | None:
        """The first wakeup of a task after the row in which it went to sleep."""
        hits = self._wakes[(self._woken == pid) & (self._wakes > out)]
        hits = hits[self._ts[hits] <= until]
        return int(hits[0]) if len(hits) else None

    def _waker(self, row: int) -> tuple[int | None, int | None, bool]:
        """(pid of the task that woke, row of the interrupt that did, whether one did)."""
        if int(self._rows.flags[row]) & _INTERRUPT:
            return None, self._interrupt(row), True
        pid = int(self._rows.pid[row])
        return (pid if pid > 0 else None), None, False

    def _interrupt(self, row: int) -> int | None:
        """The newest handler on the CPU that was entered before a row and not left."""
        lo = max(0, row - _BEFORE * 16)
        cpu = self._rows.cpu[row]
        alike = (self._rows.cpu[lo:row] == cpu) & (self._rows.boot[lo:row] == self._boot)
        near = np.flatnonzero(alike)[-_BEFORE:] + lo
        left: dict[str, int] = {}
        for one in near[::-1].tolist():
            known = self._edges.get(int(self._rows.kind[one]))
            if known is None:
                continue
            name, enters = known
            if not enters:
                left[name] = left.get(name, 0) + 1
            elif left.get(name, 0):
                left[name] -= 1
            elif _ENTRIES[name] in self._names or one == near[-1]:
                return int(one)
        return None

    def others_on(self, pid: int, stay: Stay) -> list[int]:
        """The pids that ran while a task was ready, on the CPU that it then got, in order."""
        switches = [row for row in stay.rows if np.isin(row, self._switches)]
        if not switches:
            return []
        cpu, stamps = self._rows.cpu[switches[-1]], self._ts[self._switches]
        lo, hi = np.searchsorted(stamps, [stay.start_ns, stay.end_ns + 1])
        on_cpu = np.flatnonzero(self._rows.cpu[self._switches[lo:hi]] == cpu) + lo
        return [other for other in dict.fromkeys(self._prev[on_cpu].tolist()) if other != pid]
