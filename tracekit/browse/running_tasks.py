"""Which task ran on a CPU, for every cell of a picture, from its task switches.

An event's pid is that of the task it happened in, and a switch happens in the task that is left: so
between two switches of the same CPU and kernel, the task of the second one ran. If the first event
after a switch happened in neither of the two, switches are missing, and the task is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.browse.lanes import Lane
from tracekit.query.selection import among
from tracekit.recording import Recording

__all__ = ["MOST_TURNS", "Turns", "turns_in"]

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
    if len(rows) < 2:
        nothing = np.zeros(cells)
        return Turns(nothing, nothing, np.full(cells, -1), [])
    pids, boot = recording.rows.pid, recording.rows.boot[rows].astype(np.int64)
    after = lane.rows[among(lane.rows, rows[:-1], "right")]
    then, left, runs = pids[after], pids[rows[:-1]], pids[rows[1:]]
    sure = (boot[1:] == boot[:-1]) & ((then == runs) | (then == left))
    codes = (boot[1:] << 32) | (runs.astype(np.int64) & 0xFFFFFFFF)
    ran, task = np.unique(codes, return_inverse=True)
    boots, pids = (
        (ran >> 32).tolist(),
        ran.astype(np.uint32).astype(np.int32).tolist(),
    )
    tasks = list(zip(boots, pids, strict=True))
    return _by_cell(edges, ts[rows], np.where(sure, task.reshape(-1), -1), tasks)


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
