"""What a selection means for what is derived: a window is cut out, the rest chooses events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.analysis.stretches import ENDLESS
from tracekit.frozen import dataclass
from tracekit.timeline.events import Events
from tracekit.timeline.filter import Filter, stretch
from tracekit.timeline.when.moments import on_axis

__all__ = ["Choose", "Resolve", "Window", "among_chosen", "chosen", "rows_of", "window_of"]

_BOOTS = 256  # a row's boot is a byte
_Array = npt.NDArray[Any]
Resolve = Callable[[Filter], Filter]  #: gives the times of names in a filter's window
Choose = Callable[[Filter], _Array]  #: the rows (ascending) that meet a filter


@dataclass(frozen=True, slots=True)
class Window:
    """``since`` and ``until``: ns by boot (int64, 256 of them); ``limited``: whether any is set.

    ``recorded_ns`` is the time in them that was recorded: from each chosen boot's first event to
    its last. ``first`` and ``last`` are the ends of it, None where there is none.
    """

    since: _Array
    until: _Array
    limited: bool
    recorded_ns: int
    first: int | None
    last: int | None


def _limits(events: Events, value: int | str | None, unlimited: int) -> _Array:
    if isinstance(value, str):  # a date: each boot has its own wall clock
        found = on_axis(value, events.axis, events.boots, events.walls)
        return np.full(_BOOTS, found) if isinstance(found, int) else found
    return np.full(_BOOTS, unlimited if value is None else value, np.int64)


def window_of(events: Events, wanted: Filter) -> Window:
    """The window of a filter whose ``since`` and ``until`` are times or dates, not names."""
    since = _limits(events, wanted.since, -ENDLESS)
    until = _limits(events, wanted.until, ENDLESS)
    ts, spans = events.axis.ts_ns, list[tuple[int, int]]()
    for boot in events.boots:
        if (wanted.boots and boot.index not in wanted.boots) or not events.axis.timed(boot.index):
            continue
        mine = ts[events.rows.of_boot(boot.index)]
        if len(mine):
            first = max(int(mine[0]), int(since[boot.index]))
            last = min(int(mine[-1]), int(until[boot.index]))
            spans += [(first, last)] if last >= first else []
    return Window(
        since, until, wanted.since is not None or wanted.until is not None,
        sum(last - first for first, last in spans),
        min((first for first, _ in spans), default=None),
        max((last for _, last in spans), default=None),
    )  # fmt: skip


def chosen(choose: Choose, wanted: Filter) -> _Array | None:
    """The events that a filter chooses at any time; None for all."""
    always = replace(wanted, since=None, until=None)
    return None if always == Filter() else choose(always)


def rows_of(events: Events, choose: Choose, wanted: Filter) -> _Array | slice:
    """The rows of a selection; a slice where it is a stretch of time, however large."""
    dated = isinstance(wanted.since, str) or isinstance(wanted.until, str)
    if dated or replace(wanted, since=None, until=None) != Filter():
        return choose(wanted)
    return stretch(events.rows, events.axis.ts_ns, wanted)


def among_chosen(rows: _Array, selected: _Array | None) -> _Array:
    """Which rows were chosen."""
    if selected is None:
        return np.ones(len(rows), bool)
    return np.isin(rows, selected)
