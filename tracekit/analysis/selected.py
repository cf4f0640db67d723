"""What a selection means for what is derived: a window is cut out, the rest chooses events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.timeline.events import Events
from tracekit.timeline.filter import Filter

__all__ = ["Choose", "Window", "among_chosen", "chosen", "window_of"]

_Array = npt.NDArray[Any]
Choose = Callable[[Filter], _Array]  #: the rows (ascending) that meet a filter


@dataclass(frozen=True, slots=True)
class Window:
    """``since`` and ``until`` (ns, None: no limit), and the time in them that was recorded: from
    each chosen boot's first event to its last."""

    since: int | None
    until: int | None
    recorded_ns: int


def window_of(events: Events, wanted: Filter) -> Window:
    """The window of a filter."""
    recorded, ts = 0, events.axis.ts_ns
    for boot in events.boots:
        if wanted.boots and boot.index not in wanted.boots or not events.axis.timed(boot.index):
            continue
        rows = events.rows.of_boot(boot.index)
        mine = ts[rows]
        if len(mine):
            first, last = int(mine[0]), int(mine[-1])
            first = first if wanted.since is None else max(first, wanted.since)
            last = last if wanted.until is None else min(last, wanted.until)
            recorded += max(0, last - first)
    return Window(wanted.since, wanted.until, recorded)


def chosen(choose: Choose, wanted: Filter) -> _Array | None:
    """The events that a filter chooses at any time; None for all."""
    always = replace(wanted, since=None, until=None)
    return None if always == Filter() else choose(always)


def among_chosen(rows: _Array, selected: _Array | None) -> _Array:
    """Which rows were chosen."""
    if selected is None:
        return np.ones(len(rows), bool)
    return np.isin(rows, selected)
