"""States of tasks between their turns: runnable or asleep, who woke them, and how long it took.

A task that leaves a CPU says in which state; a wakeup makes it runnable. A wakeup of a task that
runs or is runnable changes nothing. One that comes while the task is leaving is in the record
before the switch: the task is then runnable from the switch on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.analysis.arguments import integers
from tracekit.analysis.match import combined
from tracekit.analysis.rows_of_events import Record, looked_up
from tracekit.analysis.scheduling.switches import Switches
from tracekit.frozen import dataclass
from tracekit.query.groups import stable_order
from tracekit.timeline.events import Events

__all__ = ["STATES", "Waits", "find_waits", "waker_known"]

_Array = npt.NDArray[Any]
#: By the letter that the kernel prints; ``other`` for any that is not known here.
STATES = ("running", "runnable", "preempted", "sleeping", "uninterruptible", "idle", "stopped",
          "traced", "parked", "dead", "other")  # fmt: skip
_BY_LETTER = {"R": 1, "R+": 2, "S": 3, "D": 4, "I": 5, "T": 6, "t": 7, "P": 8, "X": 9, "Z": 9}
_RUNNABLE, _DEAD, _OTHER = 1, 9, 10
_IN, _OUT, _WAKING, _WAKEUP, _NEW = range(5)
_WAKES = (("sched:sched_waking", _WAKING), ("sched:sched_wakeup", _WAKEUP),
          ("sched:sched_wakeup_new", _NEW))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Waits:
    """Parallel arrays, one entry for each time that a task did not run.

    ``boot``, ``pid`` (int64), ``state`` (int8, index into :data:`STATES`), ``cpu`` (int64: that it
    left, or is to run on), ``row`` and ``end_row`` (int64: the events that bound it; ``end_row`` -1
    where the record ends first), ``wake``: the row of the wakeup (-1 where none is known), whose
    task is the waker's; ``unwoken``: it ran again, and no wakeup is recorded; ``ran``: it was
    woken from its sleep, not while it was leaving, and the end is the switch to it.
    """

    boot: _Array
    pid: _Array
    state: _Array
    cpu: _Array
    row: _Array
    end_row: _Array
    wake: _Array
    unwoken: _Array
    ran: _Array


@dataclass(frozen=True, slots=True)
class _Steps:
    """What happened to tasks, by task and time."""

    boot: _Array
    pid: _Array
    row: _Array
    what: _Array
    state: _Array
    cpu: _Array

    def take(self, at: _Array) -> _Steps:
        return _Steps(*(getattr(self, name)[at] for name in _Steps.__slots__))


def _steps(record: Record, s: Switches) -> _Steps:
    events = record.events
    letters = np.array([_BY_LETTER.get(t, _BY_LETTER.get(t[0], _OTHER)) for t in s.letters])
    nothing = np.zeros(len(s.rows), np.int64)
    cpu = s.cpu.astype(np.int64)
    parts = [
        (s.prev, s.rows, np.full(len(s.rows), _OUT), letters[s.letter], cpu),
        (s.next, s.rows, np.full(len(s.rows), _IN), nothing, cpu),
    ]
    for name, what in _WAKES:
        rows = record.of(name)
        pid, has = integers(events, rows, "pid")
        target, known = integers(events, rows, "target_cpu")
        target = np.where(known, target, -1)[has]
        rows = rows[has]
        kind = np.full(len(rows), what)
        parts.append((pid[has], rows, kind, np.full(len(rows), _RUNNABLE), target))
    pid, row, what_, state, cpu = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = stable_order(combined(pid, row, what_))
    order = order[pid[order] > 0]
    boot = np.full(len(order), record.boot, np.uint8)
    return _Steps(boot, pid[order], row[order], what_[order], state[order], cpu[order])


def _before(pid: _Array, wanted: _Array) -> _Array:
    """For each step the last one of its task before it that is ``wanted``; -1 for none."""
    place = np.where(wanted, np.arange(len(pid)), -1)
    last = np.append(-1, np.maximum.accumulate(place)[:-1]) if len(pid) else place
    mine = last >= 0
    mine[mine] = pid[last[mine]] == pid[mine]
    return np.where(mine, last, -1)


def _counting(steps: _Steps) -> tuple[_Array, _Array]:
    """(which steps change a state; for each switch the wakeup since the switch before it, or -1).

    Of wakeups the first one since a task left to sleep counts.
    """
    switch = steps.what <= _OUT
    last = _before(steps.pid, switch)
    there = last >= 0
    asleep = ~there | (steps.what[last] == _OUT) & ~np.isin(steps.state[last], (1, 2))
    previous = _before(steps.pid, ~switch)
    again = previous > last  # a wakeup since then was before it
    keep = switch | asleep & ~again
    pending = np.where(previous > last, previous, -1)
    return keep, pending


def find_waits(record: Record, s: Switches) -> Waits:
    """All of one boot; ``s`` are its switches."""
    every = _steps(record, s)
    keep, pending = _counting(every)
    at = np.flatnonzero(keep)
    steps, pending = every.take(at), pending[at]
    next_is_mine = np.append(steps.pid[1:] == steps.pid[:-1], False)[: len(at)]
    following = np.where(next_is_mine, np.append(steps.what[1:], -1)[: len(at)], -1)
    wakes = steps.what >= _WAKING
    sleeps = (steps.what == _OUT) & ~np.isin(steps.state, (1, 2, _DEAD))
    # woken while it was leaving: runnable at once, if nothing else woke it
    leaving = sleeps & (pending >= 0)
    leaving[leaving] = every.what[pending[leaving]] != _NEW
    early = leaving & (following == _IN)
    state = np.where(early, _RUNNABLE, steps.state)
    wake = np.full(len(at), -1, np.int64)
    wake[wakes] = steps.row[wakes]
    wake[early] = every.row[pending[early]]
    late = np.flatnonzero(wakes & (steps.what == _WAKEUP))
    late = late[(late > 0)]
    late = late[leaving[late - 1] & (steps.pid[late - 1] == steps.pid[late])]
    wake[late] = every.row[pending[late - 1]]  # who woke it is in the earlier event
    of_sleep = wakes.copy()
    of_sleep[late] = False
    consistent = wakes & np.isin(following, (_IN, -1))
    consistent |= (steps.what == _OUT) & (following != _OUT) & (steps.state != _DEAD)
    runnable = np.isin(state, (1, 2))
    consistent &= ~(runnable & (following >= _WAKING))
    chosen = np.flatnonzero(consistent)
    end_row = np.where(next_is_mine, np.append(steps.row[1:], -1)[: len(at)], -1)
    return Waits(
        steps.boot[chosen], steps.pid[chosen], state[chosen].astype(np.int8), steps.cpu[chosen],
        steps.row[chosen], end_row[chosen], wake[chosen],
        (sleeps & ~early & (following == _IN))[chosen],
        (of_sleep & (following == _IN))[chosen],
    )  # fmt: skip


def waker_known(events: Events, waits: Waits) -> _Array:
    """Whether the task that the wakeup happened in is the one that did it.

    ``sched_waking`` and ``sched_wakeup_new`` happen there; ``sched_wakeup`` may be on another CPU,
    in an interrupt of whatever runs there (``ttwu_queue()``, kernel/sched/core.c).
    """
    names = [kind.name != "sched:sched_wakeup" for kind in events.kinds]
    known = waits.wake >= 0
    known[known] = np.array([*names, False])[looked_up(events.rows.kind, waits.wake[known])]
    return known
