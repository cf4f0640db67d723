"""Events over time, in one pass: where there are none for long, and how many in each stretch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.analysis.columns import pairs_of
from tracekit.analysis.losses import Losses
from tracekit.ftrace.columns import as_arrow
from tracekit.timeline.events import Events
from tracekit.timeline.rows import numbers, one_of

__all__ = ["Cells", "silences", "timed_rows"]

_Array = npt.NDArray[Any]
_MOST = 1 << 20  # sums that are held apart


def timed_rows(events: Events, rows: _Array | slice) -> _Array:
    """Those of boots whose clock counts time."""
    every = numbers(rows)
    mine: _Array = every[one_of(events.rows.boot[rows], events.timed_boots)]
    return mine


def silences(
    events: Events, some: Iterable[_Array | slice], longer_ns: int, losses: Losses
) -> pa.Table:
    """Where a CPU has none of the events for longer than that, the longest first.

    ``some``: the rows, ascending, some at a time.
    :meth:`~tracekit.analysis.analysis.Analysis.gaps` has the columns.
    """
    columns, ts = events.rows, events.axis.ts_ns
    last = np.empty(0, np.int64)  # of each CPU, so far
    begins, ends = [last], [last]
    for part in some:
        rows = np.concatenate([last, timed_rows(events, part)])
        key = columns.boot[rows].astype(np.int64) << 16 | columns.cpu[rows]
        order = np.argsort(key, kind="stable")
        rows, key = rows[order], key[order]
        same = key[1:] == key[:-1]
        last = np.sort(rows[np.append(~same, True)[: len(rows)]])
        one, other = rows[:-1][same], rows[1:][same]
        long = ts[other] - ts[one] > longer_ns
        begins.append(one[long])
        ends.append(other[long])
    one, other = np.concatenate(begins), np.concatenate(ends)
    # of equally long ones the first CPU's come first, in the order of time
    by = np.lexsort((one, columns.cpu[one], columns.boot[one], ts[one] - ts[other]))
    one, other = one[by], other[by]
    cut = losses.within(columns.cpu[one].astype(np.int64), ts[one], ts[other])
    return pa.table({
        "boot": as_arrow(columns.boot[one]), "cpu": as_arrow(columns.cpu[one]),
        "start_ns": as_arrow(ts[one]), "end_ns": as_arrow(ts[other]),
        "duration_ns": as_arrow(ts[other] - ts[one]), "cut": as_arrow(cut),
        "row": as_arrow(one), "end_row": as_arrow(other),
    })  # fmt: skip


class Cells:
    """Adds up what began in each cell of time, by a key: how many, and how long they took."""

    def __init__(self, every_ns: int) -> None:
        self._every = every_ns
        self._held = [np.empty((4, 0), np.int64)]
        self._size = 0  # of what was added since it was summed up

    def add(self, key: _Array, at: _Array, took: _Array | None = None) -> None:
        """``key`` and ``at`` (int64, ns): of each; ``took``: ns."""
        cells, keys, _, which = pairs_of(at // self._every, key)
        total = np.zeros(len(cells), np.int64)
        if took is not None:
            np.add.at(total, which, took)
        count = np.bincount(which, minlength=len(cells)).astype(np.int64)
        self._held.append(np.stack([cells, keys.astype(np.int64), count, total]))
        self._size += len(cells)
        if self._size > _MOST:
            self.sums()

    def sums(self) -> tuple[_Array, _Array, _Array, _Array]:
        """(when each cell begins, its key, how many, how long together), by time and key."""
        every = np.concatenate(self._held, axis=1)
        cells, keys, _, which = pairs_of(every[0], every[1])
        sums = np.zeros((2, len(cells)), np.int64)
        for row, values in zip(sums, every[2:], strict=True):
            np.add.at(row, which, values)
        self._held, self._size = [np.stack([cells, keys, *sums])], 0
        return cells * self._every, keys, sums[0], sums[1]
