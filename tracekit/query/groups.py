"""Row numbers grouped by CPU, by event and by task.

Each group's rows are ascending, so a time interval is a slice of the group: counting the events
of a lane in one cell of a picture takes two binary searches, however many events there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.query.selection import among
from tracekit.timeline.events import Events
from tracekit.timeline.rows import distinct

__all__ = ["Groups", "Index", "cell_counts", "cell_edges"]

_Array = npt.NDArray[Any]
_PIECE = 1 << 20  # rows grouped at a time, to bound the memory it takes


@dataclass(frozen=True, eq=False)
class Groups:
    """``order[starts[i]:starts[i + 1]]`` are the rows of ``keys[i]``, ascending (uint32)."""

    keys: Sequence[int]
    starts: _Array
    order: _Array

    @classmethod
    def by(cls, keys: Sequence[int], codes: _Array) -> Groups:
        """Group rows by ``codes``: for each row, the index of its key in ``keys``."""
        small = np.uint16 if len(keys) < 1 << 16 else np.uint32  # numpy sorts 16 bits by radix
        pieces = [slice(start, start + _PIECE) for start in range(0, len(codes), _PIECE)]
        counts = [np.bincount(codes[piece], minlength=len(keys)) for piece in pieces]
        starts = np.zeros(len(keys) + 1, np.int64)
        np.cumsum(sum(counts, np.zeros(len(keys), np.int64)), out=starts[1:])
        order, ends = np.empty(len(codes), np.uint32), starts[:-1].copy()
        for piece, count in zip(pieces, counts, strict=True):
            # a piece's rows, sorted, go behind those of the pieces before it, group by group
            mine = np.argsort(codes[piece].astype(small), kind="stable")
            ahead = ends - (np.cumsum(count) - count)
            order[np.arange(len(mine)) + np.repeat(ahead, count)] = mine + piece.start
            ends += count
        return cls(keys, starts, order)

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
        cpus, codes = distinct(self._events.rows.cpu.astype(np.int32))
        return Groups.by(cpus.tolist(), codes)

    @cached_property
    def events(self) -> Groups:
        """By event: keys are the indices of ``events.event_names``."""
        codes = self._events.name_codes(slice(None))
        return Groups.by(range(len(self._events.event_names)), codes)

    @cached_property
    def tasks(self) -> Groups:
        """By task: keys are ``boot << 32 | pid`` (pid as unsigned 32 bits)."""
        rows = self._events.rows
        pids, codes = distinct(rows.pid)
        combined, which = distinct(rows.boot.astype(np.int64) * len(pids) + codes)
        keys = [
            (code // len(pids)) << 32 | int(pids[code % len(pids)]) & 0xFFFFFFFF
            for code in combined.tolist()
        ]
        return Groups.by(keys, which.reshape(-1))


def cell_edges(ts_ns: _Array, start: int, end: int, cells: int) -> _Array:
    """Row numbers (int64, ``cells + 1``) at which the cells of the time ``[start, end)`` begin."""
    width = (end - start) / cells
    times = [start + round(i * width) for i in range(cells + 1)]
    return np.searchsorted(ts_ns, np.array(times, np.int64))


def cell_counts(rows: _Array | None, edges: _Array) -> _Array:
    """How many of ``rows`` (ascending; None: all) lie in each cell; ``edges`` by `cell_edges`."""
    return np.diff(edges if rows is None else among(rows, edges))
