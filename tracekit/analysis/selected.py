"""What a selection means for what is derived: a window is cut out, the rest chooses events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.analysis.rows_of_events import marks_of
from tracekit.analysis.stretches import ENDLESS
from tracekit.frozen import dataclass
from tracekit.timeline.events import Events
from tracekit.timeline.filter import Filter, fitting
from tracekit.timeline.when.moments import on_axis

__all__ = ["Choose", "Resolve", "Window", "among_chosen", "chosen", "picked", "window_of"]

_BOOTS = 256  # a row's boot is a byte
_Array = npt.NDArray[Any]
Resolve = Callable[[Filter], Filter]  #: gives the times of names in a filter's window
#: The rows that meet a filter, ascending, some at a time.
Choose = Callable[[Filter], Iterator[_Array | slice]]


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
        mine = events.rows.within(boot.index)
        if mine.stop > mine.start:
            first = max(int(ts[mine.start]), int(since[boot.index]))
            last = min(int(ts[mine.stop - 1]), int(until[boot.index]))
            spans += [(first, last)] if last >= first else []
    return Window(
        since, until, wanted.since is not None or wanted.until is not None,
        sum(last - first for first, last in spans),
        min((first for first, _ in spans), default=None),
        max((last for _, last in spans), default=None),
    )  # fmt: skip


def chosen(events: Events, choose: Choose, wanted: Filter) -> _Array | None:
    """A bool for every event: whether a filter chooses it at any time; None for all."""
    always = replace(wanted, since=None, until=None)
    return None if always == Filter() else marks_of(events, choose(always))


def picked(
    events: Events, choose: Choose, wanted: Filter
) -> tuple[slice, Callable[[slice], _Array] | None]:
    """(the stretch that a selection lies in, what gives a mask over a part of it; None: all).

    Where columns alone decide, nothing is written down.
    """
    part, fits = fitting(events.rows, events.kinds, events.axis.ts_ns, wanted, _no_date)
    dated = isinstance(wanted.since, str) or isinstance(wanted.until, str)
    if dated or wanted.comms or wanted.where or wanted.grep is not None:
        fits = marks_of(events, choose(wanted)).__getitem__
    return part, fits


def _no_date(instant: str, part: slice) -> int:
    raise ValueError(f"{instant!r} is no time on the axis")


def among_chosen(rows: _Array, marks: _Array | None) -> _Array:
    """Which rows were chosen."""
    if marks is None:
        return np.ones(len(rows), bool)
    mine: _Array = marks[rows]
    return mine
