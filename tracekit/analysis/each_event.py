"""Arguments of one event in one boot, without the tables that people see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy.typing as npt

from tracekit.timeline.events import Events

__all__ = ["argument", "each_event", "event_rows"]

_Array = npt.NDArray[Any]


def event_rows(events: Events, boot: int, event: str) -> _Array:
    """The row numbers of an event (``system:name``) in a boot, in the order of time."""
    return events.rows.of_kinds(boot, events.codes(boot, event))


def argument(events: Events, rows: _Array, field: str) -> list[Any]:
    """An argument's value of each of the rows, None where a row has none.

    Empty where no event that they are of has that argument.
    """
    values = list[Any]()
    for part, found in events.values(rows, field):
        values = values or [None] * len(rows)
        for place, value in zip(part.tolist(), found.to_pylist(), strict=True):
            values[place] = value
    return values


def each_event(events: Events, boot: int, event: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(ns on the axis, pid, arguments) of every such event in a boot."""
    rows = event_rows(events, boot, event)
    if len(rows):
        stamps, pids = events.axis.ts_ns[rows].tolist(), events.rows.pid[rows].tolist()
        yield from zip(stamps, pids, events.fields(rows), strict=True)
