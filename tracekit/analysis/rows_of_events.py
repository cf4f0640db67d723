"""Rows of events by name and boot, and whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit._native import columns as native
from tracekit.analysis.columns import ints
from tracekit.query.groups import Index
from tracekit.query.selection import among
from tracekit.timeline.events import Events

__all__ = [
    "EventRows", "Record", "by_event", "marked", "marks_of", "merged_rows", "owners", "turns_with",
]  # fmt: skip

_Array = npt.NDArray[Any]


def owners(events: Events, rows: _Array) -> _Array:
    """A number for the task that each row happened in, int64: its pid; of an idle task, which
    has pid 0 on every CPU, ``-1 - CPU``.
    """
    pids = events.rows.pid[rows].astype(np.int64)
    return np.where(pids == 0, -1 - events.rows.cpu[rows].astype(np.int64), pids)


def merged_rows(parts: Sequence[_Array]) -> _Array:
    """The rows of several groups, ascending."""
    return parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts), kind="stable")


def by_event(index: Index, part: slice, marks: _Array | None) -> dict[int, _Array]:
    """Rows (ascending) by event: indices of ``events.event_names``, ascending.

    Those of a stretch that are marked (a bool for every event; None: all). They are parts of the
    index's groups: nothing is sorted.
    """
    found = {}
    for code in index.events.keys:
        mine = index.events.of(code)
        start, end = among(mine, [part.start, part.stop])
        mine = mine[start:end] if marks is None else marked(mine[start:end], marks)
        if len(mine):
            found[code] = mine
    return found


def marks_of(events: Events, rows: _Array) -> _Array:
    """A bool for every event: whether it is among ``rows``."""
    marks = np.zeros(len(events), bool)
    marks[rows] = True
    return marks


def marked(rows: _Array, marks: _Array) -> _Array:
    """Those of ``rows`` (uint32 or int64) that are marked; ``marks`` has a bool for every event."""
    return np.frombuffer(native.kept(rows, rows.itemsize == 8, marks), rows.dtype)


def turns_with(events: Events, index: Index, turns: pa.Table, rows: _Array) -> _Array:
    """A mask: in which turns of a CPU one of ``rows`` happened, the switch that ended it too."""
    marks = marks_of(events, rows)
    key = ints(turns, "boot").astype(np.int64) << 16 | ints(turns, "cpu")
    begin, end = ints(turns, "row", -1) + 1, ints(turns, "end_row", -1) + 1
    hit = np.zeros(len(turns), bool)
    for number in np.unique(key).tolist():
        boot, cpu = divmod(number, 1 << 16)
        mine = marked(index.cpus.of(cpu), marks)
        if len(events.boots) > 1:
            mine = mine[events.rows.boot[mine] == boot]
        here = np.flatnonzero(key == number)
        hit[here] = among(mine, end[here]) > among(mine, begin[here])
    return hit


class EventRows:
    """The rows of one boot by event, found by looking through all of them."""

    def __init__(self, events: Events, boot: int) -> None:
        self.events, self._number = events, boot
        #: kind -> name of the boot's events
        self.names = {i: k.name for i, k in enumerate(events.kinds) if k.boot == boot}

    def of(self, *names: str) -> _Array:
        """The rows (int64, ascending) of events of these names."""
        codes = self.events.codes(self._number, *names)
        if not codes:
            return np.empty(0, np.int64)
        return self.events.rows.of_kinds(self._number, codes)


class Record:
    """The rows of one boot, by event; ``index`` may hold them already."""

    def __init__(self, events: Events, index: Index, boot: int) -> None:
        self.events, self.boot = events, boot
        self._index = index
        self._code = {name: code for code, name in enumerate(events.event_names)}

    def of(self, *names: str) -> _Array:
        """The rows (int64, ascending) of events of these names."""
        groups = [self._index.events.of(self._code[name]) for name in names if name in self._code]
        parts = [np.asarray(group, np.int64) for group in groups if len(group)]
        if not parts:
            return np.empty(0, np.int64)
        rows = merged_rows(parts)
        mine: _Array = rows[self.events.rows.boot[rows] == self.boot]
        return mine
