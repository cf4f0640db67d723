"""Numbers that change with time: how long queues are, how fast a CPU runs.

A queue's length is the number of spans, or of tasks in a state, at once. Counted are those whose
begin and end are recorded, or which never ended; what the record cannot tell is not in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.analysis.analysis import Analysis
from tracekit.analysis.arguments import integers
from tracekit.analysis.columns import ints, labels
from tracekit.analysis.scheduling.tables import record_ends
from tracekit.frozen import dataclass
from tracekit.timeline.events import Events
from tracekit.timeline.filter import Filter

__all__ = ["UNKNOWN", "Counter", "counter", "counter_names"]

_Array = npt.NDArray[Any]
UNKNOWN = -1  #: the value of a counter where it is not known
_NEVER = -(1 << 62)
_RUNNABLE, _ABOUT_RUNNABLE = "runnable", "tasks that run or wait for a CPU"
_WANT_A_CPU = ("running", "runnable", "preempted")
#: Name and meaning of the length of a queue, by the kind of span that is in it.
_QUEUES = {
    "block": ("block queue", "block requests in flight"),
    "work wait": ("work queue", "work items that are queued and not begun"),
    "softirq wait": ("softirqs", "softirqs that are raised and not begun"),
}
_FREQUENCY = "power:cpu_frequency"  # include/trace/events/power.h: state (kHz), cpu_id
_OF_CPU, _KHZ = "kHz CPU ", "frequency of the CPU in kHz"
_MOST_CPUS = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Counter:
    """``value[i]`` (int64, :data:`UNKNOWN` or at least 0) from ``at[i]`` (int64, ns) on.

    ``at`` ascends. ``about``: what the number is of.
    """

    name: str
    about: str
    at: _Array
    value: _Array

    def place(self, ns: int) -> int:
        """The index of the value at an instant; -1 before the first."""
        return int(np.searchsorted(self.at, ns, "right")) - 1

    def beside(self, ns: int, forward: bool) -> int | None:
        """The index of the next change after an instant, or of the last one before it."""
        place = self.place(ns) + 1 if forward else int(np.searchsorted(self.at, ns)) - 1
        return place if 0 <= place < len(self.at) else None

    def most(self, edges: _Array) -> _Array:
        """The largest value between each edge (ns, ascending) and the next."""
        found = np.full(len(edges) - 1, UNKNOWN, np.int64)
        if not len(self.at):
            return found
        first = np.searchsorted(self.at, edges[:-1], "right") - 1
        last = np.searchsorted(self.at, edges[1:], "left")  # exclusive
        told = last > np.maximum(first, 0)
        bounds = np.stack([np.maximum(first, 0), last], axis=1)[told].reshape(-1)
        if len(bounds):
            padded = np.append(self.value[bounds[0] : bounds[-1]], UNKNOWN)
            found[told] = np.maximum.reduceat(padded, bounds - bounds[0])[::2]
        return found


def _at_once(name: str, about: str, start: _Array, end: _Array) -> Counter:
    """How many of some stretches of time there are at each instant."""
    times, which = np.unique(np.concatenate([start, end]), return_inverse=True)
    step = np.where(np.arange(len(which)) < len(start), 1, -1)
    change = np.bincount(which.reshape(-1), weights=step, minlength=len(times))
    value = np.cumsum(change.astype(np.int64))
    moved = np.flatnonzero(np.diff(value, prepend=0)) if len(value) else np.empty(0, np.int64)
    return Counter(name, about, times[moved], value[moved])


def _queue(events: Events, analysis: Analysis, kind: str) -> Counter | None:
    table = analysis.spans()
    (codes, kinds), (states, words) = labels(table, "kind"), labels(table, "state")
    of_kind = codes == kinds.index(kind)
    if not of_kind.any():
        return None
    told = np.isin(states, [words.index(word) for word in ("ended", "open")])
    start, end = ints(table, "start_ns", _NEVER), ints(table, "end_ns", _NEVER)
    mine = np.flatnonzero(of_kind & told & (start != _NEVER))
    until = record_ends(events)[ints(table, "boot")[mine]]
    ended = np.where(end[mine] == _NEVER, until, end[mine])
    return _at_once(*_QUEUES[kind], start[mine], ended)


def _tasks(analysis: Analysis) -> Counter | None:
    table = analysis.states()
    if not len(table):
        return None
    codes, states = labels(table, "state")
    mine = np.isin(codes, [states.index(state) for state in _WANT_A_CPU])
    start, end = ints(table, "start_ns")[mine], ints(table, "end_ns")[mine]
    return _at_once(_RUNNABLE, _ABOUT_RUNNABLE, start, end)


def _frequencies(events: Events) -> tuple[_Array, _Array, _Array]:
    """(row, CPU, kHz) of each change."""
    rows = events.select(Filter(events=(_FREQUENCY,)))
    speed, has_speed = integers(events, rows, "state")
    cpu, has_cpu = integers(events, rows, "cpu_id")
    sound = has_speed & has_cpu & (speed >= 0) & (cpu >= 0) & (cpu < _MOST_CPUS)
    return rows[sound], cpu[sound], speed[sound]


def _frequency(events: Events, name: str) -> Counter | None:
    rows, cpus, speed = _frequencies(events)
    mine = np.array([f"{_OF_CPU}{cpu}" == name for cpu in cpus.tolist()], bool)
    if not mine.any():
        return None
    ends = record_ends(events)[np.unique(events.rows.boot[rows[mine]])]
    at = np.concatenate([events.axis.ts_ns[rows[mine]], ends])
    order = np.argsort(at, kind="stable")
    value = np.concatenate([speed[mine], np.full(len(ends), UNKNOWN)])
    return Counter(name, _KHZ, at[order], value[order])


def counter_names(events: Events, analysis: Analysis) -> Iterator[tuple[str, str]]:
    """(the name of a counter, what it is of) of those that the record has something for."""
    if len(analysis.states()):
        yield _RUNNABLE, _ABOUT_RUNNABLE
    codes, kinds = labels(analysis.spans(), "kind")
    occur = {kinds[code] for code in np.unique(codes).tolist()}
    yield from (names for kind, names in _QUEUES.items() if kind in occur)
    _, cpus, _ = _frequencies(events)
    yield from ((f"{_OF_CPU}{cpu}", _KHZ) for cpu in np.unique(cpus).tolist())


def counter(events: Events, analysis: Analysis, name: str) -> Counter | None:
    """The counter that :func:`counter_names` calls so; None if there is none."""
    if name == _RUNNABLE:
        return _tasks(analysis)
    kinds = (kind for kind, (called, _) in _QUEUES.items() if called == name)
    if (kind := next(kinds, None)) is not None:
        return _queue(events, analysis, kind)
    return _frequency(events, name) if name.startswith(_OF_CPU) else None
