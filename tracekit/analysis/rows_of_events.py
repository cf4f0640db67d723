"""Rows of events by name and boot, and whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.query.groups import Index
from tracekit.query.selection import among
from tracekit.timeline.events import Events
from tracekit.timeline.rows import grouped

__all__ = ["EventRows", "Record", "by_event", "merged_rows", "owners"]

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


def by_event(events: Events, index: Index, rows: _Array) -> dict[int, _Array]:
    """Rows (ascending) by event: indices of ``events.event_names``, ascending.

    Of a stretch of time they are stretches of the index's groups, and nothing is sorted.
    """
    if not len(rows):
        return {}
    first, last = int(rows[0]), int(rows[-1])
    if last - first + 1 > len(rows):
        return grouped(events.name_codes(rows), rows)
    found = {}
    for code in index.events.keys:
        mine = index.events.of(code)
        start, end = among(mine, [first, last + 1])
        if end > start:
            found[code] = mine[start:end]
    return found


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
