"""Which task ran on a CPU, for every cell of a picture, from its task switches.

An event's pid is that of the task it happened in, and a switch happens in the task that is left: so
between two switches of the same CPU and kernel, the task of the second one ran. If the first event
after a switch happened in neither of the two, switches are missing, and the task is not known.

The last state before a stretch of which nothing is known (the end of the record, the stop of the
CPU, a hole) lasts up to it, and not further: it is the task that the last switch named, or the one
that the last event happened in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.analysis.stretches import ENDLESS, Stretches
from tracekit.browse.lanes import SWITCH, Lane
from tracekit.frozen import dataclass
from tracekit.query.selection import among
from tracekit.recording import Recording

__all__ = ["MOST_TURNS", "Turns", "task_turns", "turns_in"]

_Array = npt.NDArray[Any]
MOST_TURNS = 20_000  # switches that a picture is made of


@dataclass(frozen=True, eq=False)
class Turns:
    """Of every cell: ``known`` and ``busy``, the shares (0 to 1) that are known and not idle, and
    ``task``, which ran longest, idle or not: an index into ``tasks``, (boot, pid); -1 for none.
    """

    known: _Array
    busy: _Array
    task: _Array
    tasks: Sequence[tuple[int, int]]


def turns_in(recording: Recording, lane: Lane, times: Sequence[int]) -> Turns | None:
    """What ran in each cell; ``times`` (ns) are the cells' edges; ``lane`` has all its events.

    None if there are more than :data:`MOST_TURNS` switches: that would take too long.
    """
    ts = recording.axis.ts_ns
    edges = np.array(times, np.int64)
    first, last = among(lane.turns, np.searchsorted(ts, edges[[0, -1]])).tolist()
    if last - first > MOST_TURNS:
        return None
    rows = lane.turns[max(0, first - 1) : last + 1]
    cells = len(times) - 1
    if not len(rows):
        nothing = np.zeros(cells)
        return Turns(nothing, nothing, np.full(cells, -1), [])
    begins, codes = task_turns(recording, lane, rows)
    ran, task = np.unique(codes, return_inverse=True)
    pids = ran.astype(np.uint32).astype(np.int32).tolist()
    tasks = list(zip((ran >> 32).tolist(), pids, strict=True))
    return _by_cell(edges, begins, np.where(codes < 0, -1, task.reshape(-1)), tasks)


def task_turns(recording: Recording, lane: Lane, rows: _Array) -> tuple[_Array, _Array]:
    """(when each turn begins, ns; its task, boot << 32 | pid, or -1 if it is not known).

    ``rows`` bound the turns; the last begins one too.
    """
    ts, boot = recording.axis.ts_ns[rows], recording.rows.boot[rows].astype(np.int64)
    pids = recording.rows.pid
    switches = recording.name_codes(rows) == recording.event_names.index(SWITCH)
    after = lane.rows[among(lane.rows, rows[:-1], "right")]
    then, left, runs = pids[after], pids[rows[:-1]], pids[rows[1:]]
    sure = (boot[1:] == boot[:-1]) & ((then == runs) | (then == left))
    sure &= switches[:-1] | (left == runs)
    codes = np.full(len(rows), -1, np.int64)
    codes[:-1][sure] = _codes(boot[1:], runs)[sure]
    ends = np.append(ts[1:], ENDLESS)
    cuts = _cuts(lane.stretches, ts)
    broken = cuts < ends
    codes[broken] = -1
    last = np.flatnonzero(broken & (cuts > ts))
    codes[last] = _left_running(recording, rows[last], boot[last], switches[last])
    begins = np.concatenate([ts, cuts[last]])
    order = np.argsort(begins, kind="stable")
    return begins[order], np.concatenate([codes, np.full(len(last), -1, np.int64)])[order]


def _codes(boot: _Array, pid: _Array) -> _Array:
    codes: _Array = (boot << 32) | (pid.astype(np.int64) & 0xFFFFFFFF)
    return codes


def _cuts(stretches: Stretches, ts: _Array) -> _Array:
    """Up to when what ran at each of ``ts`` may be known to run: the next stretch, ns."""
    starts, ends = (np.append(edge, ENDLESS) for edge in (stretches.starts, stretches.ends))
    inside = starts[np.searchsorted(ends, ts, "right")] < ts
    return np.where(inside, ts, starts[np.searchsorted(starts, ts)])


def _left_running(recording: Recording, rows: _Array, boot: _Array, switches: _Array) -> _Array:
    """The task that each event leaves running: the one switched to, else that of the event."""
    pids = recording.rows.pid[rows].astype(np.int64)
    unknown = np.zeros(len(rows), bool)
    named = np.flatnonzero(switches)
    for i, fields in zip(named.tolist(), recording.fields(rows[named]), strict=True):
        pid = fields.get("next_pid")
        if isinstance(pid, int):
            pids[i] = pid
        else:
            unknown[i] = True
    return np.where(unknown, -1, _codes(boot, pids))


def _by_cell(
    edges: _Array, begins: _Array, task: _Array, tasks: Sequence[tuple[int, int]]
) -> Turns:
    """Cut the turns at the cells' edges and add up the time of each task in each cell."""
    cells = len(edges) - 1
    cuts = np.unique(np.concatenate([edges, begins]))
    cuts = cuts[(cuts >= edges[0]) & (cuts <= edges[-1])]
    length, starts = np.diff(cuts), cuts[:-1]
    cell = np.minimum(np.searchsorted(edges, starts, "right") - 1, cells - 1)
    turn = np.searchsorted(begins, starts, "right") - 1
    inside = (turn >= 0) & (turn < len(task))
    who = np.where(inside, task[np.clip(turn, 0, len(task) - 1)], -1)
    length, cell, who = length[who >= 0], cell[who >= 0], who[who >= 0]
    works = np.array([pid != 0 for _, pid in tasks], bool)
    whole = np.maximum(np.diff(edges), 1)
    pairs, which = np.unique(cell * len(tasks) + who, return_inverse=True)
    sums = np.bincount(which.reshape(-1), length, len(pairs))
    longest = np.full(cells, -1)
    order = np.argsort(sums, kind="stable")  # the longest last, which stays
    longest[pairs[order] // len(tasks)] = pairs[order] % len(tasks)
    return Turns(
        np.bincount(cell, length, cells) / whole,
        np.bincount(cell, length * works[who], cells) / whole,
        longest,
        tasks,
    )
