"""The states of tasks, what each CPU ran, and wakeups, as Arrow tables.

See :func:`make_states`, :func:`make_turns` and :func:`make_wakeups`. All of it comes from
``sched:sched_switch`` and the wakeup events; without the former there is nothing to tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.analysis.arguments import Labels, numbered
from tracekit.analysis.columns import dictionary, nullable
from tracekit.analysis.losses import Losses
from tracekit.analysis.match import combined
from tracekit.analysis.rows_of_events import Record, looked_up
from tracekit.analysis.scheduling.switches import SWITCH, Switches, decode_switches
from tracekit.analysis.scheduling.task_states import STATES, Waits, find_waits, waker_known
from tracekit.analysis.scheduling.turns import NOBODY, Turns, find_turns
from tracekit.ftrace.columns import as_arrow, as_numpy
from tracekit.query.groups import Index, stable_order
from tracekit.timeline.events import Events

__all__ = ["CONTEXTS", "Scheduling", "make_states", "make_turns", "make_wakeups", "record_ends"]

_Array = npt.NDArray[Any]
#: Bits of an event's ``flags``: TRACE_FLAG_NMI, _HARDIRQ, _SOFTIRQ (include/linux/trace_events.h).
CONTEXTS = ((0x40, "nmi"), (0x08, "hardirq"), (0x10, "softirq"))
_TASK, _UNKNOWN = "task", "unknown"


class Scheduling:
    """The switches, turns and waits of a session, from which the tables are made."""

    def __init__(self, events: Events, index: Index, losses: Losses) -> None:
        self.events, self.losses = events, losses
        records = [Record(events, index, boot.index) for boot in events.boots]
        rows = np.sort(np.concatenate([np.empty(0, np.int64), *(r.of(SWITCH) for r in records)]))
        every = decode_switches(events, rows)
        self.turns: Turns = find_turns(events, every, losses)
        timed = [r for r in records if events.axis.timed(r.boot)]
        parts = [find_waits(r, _of_boot(every, r.boot)) for r in timed]
        columns = [
            np.concatenate([getattr(p, name) for p in parts]) if parts else np.empty(0, np.int64)
            for name in Waits.__slots__
        ]
        self.waits = Waits(*columns)

    def comms(self, boots: _Array, pids: _Array) -> pa.DictionaryArray:
        """The names of tasks; null where not known."""
        pairs, which = np.unique(boots.astype(np.int64) << 32 | pids.astype(np.int64) & 0xFFFFFFFF,
                                 return_inverse=True)  # fmt: skip
        comms = {b.index: c for b, c in zip(self.events.boots, self.events.comms, strict=True)}
        names = [comms.get(p >> 32, {}).get(p & 0xFFFFFFFF) for p in pairs.tolist()]
        codes, texts = numbered([name or "" for name in names], which.reshape(-1))
        known = np.array([*(name is not None for name in names), False])[which.reshape(-1)]
        return dictionary((np.where(known, codes, -1), texts))


def _of_boot(s: Switches, boot: int) -> Switches:
    mine = s.boot == boot
    columns = {name: getattr(s, name)[mine] for name in Switches.__slots__ if name != "letters"}
    return replace(s, **columns)


def make_turns(scheduling: Scheduling) -> pa.Table:
    """What each CPU ran, by CPU and time: an Arrow table.

    ``boot`` (uint8), ``cpu`` (uint16), ``pid`` (int32, null: switches are missing, it is not known
    what ran), ``comm``, ``start_ns``, ``end_ns``, ``duration_ns`` (int64), ``inferred`` (bool: it
    is bounded by the CPU's first or last event, not by a switch), ``cut`` (bool: events of the CPU
    were lost in it), ``row``, ``end_row`` (int64: the events that bound it).
    """
    t = scheduling.turns
    known = t.pid != NOBODY
    pids = np.where(known, t.pid, 0)
    comms = scheduling.comms(t.boot, pids)
    comm = dictionary((np.where(known, _indices(comms), -1), comms.dictionary.to_pylist()))
    return pa.table({
        "boot": as_arrow(t.boot),
        "cpu": as_arrow(t.cpu),
        "pid": nullable(pids.astype(np.int32), known),
        "comm": comm,
        "start_ns": as_arrow(t.start),
        "end_ns": as_arrow(t.end),
        "duration_ns": as_arrow(t.end - t.start),
        "inferred": as_arrow(t.inferred),
        "cut": as_arrow(t.cut),
        "row": as_arrow(t.row.astype(np.int64)),
        "end_row": as_arrow(t.end_row.astype(np.int64)),
    })  # fmt: skip


def _indices(column: pa.DictionaryArray) -> _Array:
    return as_numpy(column.indices, -1)


def _wakers(scheduling: Scheduling, w: Waits) -> tuple[_Array, _Array, Labels]:
    """(pids; whether each is known; in what it happened, by the flags of the wakeup)."""
    rows = scheduling.events.rows
    told = waker_known(scheduling.events, w)
    wake = np.maximum(w.wake, 0)
    context = np.full(len(wake), 1 if len(rows) else 0, np.int32)
    names: Sequence[str] = (_UNKNOWN, _TASK, *(name for _, name in CONTEXTS))
    if len(rows):
        flags = looked_up(rows.flags, wake)
        for i, (bit, _) in reversed(list(enumerate(CONTEXTS, 2))):
            context[(flags & bit) != 0] = i
        pids = looked_up(rows.pid, wake)
    else:
        pids = np.zeros(len(wake), np.int32)
    context[~told] = 0
    return pids, context == 1, (context, list(names))


def make_states(scheduling: Scheduling) -> pa.Table:
    """What each task did, by task and time: an Arrow table. The idle task is left out.

    ``boot`` (uint8), ``pid`` (int32), ``comm``, ``state`` (dictionary: one of
    :data:`~tracekit.analysis.scheduling.task_states.STATES`), ``cpu`` (uint16: where it ran,
    or is to run; null where no event tells), ``start_ns``, ``end_ns``, ``duration_ns`` (int64),
    ``waker_pid``
    (int32), ``waker_comm`` and ``waker_context`` (of what became runnable: ``task``, ``hardirq``,
    ``softirq``, ``nmi``, ``unknown``; only a task is named), ``inferred`` (bool: the begin or the
    end is no event about this task, but where the record begins or ends; or it was asleep up to
    then for all that is recorded, but its wakeup is not), ``cut`` (bool: events were lost in it),
    ``row``, ``end_row`` (int64; null where the record ends first). What no row covers is not known.
    """
    events, w, t = scheduling.events, scheduling.waits, scheduling.turns
    runs = np.flatnonzero(t.pid > 0)
    ts, ends = events.axis.ts_ns, record_ends(events)
    open_ = w.end_row < 0
    start = looked_up(ts, w.row) if len(w.row) else np.empty(0, np.int64)
    known_end = looked_up(ts, np.maximum(w.end_row, 0)) if len(w.row) else start
    end = np.where(open_, ends[w.boot], known_end) if len(w.row) else start
    cut = scheduling.losses.within(np.full(len(start), -1, np.int64), start, end)
    waker, known, context = _wakers(scheduling, w)
    woken = w.wake >= 0
    none = np.zeros(len(runs), np.int64)
    boot, pid = np.append(t.boot[runs], w.boot), np.append(t.pid[runs], w.pid)
    row = np.append(t.row[runs], w.row).astype(np.int64)
    order = stable_order(combined(boot, pid, row))

    def both(of_runs: _Array, of_waits: _Array) -> _Array:
        joined: _Array = np.append(of_runs, of_waits)[order]
        return joined

    cpu, begin, stop = both(t.cpu[runs], w.cpu), both(t.start[runs], start), both(t.end[runs], end)
    has_waker = both(none, known & woken).astype(bool)
    wakers = both(none, waker)
    comms = scheduling.comms(boot[order], wakers)
    told = np.where(both(none, woken).astype(bool), both(none, context[0]), -1)
    return pa.table({
        "boot": as_arrow(boot[order].astype(np.uint8)),
        "pid": as_arrow(pid[order].astype(np.int32)),
        "comm": scheduling.comms(boot[order], pid[order]),
        "state": dictionary((both(none, w.state).astype(np.int32), list(STATES))),
        "cpu": nullable(np.maximum(cpu, 0).astype(np.uint16), cpu >= 0),
        "start_ns": as_arrow(begin),
        "end_ns": as_arrow(stop),
        "duration_ns": as_arrow(stop - begin),
        "waker_pid": nullable(wakers.astype(np.int32), has_waker),
        "waker_comm": dictionary(
            (np.where(has_waker, _indices(comms), -1), comms.dictionary.to_pylist())
        ),
        "waker_context": dictionary((told.astype(np.int32), context[1])),
        "inferred": as_arrow(both(t.inferred[runs], open_ | w.unwoken).astype(bool)),
        "cut": as_arrow(both(t.cut[runs], cut).astype(bool)),
        "row": as_arrow(row[order]),
        "end_row": nullable(both(t.end_row[runs], w.end_row), both(none + 1, ~open_).astype(bool)),
    })  # fmt: skip


def record_ends(events: Events) -> _Array:
    """Boot -> ns of its last event, 0 where it has none."""
    ends = np.zeros(256, np.int64)
    for boot in events.boots:
        mine = events.rows.within(boot.index)
        if mine.stop > mine.start:
            ends[boot.index] = events.axis.ts_ns[mine.stop - 1]
    return ends


def make_wakeups(scheduling: Scheduling) -> pa.Table:
    """From each wakeup to the switch to the task, by time: an Arrow table.

    ``boot`` (uint8), ``pid`` (int32) and ``comm`` of the task, ``cpu`` (uint16: where it ran),
    ``start_ns`` (``sched_waking``; ``sched_wakeup`` where that was not recorded), ``end_ns``,
    ``duration_ns`` (int64), ``waker_pid``, ``waker_comm``, ``waker_context`` as in
    :func:`make_states`, ``cut`` (bool), ``row``, ``end_row`` (int64). A task that was woken while
    it was leaving did not wait for a CPU because of it and is not here.
    """
    events, every = scheduling.events, scheduling.waits
    at = np.flatnonzero(every.ran)
    at = at[stable_order(every.row[at])]
    w = Waits(*(getattr(every, name)[at] for name in Waits.__slots__))
    ts = events.axis.ts_ns
    start, end = (ts[w.row], ts[w.end_row]) if len(at) else (w.row, w.row)
    waker, known, context = _wakers(scheduling, w)
    comms = scheduling.comms(w.boot, waker)
    cpu = events.rows.cpu[w.end_row] if len(at) else np.empty(0, np.uint16)
    return pa.table({
        "boot": as_arrow(w.boot.astype(np.uint8)),
        "pid": as_arrow(w.pid.astype(np.int32)),
        "comm": scheduling.comms(w.boot, w.pid),
        "cpu": as_arrow(cpu),
        "start_ns": as_arrow(start.astype(np.int64)),
        "end_ns": as_arrow(end.astype(np.int64)),
        "duration_ns": as_arrow((end - start).astype(np.int64)),
        "waker_pid": nullable(waker.astype(np.int32), known),
        "waker_comm": dictionary(
            (np.where(known, _indices(comms), -1), comms.dictionary.to_pylist())
        ),
        "waker_context": dictionary(context),
        "cut": as_arrow(scheduling.losses.within(np.full(len(at), -1, np.int64), start, end)),
        "row": as_arrow(w.row.astype(np.int64)),
        "end_row": as_arrow(w.end_row.astype(np.int64)),
    })  # fmt: skip
