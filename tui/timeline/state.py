"""State that the timeline's widgets share: the lanes, the chosen one, and the scale."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.analysis.stretches import Kind, Stretches, together
from tracekit.browse.derived_lanes import derived_lane
from tracekit.browse.lanes import Dark, Lane, Span, dark_parts, make_lanes, shown
from tracekit.browse.systems import by_system, count_systems
from tracekit.browse.wakeup import Wakeup, wakeup_of
from tracekit.query.groups import cell_edges
from tracekit.query.selection import Selection, among
from tui.model import Model

__all__ = ["GUTTER", "LaneState", "Made", "Scale"]

#: Lanes, what the filter leaves of them, its events by system, and the selection they are of.
Made = tuple[tuple[Lane, ...], tuple[Lane, ...], dict[str, list[npt.NDArray[Any]]], Selection]

GUTTER = 13  # cells left of the lanes, for their names


@dataclass(frozen=True)
class Scale:
    """``cells`` cells that show ``[start, end)``, ns."""

    start: int
    end: int
    cells: int

    @cached_property
    def times(self) -> list[int]:
        """The cells' edges, ``cells + 1``, as :func:`~tracekit.query.groups.cell_edges`."""
        width = (self.end - self.start) / self.cells
        return [self.start + round(i * width) for i in range(self.cells + 1)]

    def cell(self, ns: int) -> int:
        """The cell of an instant; -1 before the first cell, ``cells`` after the last."""
        return min(bisect_right(self.times, ns) - 1, self.cells)

    def exact(self, ns: int) -> float:
        """Where an instant lies, in cells."""
        return (ns - self.start) * self.cells / (self.end - self.start)

    def ns(self, cell: float) -> int:
        """The instant that many cells from the left."""
        return self.start + round((self.end - self.start) * cell / self.cells)


class LaneState:
    """``lanes``: those that are shown, with all their events; ``shown``: with those that pass the
    filter.

    ``together``: the stretches of all CPUs. ``chosen`` is the number of the lane that keys act on.
    ``tasks``: whether CPUs have a line with the running task; None: if there is room.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.dark: Sequence[Dark] = dark_parts(model.recording, model.report)
        self.together = Stretches(together(list(model.coverage.values())))
        self.every: dict[str, Lane] = {}  # all lanes that were made, by name
        self.first: Sequence[str] = ()  # those that there are without being asked for
        self.lanes: Sequence[Lane] = ()
        self.shown: Sequence[Lane] = ()
        self.selection: Selection | None = None  # of ``shown`` and ``by_system``
        self.by_system: Mapping[str, Sequence[npt.NDArray[Any]]] = {}
        self.chosen = 0
        self.tasks: bool | None = None
        self._span: tuple[int, Span] | None = None
        self._wakeup: tuple[int, Wakeup | None] | None = None
        self._missing: tuple[object, set[Kind]] | None = None
        self._edges: tuple[Scale, npt.NDArray[Any]] | None = None

    def make(self, selection: Selection, pause: Callable[[], None]) -> Made:
        """Make the lanes that the notes ask for, once each, and filter them: in a job."""
        model = self.model
        if not self.every:
            of = model.recording, model.report, model.index, model.coverage
            self.every = {lane.name: lane for lane in make_lanes(*of, pause)}
            self.first = tuple(self.every)
            if model.total:
                model.recording.table(np.array([0]))  # names every task: later calls are quick
        for name in model.notes.lanes:
            if name not in self.every and (lane := derived_lane(model.recording, name)):
                self.every[name] = replace(lane, stretches=self.together)
            pause()
        names = [name for name in model.notes.lanes if name in self.every] or self.first
        lanes = tuple(self.every[name] for name in names)
        left = tuple(shown(lane, selection, pause) for lane in lanes)
        return lanes, left, by_system(model.recording, model.index, selection, pause), selection

    def take(self, made: Made) -> None:
        """Show these; the same lane stays chosen."""
        named = self.lane.name if self.ready else ""
        self.lanes, self.shown, self.by_system, self.selection = made
        names = [lane.name for lane in self.lanes]
        if named in names:
            self.chosen = names.index(named)
        else:
            self.chosen = 0
            self.choose_cpu()

    @property
    def ready(self) -> bool:
        """Whether there are lanes."""
        return bool(self.shown)

    @property
    def current(self) -> bool:
        """Whether ``shown`` is of the current selection."""
        return self.selection is self.model.selection

    @property
    def behind(self) -> bool:
        """Whether the lanes do not show all of the current filter's result yet."""
        return self.model.pending or not self.current

    @property
    def lane(self) -> Lane:
        """The chosen lane."""
        return self.shown[self.chosen]

    @property
    def jumps(self) -> Iterator[int]:
        """When each kernel was left, ns."""
        for handover in self.model.report.handovers:
            if handover.jump_ns is not None:
                yield handover.jump_ns

    def bookmarked(self, scale: Scale) -> Iterator[int]:
        """The instants of the bookmarks that a scale shows."""
        marks = self.model.notes.bookmarks
        first = bisect_left(marks, scale.start, key=lambda mark: mark.ts_ns)
        for mark in marks[first:]:
            if mark.ts_ns >= scale.end:
                return
            yield mark.ts_ns

    def systems(self) -> dict[str, int]:
        """How many events of each system are shown in the window, most first."""
        first, last = np.searchsorted(self.model.ts_ns, self.model.window).tolist()
        return count_systems(self.by_system, first, last)

    def missing(self, width: int) -> set[Kind]:
        """The kinds of what is missing of the CPUs that a widget ``width`` wide can show."""
        key = self.scale(width), self.lanes
        if self._missing is None or self._missing[0] != key:
            self._missing = key, self._kinds(key[0])
        return self._missing[1]

    def _kinds(self, scale: Scale) -> set[Kind]:
        found, least = set[Kind](), (scale.end - scale.start) / scale.cells / 2
        for lane in self.lanes:
            if lane.kind == "cpu":
                found |= lane.stretches.kinds(scale.start, scale.end, least)
        return found

    @property
    def span(self) -> Span | None:
        """The span that the cursor is on, if the chosen lane has spans."""
        if not self.ready or self.lane.kind != "spans":
            return None
        if self._span is not None:
            row, span = self._span
            if row == self.model.cursor and span in self.lane.spans:
                return span
        return self.lane.span_at(self.model.cursor_ns)

    @property
    def wakeup(self) -> Wakeup | None:
        """The wakeup that the event under the cursor belongs to."""
        model = self.model
        if not model.total:
            return None
        if self._wakeup is None or self._wakeup[0] != model.cursor:
            self._wakeup = model.cursor, wakeup_of(model.recording, model.index, model.cursor)
        return self._wakeup[1]

    @property
    def on_chosen(self) -> bool:
        """Whether the cursor is on something of the chosen lane."""
        if not self.ready or self.lane.kind == "spans":
            return self.span is not None
        rows, cursor = self.lane.rows, self.model.cursor
        place = int(among(rows, cursor))
        return place < len(rows) and int(rows[place]) == cursor

    def choose_cpu(self) -> None:
        """Choose the lane of the CPU that the event under the cursor is of."""
        if self.model.total:
            name = f"CPU {int(self.model.recording.rows.cpu[self.model.cursor])}"
            lanes = (i for i, lane in enumerate(self.shown) if lane.name == name)
            self.chosen = next(lanes, self.chosen)

    def go_to(self, span: Span) -> None:
        """Put the cursor on a span."""
        self.model.go(span.start_ns)
        self._span = self.model.cursor, span

    def scale(self, width: int) -> Scale:
        """The scale of a widget ``width`` wide."""
        return Scale(*self.model.window, max(width - GUTTER, 1))

    def edges(self, scale: Scale) -> npt.NDArray[Any]:
        """The rows at which the cells begin, uint32."""
        if self._edges is None or self._edges[0] != scale:
            edges = cell_edges(self.model.ts_ns, scale.start, scale.end, scale.cells)
            self._edges = scale, edges.astype(np.uint32)  # as rows are: see among()
        return self._edges[1]
