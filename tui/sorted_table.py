"""A table that is sorted by any of its columns; only the lines on the screen are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tracekit.text import printable
from tui.host import look_of
from tui.theme import Look, bar, fitted

__all__ = [
    "Column",
    "Sheet",
    "SortTable",
]

_GAP = 2  # cells between columns
_BAR_LEAST, _BAR_MOST = 6, 40  # cells


@dataclass(frozen=True)
class Column:
    """``text``: what a row shows; ``key``: what it is sorted by, None comes last in either order.

    ``bar``: a share (0 to 1, None for none) is drawn instead of ``text``. ``width`` in cells, the
    title's at least; a column that is not ``right`` grows if there is room. ``rank``: columns
    with the highest are dropped first if there is not.
    """

    title: str
    text: Callable[[Any], str]
    key: Callable[[Any], Any]
    width: int = 0
    rank: int = 0
    right: bool = True
    falling: bool = True  # the first order when sorted by it: the largest on top
    bar: Callable[[Any], float | None] | None = None

    @property
    def least(self) -> int:
        """The least width in cells: at least that of the title and its arrow."""
        return max(self.width, len(self.title) + 1, _BAR_LEAST if self.bar else 0)


@dataclass
class Sheet:
    """What a table shows. ``style`` gives the name of a :class:`~tui.theme.Look` style, or ''.

    ``sort`` is the index of a column. ``empty`` says why there are no rows.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Any] = ()
    sort: int = 0
    falling: bool = True
    empty: str = ""
    style: Callable[[Any], str] = lambda _: ""
    note: Callable[[Any], str] = lambda _: ""
    cursor: int = 0  # index into ``order``
    order: list[int] = field(default_factory=list)
    longest: list[int] = field(default_factory=list)  # text of each column, cells

    def fill(self, rows: Sequence[Any]) -> None:
        """Show these rows; if their number is unchanged, the same one stays selected."""
        selected = self.order[self.cursor] if self.order and len(rows) == len(self.rows) else None
        self.rows = rows
        self.longest = [
            0 if c.right else max((cell_len(c.text(row)) for row in rows), default=0)
            for c in self.columns
        ]
        self._order(selected)

    def sort_by(self, column: int, falling: bool) -> None:
        """Sort; the same row stays selected."""
        selected = self.order[self.cursor] if self.order else None
        self.sort, self.falling = column, falling
        self._order(selected)

    def _order(self, selected: int | None) -> None:
        keys = list(map(self.columns[self.sort].key, self.rows))
        known = [i for i, key in enumerate(keys) if key is not None]
        known.sort(key=keys.__getitem__, reverse=self.falling)
        self.order = known + [i for i, key in enumerate(keys) if key is None]
        self.cursor = 0 if selected is None else self.order.index(selected)

    @property
    def selected(self) -> Any | None:
        """The row that is selected."""
        return self.rows[self.order[self.cursor]] if self.order else None


def _widths(sheet: Sheet, room: int) -> list[tuple[int, int]]:
    """(index of a column, its width) of those that fit into ``room`` cells."""
    columns, wanted = sheet.columns, sheet.longest
    shown = list(range(len(columns)))

    def needed() -> int:
        return sum(columns[i].least + _GAP for i in shown) - _GAP

    while len(shown) > 1 and needed() > room:
        shown.remove(max(shown, key=lambda i: (columns[i].rank, i)))
    widths = {i: columns[i].least for i in shown}
    left = room - needed()
    growing = [i for i in shown if not columns[i].right and columns[i].bar is None]
    while left > 0 and wanted and (short := [i for i in growing if widths[i] < wanted[i]]):
        for i in short[:left]:
            widths[i] += 1
            left -= 1
    bars = [i for i in shown if columns[i].bar is not None]
    for i in bars:
        more = min(max(0, left) // len(bars), _BAR_MOST - widths[i])
        widths[i] += max(0, more)
    return [(i, widths[i]) for i in shown]


class SortTable(ScrollView, can_focus=True, inherit_bindings=False):
    """Shows a :class:`Sheet`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False),
        Binding("home", "first", "First", show=False),
        Binding("end,G", "last", "Last", show=False),
        Binding("enter", "choose", "Timeline", tooltip="Show the row in the timeline"),
        Binding("space", "only", "Only this", tooltip="Filter by the row"),
        Binding("o", "sort(1)", "Sort", tooltip="Sort by the next column"),
        Binding("O", "turn", "Reverse", tooltip="Turn the order round"),
    ]

    class Selected(Message):
        """Another row is selected, or the table shows another sheet."""

    class Chosen(Message):
        """Enter was pressed on a row, or it was clicked twice."""

    class Only(Message):
        """Asks to filter by what the row stands for."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.sheet = Sheet("", ())
        self._widths: list[tuple[int, int]] = []

    def show_sheet(self, sheet: Sheet) -> None:
        """Show a sheet; its cursor is where it was left."""
        self.sheet = sheet
        self._measure()
        self._move_to(sheet.cursor)

    def on_resize(self) -> None:
        self._measure()
        self._move_to(self.sheet.cursor)

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def _measure(self) -> None:
        width = self.scrollable_content_region.width
        self._widths = _widths(self.sheet, width - 2)
        self.virtual_size = Size(1, len(self.sheet.order) + 1)  # it never scrolls sideways

    # -- moving and sorting -------------------------------------------------------------------

    def _move_to(self, line: int) -> None:
        sheet = self.sheet
        sheet.cursor = min(max(line, 0), max(0, len(sheet.order) - 1))
        height = max(1, self.scrollable_content_region.height - 1)
        top = int(self.scroll_offset.y)
        if not top <= sheet.cursor < top + height:
            top = sheet.cursor if sheet.cursor < top else sheet.cursor - height + 1
            self.scroll_to(y=top, animate=False, force=True, immediate=True)
        self.post_message(self.Selected())
        self.refresh()

    def action_move(self, by: int) -> None:
        """Select the row that many further down."""
        self._move_to(self.sheet.cursor + by)

    def action_page(self, pages: int) -> None:
        """Go down by screenfuls."""
        self.action_move(pages * max(1, self.scrollable_content_region.height - 2))

    def action_first(self) -> None:
        """Go to the first row."""
        self._move_to(0)

    def action_last(self) -> None:
        """Go to the last row."""
        self._move_to(len(self.sheet.order))

    def action_choose(self) -> None:
        """Go where the row leads."""
        if self.sheet.order:
            self.post_message(self.Chosen())

    def action_only(self) -> None:
        """Show only what the row stands for."""
        if self.sheet.order:
            self.post_message(self.Only())

    def action_sort(self, by: int) -> None:
        """Sort by the next column that is shown."""
        shown = [i for i, _ in self._widths]
        if shown:
            place = shown.index(self.sheet.sort) if self.sheet.sort in shown else -1
            self._sort(shown[(place + by) % len(shown)])

    def action_turn(self) -> None:
        """Turn the order round."""
        if self.sheet.columns:
            self._sort(self.sheet.sort, not self.sheet.falling)

    def _sort(self, column: int, falling: bool | None = None) -> None:
        first = self.sheet.columns[column].falling
        self.sheet.sort_by(column, first if falling is None else falling)
        self._move_to(self.sheet.cursor)

    def on_click(self, event: events.Click) -> None:
        """Sort by the title that was clicked, or select a row; the second click goes there."""
        if event.y == 0:
            left = 1
            for i, width in self._widths:
                if left <= event.x < left + width + _GAP:
                    self._sort(i, not self.sheet.falling if i == self.sheet.sort else None)
                left += width + _GAP
            return
        row = event.y - 1 + int(self.scroll_offset.y)
        if row < len(self.sheet.order):
            again = row == self.sheet.cursor and event.chain > 1
            self._move_to(row)
            if again:
                self.action_choose()

    # -- drawing ------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """The titles, or one row."""
        look, width = look_of(self), self.size.width
        line = y - 1 + int(self.scroll_offset.y)
        if y == 0:
            segments, base = self._titles(look), look.base
        elif line < len(self.sheet.order):
            here = line == self.sheet.cursor
            base = look.base + look.cursor if here and self.has_focus else look.base
            segments = self._row(self.sheet.rows[self.sheet.order[line]], here, look)
        else:
            empty = self.sheet.empty if y == 2 and not self.sheet.order else ""
            segments, base = [Segment(f" {printable(empty)}", look.dim)], look.base
        strip = Strip(Segment.apply_style(segments, base))
        return strip.adjust_cell_length(width, base)

    def _titles(self, look: Look) -> list[Segment]:
        segments = [Segment(" ")]
        for i, width in self._widths:
            column, style, title = self.sheet.columns[i], look.dim, self.sheet.columns[i].title
            if i == self.sheet.sort:
                style, title = look.heading, title + "▲▼"[self.sheet.falling]
            right = column.right and column.bar is None
            segments.append(Segment(fitted(title, width, right), style))
            segments.append(Segment(" " * _GAP))
        return segments

    def _row(self, row: Any, here: bool, look: Look) -> list[Segment]:
        named = self.sheet.style(row)
        style: Style = getattr(look, named) if named else Style()
        segments = [Segment("▌" if here else " ", look.mark)]
        for i, width in self._widths:
            column = self.sheet.columns[i]
            if column.bar is None:
                text, drawn = column.text(row), style
                drawn = look.dim if text in ("unknown", "…") else style
                segments.append(Segment(fitted(text, width, column.right), drawn))
            else:
                share = column.bar(row)
                drawn_bar = bar(min(max(share, 0), 1) * width) if share else ""
                segments.append(Segment(fitted(drawn_bar, width), style or look.old))
            segments.append(Segment(" " * _GAP))
        return segments
