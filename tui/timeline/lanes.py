"""The widget of the lanes: names at the left, then cells of time, with lines through them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np
from rich.style import Style
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tracekit.browse.lanes import Lane
from tracekit.frozen import dataclass
from tracekit.query.groups import cell_counts
from tui.host import look_of
from tui.signs import GLYPHS
from tui.theme import Look
from tui.timeline.arrow import arrow_cells
from tui.timeline.cell_row import CellRow
from tui.timeline.lane_cells import LanePainter
from tui.timeline.state import GUTTER, LaneState

__all__ = ["LaneRows", "Lanes", "layout"]

_TALLEST = 5  # lines of a CPU's events
_WHEEL = 0.8  # zoom factor of one turn of the wheel
_PAN = 0.1
_EMPTY = f" ╌{GLYPHS}"  # characters that a line through the lanes replaces
_ENDLESS = 1 << 20  # lines


@dataclass(frozen=True, slots=True)
class LaneRows:
    """The lines ``[top, top + rows)`` of a lane; ``tasks``: the last one shows the task."""

    lane: int
    top: int
    rows: int
    tasks: bool


def layout(lanes: Sequence[Lane], height: int, tasks: bool | None) -> list[LaneRows]:
    """How many lines each lane gets: one, and more for all of a kind as long as ``height`` allows.

    ``tasks``: whether CPUs have a line for tasks; None: if there is room.
    """
    rows = [1] * len(lanes)
    with_tasks = [lane.kind == "cpu" and len(lane.turns) > 0 for lane in lanes]

    def grow(more: list[int], force: bool = False) -> bool:
        fits = force or sum(rows) + sum(more) <= height
        if fits:
            rows[:] = [a + b for a, b in zip(rows, more, strict=True)]
        return fits

    shows = tasks is not False and grow([int(t) for t in with_tasks], force=tasks is True)
    grow([len(lane.levels) - 1 if lane.kind == "spans" else 0 for lane in lanes])
    grow([int(lane.kind == "counter") for lane in lanes])
    for _ in range(_TALLEST - 1):
        grow([int(lane.kind == "cpu") for lane in lanes])
    tops = np.cumsum([0, *rows]).tolist()
    return [LaneRows(i, tops[i], rows[i], shows and with_tasks[i]) for i in range(len(lanes))]


class Lanes(Widget, can_focus=True):
    """Draws the lanes; the mouse zooms, pans and chooses."""

    class Picked(Message):
        """A lane was clicked, at an instant or (None) on its name; ``twice``: a double click."""

        def __init__(self, lane: int, ns: int | None, twice: bool) -> None:
            super().__init__()
            self.lane, self.ns, self.twice = lane, ns, twice

    def __init__(self, state: LaneState) -> None:
        super().__init__()
        self._state = state
        self._top = 0  # the first line shown
        self._placed: tuple[object, list[LaneRows]] | None = None
        self._tops: dict[str, int] = {}  # the first line of each of ``_placed``, by its name
        self._painter: tuple[object, LanePainter] | None = None
        self._painted: dict[int, list[CellRow]] = {}
        self._matches: object = None  # the matches that are highlighted in ``_painted``
        self._held: tuple[int, tuple[int, int]] | None = (
            None  # column of the mouse and window at mouse down
        )
        self._dragged = False

    # -- places -------------------------------------------------------------------------------

    @property
    def places(self) -> list[LaneRows]:
        """Where each lane is, in lines from the top of the first."""
        key = self._state.lanes, self.size.height, self._state.tasks
        if self._placed is None or self._placed[0] != key:
            self._placed = key, layout(*key)
            self._tops = {self._state.lanes[p.lane].name: p.top for p in self._placed[1]}
        return self._placed[1]

    @property
    def wanted(self) -> int:
        """How many lines the lanes take if the height is not limited."""
        return sum(place.rows for place in layout(self._state.lanes, _ENDLESS, self._state.tasks))

    def reveal(self) -> None:
        """Scroll so that the chosen lane is visible."""
        if self._state.ready and self.size.height:
            place = self.places[self._state.chosen]
            self._scroll(min(max(self._top, place.top + place.rows - self.size.height), place.top))

    def _scroll(self, top: int) -> None:
        places = self.places
        lines = places[-1].top + places[-1].rows if places else 0
        top = min(max(top, 0), max(lines - self.size.height, 0))
        if top != self._top:
            self._top = top
            self.refresh()

    def on_resize(self) -> None:
        self._scroll(self._top)
        self.reveal()

    # -- drawing ------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        look = look_of(self)
        if not self._state.ready:
            row = CellRow(self.size.width, look.base)
            row.write(1, "counting …" if y == 0 else "", look.dim)
            return Strip(row.segments(), self.size.width)
        line = y + self._top
        place = self._place(line)
        if place is None:
            return Strip.blank(self.size.width, look.base)
        row = self._rows(look, place)[line - place.top].copy()
        for cell, sign, style in self._signs(look, place.lane == self._state.chosen):
            _cross(row, cell, sign, style)
        scale = self._state.scale(self.size.width)
        for cell, sign in arrow_cells(self._state, scale, self._tops, line):
            row.write(cell, sign, look.mark)
        names = self._label(look, place, line - place.top)
        return Strip([*names.segments(), *row.segments()], self.size.width)

    def _place(self, line: int) -> LaneRows | None:
        index = bisect_right(self.places, line, key=lambda place: place.top) - 1
        last = self.places[index] if index >= 0 else None
        return last if last and line < last.top + last.rows else None

    def _rows(self, look: Look, place: LaneRows) -> list[CellRow]:
        """A lane's lines, cached for one window, filter and size."""
        scale = self._state.scale(self.size.width)
        key, matches = (scale, look, self._state.shown), self._state.model.matches
        if self._painter is None or self._painter[0] != key or self._matches is not matches:
            self._painter = key, LanePainter(self._state, look, scale, self._peak())
            self._painted, self._matches = {}, matches
        known = self._painted.get(place.lane)
        if known is None or len(known) != place.rows:
            lane, whole = self._state.shown[place.lane], self._state.lanes[place.lane]
            known = self._painter[1].paint(lane, whole, place.rows, place.tasks)
            self._painted[place.lane] = known
        return known

    def _peak(self) -> int:
        """The most events in a cell of the visible CPUs: their bars have a common scale."""
        scale = self._state.scale(self.size.width)
        edges, most = self._state.edges(scale), 1
        for place in self.places:
            lane = self._state.shown[place.lane]
            seen = place.top < self._top + self.size.height and place.top + place.rows > self._top
            if seen and lane.kind == "cpu":
                most = max(most, int(cell_counts(lane.rows, edges).max()))
        return most

    def _label(self, look: Look, place: LaneRows, line: int) -> CellRow:
        """The text left of a lane's line."""
        row, lane = CellRow(GUTTER, look.base), self._state.shown[place.lane]
        chosen = place.lane == self._state.chosen
        if line == 0:
            if chosen:
                row.fill(0, GUTTER - 1, " ", look.base + look.cursor)
                row.write(0, "▸", look.base + look.cursor)
            row.write(1, lane.name, look.base + look.cursor if chosen else look.base)
            if lane.note:
                row.write(len(lane.name) + 2, "‼", look.bad)
        elif place.tasks and line == place.rows - 1:
            row.write(1, "runs", look.dim)
        elif line == 1 and lane.counter is not None:
            most = int(lane.counter.most(np.array(self._state.model.window)).max())
            row.write(1, f"≤ {most:,}" if most > 0 else "", look.dim)
        elif line == 1 and lane.kind != "spans":
            row.write(1, f"{len(lane.rows):,}", look.dim)
        row.write(GUTTER - 1, "▕", look.dim)
        return row

    def _signs(self, look: Look, chosen: bool) -> Iterator[tuple[int, str, Style]]:
        """(cell, sign, style) of the lines through all lanes that are in the window."""
        scale, model = self._state.scale(self.size.width), self._state.model
        signs = [(ns, "┊", look.mark) for ns in self._state.bookmarked(scale)]
        signs += [(ns, "┆", look.mark) for ns in model.marks if ns is not None]
        signs += [(ns, "┃", look.jump) for ns in self._state.jumps]
        inside = [sign for sign in signs if scale.start <= sign[0] < scale.end]
        lines = {scale.cell(ns): (sign, style) for ns, sign, style in inside}
        yield from ((cell, *line) for cell, line in lines.items())
        if scale.start <= model.cursor_ns < scale.end:
            style = look.base + Style(reverse=True) if chosen else look.dim + look.cursor
            yield scale.cell(model.cursor_ns), "╎", style

    # -- the mouse ----------------------------------------------------------------------------

    def _ns(self, event: events.MouseEvent) -> int:
        return self._state.scale(self.size.width).ns(event.x - GUTTER + 0.5)

    def _pan(self, share: float) -> None:
        start, end = self._state.model.window
        by = round((end - start) * share)
        self._state.model.look_at(start + by, end + by)

    def _wheel(self, event: events.MouseEvent, up: bool) -> None:
        event.stop()
        if event.x < GUTTER:
            self._scroll(self._top + (-1 if up else 1))
        elif event.shift:
            self._pan(-_PAN if up else _PAN)
        else:
            self._state.model.zoom(_WHEEL if up else 1 / _WHEEL, self._ns(event))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, up=True)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, up=False)

    def on_mouse_scroll_left(self, event: events.MouseScrollLeft) -> None:
        event.stop()
        self._pan(-_PAN)

    def on_mouse_scroll_right(self, event: events.MouseScrollRight) -> None:
        event.stop()
        self._pan(_PAN)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self._dragged = False
        if event.button == 1 and event.x >= GUTTER:
            self.capture_mouse()
            self._held = event.x, self._state.model.window

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._held is None or (event.x == self._held[0] and not self._dragged):
            return
        self._dragged = True
        column, (start, end) = self._held
        by = round((end - start) * (column - event.x) / max(self.size.width - GUTTER, 1))
        self._state.model.look_at(start + by, end + by)

    def on_mouse_up(self, _: events.MouseUp) -> None:
        self._held = None
        self.release_mouse()

    def on_click(self, event: events.Click) -> None:
        """Choose what was clicked, unless this ends a drag."""
        place = self._place(event.y + self._top) if self._state.ready else None
        if place is not None and not self._dragged:
            inside = event.x >= GUTTER
            ns = self._ns(event) if inside else None
            self.post_message(self.Picked(place.lane, ns, inside and event.chain == 2))


def _cross(row: CellRow, cell: int, sign: str, style: Style) -> None:
    """Draw a line through a cell; its content stays visible."""
    if row.chars[cell] in _EMPTY:
        row.chars[cell], row.styles[cell] = sign, Style(bgcolor=row.styles[cell].bgcolor) + style
    elif style.reverse:
        row.styles[cell] = style + Style(reverse=False, bold=True)
    elif sign == "┃":
        row.styles[cell] += Style(reverse=False, bgcolor=style.color)
    elif style.bgcolor:
        row.styles[cell] += Style(reverse=False, bgcolor=style.bgcolor)
