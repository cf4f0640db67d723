"""Row numbers grouped by CPU, by event and by task.

Each group's rows are ascending, so a time interval is a slice of the group: counting the events
of a lane in one cell of a picture takes two binary searches, however many events there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.frozen import dataclass
from tracekit.query.selection import among
from tracekit.spill import Spill
from tracekit.timeline.events import Events
from tracekit.timeline.new_rows import new_column
from tracekit.timeline.rows import distinct, pieces

__all__ = ["Groups", "Index", "cell_counts", "cell_edges", "stable_order"]

_Array = npt.NDArray[Any]
_FEW = 1 << 12  # values that are counted, not compared
_BITS = 64
_LOW, _MIDDLE = 0xFFFFFFFF, 1 << 31


def _place(keys: int, codes: Callable[[slice], _Array], order: _Array) -> _Array:
    """Fill ``order`` with the numbers of the rows by code, of equal codes ascending.

    ``codes`` gives those of a slice of the rows, all below ``keys``. Returns where each code's
    begin, and the end of all.
    """
    small = np.uint16 if keys < 1 << 16 else np.uint32  # numpy sorts 16 bits by radix
    starts = np.zeros(keys + 1, np.int64)
    for piece in pieces(len(order)):
        starts[1:] += np.bincount(codes(piece), minlength=keys)
    np.cumsum(starts, out=starts)
    ends = starts[:-1].copy()
    for piece in pieces(len(order)):
        # a piece's rows, sorted, go behind those of the pieces before it, group by group
        mine = codes(piece).astype(small)
        count = np.bincount(mine, minlength=keys)
        ahead = ends - (np.cumsum(count) - count)
        to = np.arange(len(mine)) + np.repeat(ahead, count)
        order[to] = np.argsort(mine, kind="stable") + piece.start
        ends += count
    return starts


def stable_order(key: _Array) -> _Array:
    """The order (int64) of integers, as a stable argsort() gives it.

    That takes half as much memory again of its own; this none, if a number and its place fit into
    64 bits together.
    """
    if not len(key):
        return np.empty(0, np.int64)
    least, most = int(key.min()), int(key.max())
    bits = len(key).bit_length()
    if most - least < _FEW:
        order = np.empty(len(key), np.int64)
        _place(most - least + 1, lambda piece: key[piece].astype(np.int64) - least, order)
        return order
    if (most - least).bit_length() + bits < _BITS:
        packed = key.astype(np.int64)
        packed -= least
        packed <<= bits
        packed |= np.arange(len(key))
        packed.sort()
        packed &= (1 << bits) - 1
        return packed
    return np.argsort(key, kind="stable")


@dataclass(frozen=True, eq=False)
class Groups:
    """``order[starts[i]:starts[i + 1]]`` are the rows of ``keys[i]``, ascending (uint32)."""

    keys: Sequence[int]
    starts: _Array
    order: _Array

    @classmethod
    def by(
        cls, keys: Sequence[int], codes: Callable[[slice], _Array], rows: int, spill: Spill
    ) -> Groups:
        """Group ``rows`` rows; ``codes`` gives for those of a slice the index in ``keys``."""
        order = new_column(spill, rows, np.uint32)

        def needed(piece: slice) -> _Array:
            spill.need((piece.stop - piece.start) << 2)
            return codes(piece)

        return cls(keys, _place(len(keys), needed, order), order)

    def rows(self, i: int) -> _Array:
        """The rows of group ``i``."""
        return self.order[self.starts[i] : self.starts[i + 1]]

    def of(self, key: int) -> _Array:
        """The rows of the group with that key; empty if there is no such group."""
        return self.rows(self.keys.index(key)) if key in self.keys else self.order[:0]

    def counts(self) -> list[int]:
        """How many rows each group has."""
        counts: list[int] = np.diff(self.starts).tolist()
        return counts


class Index:
    """The groups of a session's events, each made when first needed."""

    def __init__(self, events: Events) -> None:
        self._events = events

    @classmethod
    def of_groups(cls, events: Events, by_cpu: Groups, by_event: Groups, by_task: Groups) -> Index:
        """An index from groups that exist already."""
        index = cls(events)
        index.cpus, index.events, index.tasks = by_cpu, by_event, by_task
        return index

    @cached_property
    def cpus(self) -> Groups:
        """By CPU number."""
        return self._by(lambda piece: distinct(self._events.rows.cpu[piece].astype(np.int32)), list)

    @cached_property
    def events(self) -> Groups:
        """By event: keys are the indices of ``events.event_names``."""
        events = self._events
        names = range(len(events.event_names))
        return Groups.by(names, events.name_codes, len(events), events.session.spill)

    @cached_property
    def tasks(self) -> Groups:
        """By task, sorted by signed pid: keys are ``boot << 32 | pid``, the pid unsigned."""
        rows = self._events.rows

        def values(piece: slice) -> tuple[_Array, _Array]:
            pids, which = distinct(rows.pid[piece])
            tasks, task = distinct(rows.boot[piece].astype(np.int64) * len(pids) + which)
            boots, pid = np.divmod(tasks, len(pids))
            return (boots << 32) + (pids[pid].astype(np.int64) + _MIDDLE), task

        def keys(values: list[int]) -> list[int]:
            return [v >> 32 << 32 | ((v & _LOW) - _MIDDLE) & _LOW for v in values]

        return self._by(values, keys)

    def _by(
        self,
        values: Callable[[slice], tuple[_Array, _Array]],
        keys: Callable[[list[int]], list[int]],
    ) -> Groups:
        """Groups of equal values, ascending; ``keys`` names them.

        ``values`` gives the distinct ones of a slice of the rows, and for each row which it has.
        """
        every: _Array = np.empty(0, np.int64)
        for piece in pieces(len(self._events)):
            every = np.union1d(every, values(piece)[0])

        def codes(piece: slice) -> _Array:
            some, which = values(piece)
            found: _Array = np.searchsorted(every, some)[which]
            return found

        spill = self._events.session.spill
        return Groups.by(keys(every.tolist()), codes, len(self._events), spill)


def cell_edges(ts_ns: _Array, start: int, end: int, cells: int) -> _Array:
    """Row numbers (int64, ``cells + 1``) at which the cells of the time ``[start, end)`` begin."""
    width = (end - start) / cells
    times = [start + round(i * width) for i in range(cells + 1)]
    return np.searchsorted(ts_ns, np.array(times, np.int64))


def cell_counts(rows: _Array | None, edges: _Array) -> _Array:
    """How many of ``rows`` (ascending; None: all) lie in each cell; ``edges`` by `cell_edges`."""
    return np.diff(edges if rows is None else among(rows, edges))
