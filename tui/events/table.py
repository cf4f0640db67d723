"""The table of events: only what is on the screen is fetched, however many there are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tracekit.query.selection import Selection, among
from tracekit.query.sort import ARGUMENT, order_by
from tracekit.text import duration, printable
from tracekit.timeline.when.wall_clock import why_unknown
from tui.events.columns import COLUMNS, Cells, Column, Event, automatic, column_of, padded
from tui.events.pages import Jump, Pages
from tui.host import host_of, look_of
from tui.jobs import Job, start
from tui.model import Model
from tui.theme import Look

__all__ = ["EventsTable"]

_GUTTER = 2  # cells: the sign of the cursor, and that of a bookmark or match
_ARGS = 12  # cells of arguments at least
_LONGEST = 512  # cells of arguments that can be scrolled to
_AHEAD = 4096  # rows of an event that are searched first for one that is shown


class EventsTable(ScrollView, can_focus=True, inherit_bindings=False):
    """The events that are shown, sorted by time or by a column. Follows the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False),
        Binding("home", "end(0)", "First", show=False),
        Binding("end,G", "end(1)", "Last", show=False),
        Binding("left,h", "sideways(-8)", "Left", show=False),
        Binding("right,l", "sideways(8)", "Right", show=False),
        Binding("enter", "show", "Timeline", tooltip="Show the event in the timeline"),
        Binding("t", "time", "Time", tooltip="Time from the jump, of the day, or as recorded"),
        Binding("y", "copy", "Copy", tooltip="Copy the row"),
        Binding("e", "same(1)", show=False, tooltip="Next event of the same kind"),
        Binding("E", "same(-1)", show=False, tooltip="Previous event of the same kind"),
    ]

    class Sorted(Message):
        """A click on a title asks for another order."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, model: Model, *, id: str) -> None:
        super().__init__(id=id)
        self.model = model
        self.pages = Pages(model, model.selection)
        self.sort: tuple[str, bool] | None = None  # (column's key, descending)
        self.chosen: list[str] | None = None  # keys of columns; None: by the width
        boots = model.recording.boots
        self.cells = Cells(boots[-1].index if boots else 0)
        self.at = 0  # the position that is highlighted
        self._row: int | None = None  # and the row there
        self._bookmarks: frozenset[tuple[int, int, int]] = frozenset()

    # -- life ---------------------------------------------------------------------------------

    @property
    def _visible_width(self) -> int:
        """The visible width of a line, in cells."""
        return self.scrollable_content_region.width

    def on_mount(self) -> None:
        """Follow the model from now on."""
        self.model.cursor_changed.subscribe(self, self._follow)
        self.model.selection_changed.subscribe(self, self._select)
        self.model.notes_changed.subscribe(self, lambda _: self._load_bookmarks())
        self.model.matches_changed.subscribe(self, lambda _: self.refresh())
        self._load_bookmarks()
        self._select(self.model.selection)

    def on_resize(self) -> None:
        """Other columns may fit."""
        self._measure()
        self._reveal()

    def on_show(self) -> None:
        """Catch up with the cursor."""
        self._measure()
        self._reveal()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    # -- what is shown ------------------------------------------------------------------------

    def _load_bookmarks(self) -> None:
        marks = self.model.notes.bookmarks
        self._bookmarks = frozenset((b.boot, b.cpu, b.ts_raw) for b in marks)
        self.refresh()

    def _select(self, selection: Selection) -> None:
        """Show these events, sorted as before."""
        self._show(selection)
        if self.sort is not None:
            self.sort_by(*self.sort)

    def _show(self, shown: Selection) -> None:
        typed = any(column.key.startswith(ARGUMENT) for column in self.columns)
        self.pages = Pages(self.model, shown, fields=typed)
        self._measure()
        self._follow(self.model.cursor)

    def sort_by(self, key: str, descending: bool) -> None:
        """Sort by a column, in a job; ascending time is the natural order and shown at once."""
        selection = self.model.selection
        if (key, descending) == ("time", False):
            self.sort = None
            self.app.workers.cancel_group(self.app, "sorting")
            self._show(selection)
            return

        def work(job: Job) -> Selection:
            recording, rows = self.model.recording, selection.rows
            order = order_by(recording, rows, column_of(key).sort, descending, job.step)
            return replace(selection, order=order)

        def then(ordered: Selection) -> None:
            if self.model.selection is selection:  # else another sorting is under way
                self.sort = key, descending
                self._show(ordered)
                self._reveal(middle=True)

        start(host_of(self), "sorting", work, then)

    @property
    def columns(self) -> list[Column]:
        """The columns that are shown, from left to right."""
        keys = automatic(self._visible_width) if self.chosen is None else self.chosen
        return [column_of(key) for key in keys]

    def choose(self, keys: Sequence[str] | None) -> None:
        """Show these columns; None: those that fit."""
        self.chosen = list(keys) if keys else None
        self._show(self.pages.shown)

    def _measure(self) -> None:
        fixed = sum(self.cells.cells_of(c) + 1 for c in self.columns)
        args = any(c.key == "args" for c in self.columns)
        self.cells.width = self._visible_width
        width = _GUTTER + fixed + (_LONGEST if args else 0)
        self.virtual_size = Size(width, len(self.pages) + 1)
        self.refresh()

    def _reveal(self, *, middle: bool = False) -> None:
        """Scroll to the highlighted row: as little as needed, or until it is in the middle."""
        room = self.scrollable_content_region.height - 1
        if room < 1 or not self.is_on_screen:
            return
        top, line = int(self.scroll_offset.y), self.pages.line(self.at)
        if not top <= line < top + room:
            near = -room < line - top < 2 * room and not middle
            to = line - room // 2 if not near else line if line < top else line - room + 1
            self.scroll_to(y=max(0, to), animate=False, force=True)
        self.refresh()

    # -- the cursor ---------------------------------------------------------------------------

    def _follow(self, row: int) -> None:
        """Highlight the cursor's row, or the nearest that is shown."""
        if self._row != row or self.pages.row(self.at) != row:
            self.at, self._row = self.pages.shown.position(row), row
        self._reveal()

    def go_to(self, position: int) -> None:
        """Highlight a position, and put the cursor on its row."""
        if not len(self.pages.shown):
            return
        self.at = min(max(position, 0), len(self.pages.shown) - 1)
        self._row = self.pages.row(self.at)
        if self._row is not None:
            self.model.move_to(self._row)
        self._reveal()

    def action_move(self, by: int) -> None:
        """Go down that many rows."""
        self.go_to(self.at + by)

    def action_page(self, pages: int) -> None:
        """Go down by screenfuls."""
        self.go_to(self.at + pages * max(1, self.scrollable_content_region.height - 2))

    def action_end(self, last: int) -> None:
        """Go to the first or the last row."""
        self.go_to(last * len(self.pages.shown))

    def action_sideways(self, by: int) -> None:
        """Scroll the columns."""
        self.scroll_to(x=max(0, int(self.scroll_offset.x) + by), animate=False, force=True)

    def action_show(self) -> None:
        """Show the event in the timeline."""
        if len(self.pages.shown):
            self.go_to(self.at)
            host_of(self).show_view("timeline")

    def action_same(self, by: int) -> None:
        """Go to the next (or previous) event of the same name that is shown."""
        model = self.model
        if not len(self.pages.shown):
            return

        def work(job: Job) -> int | None:
            code = int(model.recording.name_codes(np.array([model.cursor]))[0])
            rows, ahead = model.index.events.rows(code), _AHEAD
            place = int(among(rows, model.cursor, "right" if by > 0 else "left"))
            while place > 0 if by < 0 else place < len(rows):
                to = min(max(place + by * ahead, 0), len(rows))
                shown = model.selection.within(rows[min(place, to) : max(place, to)])
                if len(shown):
                    return int(shown[0 if by > 0 else -1])
                place, ahead = to, 2 * ahead
                job.step()
            return None

        def then(row: int | None) -> None:
            if row is None:
                host_of(self).say(f"no {'later' if by > 0 else 'earlier'} event of this name")
            else:
                model.move_to(row)

        start(host_of(self), "same event", work, then)

    def action_copy(self) -> None:
        """Copy the row, tab-separated: the columns as they are shown, then all others."""
        event = self.pages.event(self.at)
        if event is None:
            return
        shown = self.columns
        rest = [c for c in COLUMNS if c not in shown]
        texts = [self.cells.text(c, event, whole=True) for c in (*shown, *rest)]
        plain = (re.sub(r"[\t\n]", " ", printable(text)) for text in texts)
        self.app.copy_to_clipboard("\t".join(plain))
        host_of(self).say("copied the row")

    def action_time(self) -> None:
        """Time from the jump, by the wall clock, or as recorded."""
        order = ["jump", "wall", "raw"]
        mode = order[(order.index(self.cells.mode) + 1) % len(order)]
        if mode == "wall":
            recording = self.model.recording
            self.cells.walls = recording.walls
            if self.cells.walls:
                wall = list(self.cells.walls.values())[-1]
                host_of(self).say(f"UTC by {wall.basis}, to ± {duration(wall.error_ns)}")
            else:
                why = why_unknown(recording.axis, recording.boots[-1]) if recording.boots else ""
                host_of(self).say(f"what time of day it was is unknown: {why}")
                mode = "raw"
        self.cells.mode = mode
        self._measure()

    # -- the mouse ----------------------------------------------------------------------------

    def on_click(self, event: events.Click) -> None:
        """Sort by the title that was clicked, or go to a row; the second click shows it."""
        if event.y == 0:
            left = _GUTTER - int(self.scroll_offset.x)
            for column in self.columns:
                width = self._width(column)
                if left <= event.x <= left + width:
                    self.post_message(self.Sorted(column.key))
                left += width + 1
            return
        content = self.pages.at_line(event.y - 1 + int(self.scroll_offset.y))
        if isinstance(content, Jump):
            host_of(self).jump()
        elif content < len(self.pages.shown):
            again = content == self.at and event.chain > 1
            self.go_to(content)
            if again:
                self.action_show()

    # -- drawing ------------------------------------------------------------------------------

    def _width(self, column: Column) -> int:
        """The cells a column takes on the screen."""
        width = self.cells.cells_of(column)
        if width:
            return width
        others = sum(self.cells.cells_of(c) + 1 for c in self.columns if c is not column)
        return max(_ARGS, self._visible_width + int(self.scroll_offset.x) - _GUTTER - others)

    def render_line(self, y: int) -> Strip:
        """The titles, a row, or a jump."""
        look, width, left = (
            look_of(self),
            self._visible_width,
            int(self.scroll_offset.x),
        )
        base = look.base
        content = self.pages.at_line(y - 1 + int(self.scroll_offset.y))
        if y == 0:
            segments = self._titles(look)
        elif isinstance(content, Jump):
            text = f"{'─' * 6}{content.text}".ljust(width + left, "─")
            segments = [Segment(text, look.jump)]
        elif (event := self.pages.event(content)) is not None:
            here = content == self.at
            base = base + look.cursor if here else base
            segments = self._cells(event, here, look)
        else:
            empty = self._empty() if y == 2 and not len(self.pages.shown) else ""
            segments = [Segment(" " * left + empty, look.dim)]
        strip = Strip(Segment.apply_style(segments, base)).adjust_cell_length(left + width, base)
        return strip.crop(left, left + width)

    def _empty(self) -> str:
        where = printable(self.model.where)
        return f"  no event meets {where}" if where else "  there are no events"

    def _titles(self, look: Look) -> list[Segment]:
        segments = [Segment(" " * _GUTTER)]
        for column in self.columns:
            title, style = self.cells.title(column), look.dim + look.strong
            if self.sort is not None and self.sort[0] == column.key:
                title, style = title + "▲▼"[self.sort[1]], look.heading
            segments += [*padded(title, self._width(column), column.right, style), Segment(" ")]
        return segments

    def _cells(self, event: Event, here: bool, look: Look) -> list[Segment]:
        values, matches = event.values, self.model.matches
        marked = (values["boot"], values["cpu"], values["ts_raw"]) in self._bookmarks
        place = int(among(matches, event.at))
        matched = place < len(matches) and int(matches[place]) == event.at
        segments = [Segment("▌" if here else " ", look.mark)]
        segments.append(Segment("◆" if marked else "•" if matched else " ", look.mark))
        for column in self.columns:
            cell = self.cells.draw(column, event, self._width(column), look)
            loud = matched and column.key in ("event", "task", "args")
            segments += [_highlighted(s, look) for s in cell] if loud else cell
            segments.append(Segment(" "))
        return segments


def _highlighted(segment: Segment, look: Look) -> Segment:
    """A segment in the style of a match; blanks are left alone."""
    return segment._replace(style=look.match) if segment.text.strip() else segment
