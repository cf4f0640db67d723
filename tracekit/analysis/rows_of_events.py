"""Rows of events by name and boot, and whose they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.analysis.columns import ints
from tracekit.query.groups import Index
from tracekit.query.selection import among
from tracekit.spill import Spill, release
from tracekit.timeline.events import Events
from tracekit.timeline.new_rows import new_column

__all__ = [
    "EventRows", "Record", "looked_up", "marks_of", "merged_rows", "owners", "turns_with",
]  # fmt: skip

_Array = npt.NDArray[Any]


def owners(events: Events, rows: _Array) -> _Array:
    """A number for the task that each row happened in, int64: its pid; of an idle task, which
    has pid 0 on every CPU, ``-1 - CPU``.
    """
    pids = events.rows.pid[rows].astype(np.int64)
    return np.where(pids == 0, -1 - events.rows.cpu[rows].astype(np.int64), pids)


def looked_up(column: _Array, rows: _Array) -> _Array:
    """A column at rows that lie anywhere: they touch all of it, so memory is let go of after."""
    found = column[rows]
    release()
    return found


def merged_rows(parts: Sequence[_Array]) -> _Array:
    """The rows of several groups, ascending."""
    return parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts), kind="stable")


def marks_of(events: Events, rows: Iterable[_Array | slice]) -> _Array:
    """A bool for every event: whether it is among ``rows``, of which some come at a time."""
    spill = Spill()  # of its own: it ends with the marks
    spill.need(len(events))
    marks = new_column(spill, len(events), bool)
    for some in rows:
        marks[some] = True
    return marks


def turns_with(events: Events, index: Index, turns: pa.Table, marks: _Array) -> _Array:
    """A mask: in which turns of a CPU a marked event happened, the switch that ended it too."""
    key = ints(turns, "boot").astype(np.int64) << 16 | ints(turns, "cpu")
    begin, end = ints(turns, "row", -1) + 1, ints(turns, "end_row", -1) + 1
    hit = np.zeros(len(turns), bool)
    for number in np.unique(key).tolist():
        boot, cpu = divmod(number, 1 << 16)
        mine = index.cpus.of(cpu)
        mine = mine[marks[mine]]
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
