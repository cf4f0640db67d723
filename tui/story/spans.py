"""A list of spans of time as bars on an axis, under headings; Enter goes to one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tracekit.text import duration, printable
from tui.host import look_of
from tui.theme import EIGHTHS, Look

__all__ = ["Bar", "Heading", "SpanList"]

_NUMBERS = 10  # cells of a column of times
_BAR_MIN = 8


@dataclass(frozen=True)
class Heading:
    """A line above the bars that follow.

    ``axis``: the time (ns) that their bars lie on; without one they all begin at the left, and
    ``longest`` ns fill the line.
    """

    text: str
    axis: tuple[int, int] | None = None
    longest: int = 0


@dataclass(frozen=True)
class Bar:
    """A stretch of time. ``start_ns`` and ``took_ns`` are None if they are not known.

    ``starts`` is what is printed for the start. ``kind`` is a style of :class:`~tui.theme.Look`;
    ``note`` is shown while the bar is selected; ``first`` is selected to begin with, and marked.
    ``view`` is where Enter leads.
    """

    name: str
    start_ns: int | None
    took_ns: int | None
    starts: str = ""
    took: str = ""
    kind: str = "old"
    note: str = ""
    first: bool = False
    handover: int | None = None
    view: str = "timeline"


class SpanList(ScrollView, can_focus=True):
    """Headings and bars, one a line; the selected one is highlighted."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "move(-10)", "Page up", show=False),
        Binding("pagedown", "move(10)", "Page down", show=False),
        Binding("home", "move(-100000)", "First", show=False),
        Binding("end,G", "move(100000)", "Last", show=False),
        Binding("space", "only", "Only this", tooltip="Mark it: tables and counts are then of it"),
        Binding("enter", "choose", "Timeline", tooltip="Show the bar in the timeline"),
    ]

    class Selected(Message):
        """Another bar was selected."""

        def __init__(self, bar: Bar) -> None:
            super().__init__()
            self.bar = bar

    class Chosen(Message):
        """Enter was pressed on a bar, or it was clicked."""

        def __init__(self, bar: Bar) -> None:
            super().__init__()
            self.bar = bar

    class Only(Message):
        """Asks that tables and counts be of a bar."""

        def __init__(self, bar: Bar) -> None:
            super().__init__()
            self.bar = bar

    def __init__(self, lines: Sequence[Heading | Bar | None], *, id: str) -> None:
        super().__init__(id=id)
        self._lines = list(lines)
        bars = [(i, line) for i, line in enumerate(self._lines) if isinstance(line, Bar)]
        self._bars = [i for i, _ in bars]
        self._chosen_bar = next((n for n, (_, line) in enumerate(bars) if line.first), 0)
        timed = [line for _, line in bars if line.took != " "]  # the others are texts, and no bars
        self._names = max((len(line.name) for line in timed), default=0)  # cells
        self._under: list[Heading] = []  # the heading of every line
        heading = Heading("")
        for line in self._lines:
            heading = line if isinstance(line, Heading) else heading
            self._under.append(heading)

    @property
    def selected(self) -> Bar | None:
        """The bar that is highlighted."""
        if not self._bars:
            return None
        return cast("Bar", self._lines[self._bars[self._chosen_bar]])

    def on_mount(self) -> None:
        self._measure()

    def on_resize(self) -> None:
        self._measure()

    def on_focus(self) -> None:
        if self.selected is not None:
            self.post_message(self.Selected(self.selected))
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def _measure(self) -> None:
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._lines))
        self.call_after_refresh(self._reveal)

    def _reveal(self) -> None:
        if self._bars:
            line = self._bars[self._chosen_bar]
            top = 0 if self._chosen_bar == 0 else line  # with the heading above the first
            self.scroll_to_region(Region(0, top, 1, line - top + 1), animate=False, force=True)

    def action_move(self, by: int) -> None:
        """Select the bar that many further down."""
        self._go(self._chosen_bar + by)

    def action_choose(self) -> None:
        """Go to the selected bar."""
        if self.selected is not None:
            self.post_message(self.Chosen(self.selected))

    def action_only(self) -> None:
        """Ask that tables and counts be of the selected bar."""
        if self.selected is not None:
            self.post_message(self.Only(self.selected))

    def on_click(self, event: events.Click) -> None:
        """Select the bar that was clicked; a second click goes to it."""
        line = event.y + self.scroll_offset.y
        if line in self._bars:
            again = self._bars[self._chosen_bar] == line and event.chain > 1
            self._go(self._bars.index(line))
            if again:
                self.action_choose()

    def _go(self, number: int) -> None:
        if not self._bars:
            return
        number = min(max(number, 0), len(self._bars) - 1)
        self._chosen_bar = number
        self._reveal()
        self.post_message(self.Selected(cast("Bar", self._lines[self._bars[number]])))
        self.refresh()

    # -- drawing ------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the list."""
        look = look_of(self)
        number, width = y + self.scroll_offset.y, self.size.width
        line = self._lines[number] if number < len(self._lines) else None
        if line is None:
            return Strip.blank(width, look.base)
        if isinstance(line, Heading):
            text = Text(printable(line.text), look.heading)
        else:
            text = self._bar_line(line, width, self._under[number], look)
        here = bool(self._bars) and self._bars[self._chosen_bar] == number and self.has_focus
        base = look.base + look.cursor if here else look.base
        text.truncate(width)
        text.pad_right(max(0, width - text.cell_len))
        segments = text.render(self.app.console, end="")
        strip = Strip(Segment.apply_style(segments, base), width)
        if here:
            strip = Strip.join([Strip([Segment("▌", base + look.mark)]), strip.crop(1, width)])
        return strip

    def _bar_line(self, b: Bar, width: int, heading: Heading, look: Look) -> Text:
        style: Style = getattr(look, b.kind)
        if b.took == " " and not b.starts:
            text = Text(no_wrap=True).append(" ▶" if b.first else "  ", look.mark)
            return text.append(printable(b.name), style)
        starts = _NUMBERS if width >= 70 else 0
        numbers = starts + _NUMBERS
        room = width - numbers - 4
        name_width = min(self._names, max(20, room - _BAR_MIN))
        name = printable(b.name)
        text = Text(no_wrap=True)
        label = Text().append(" ▶" if b.first else "  ", look.mark)
        label.append(name, style if b.kind not in ("old", "new") else Style())
        label.truncate(name_width + 2, overflow="ellipsis", pad=True)
        text.append_text(label)
        if starts:
            text.append(f"{b.starts:>{starts}}", look.dim)
        took = b.took or duration(b.took_ns, "not observed")
        text.append(f" {took:>{_NUMBERS}}" if b.took_ns is not None else f" {took:>12}",
                    look.strong if b.took_ns is not None else look.dim)  # fmt: skip
        cells = width - text.cell_len - 3
        if cells >= _BAR_MIN and b.took_ns is not None:
            text.append("  ")
            text.append(_placed(b, heading, cells), style)
        return text


def _placed(b: Bar, heading: Heading, cells: int) -> str:
    """The bar, to scale and at its place on the axis; at least a sliver."""
    start, took = b.start_ns or 0, b.took_ns or 0
    if heading.axis is None or b.start_ns is None:
        axis = start, start + heading.longest
    else:
        axis = heading.axis
    if start + took < axis[0]:
        return "◂"
    if start > axis[1]:
        return " " * (cells - 1) + "▸"
    scale = cells / max(1, axis[1] - axis[0])
    begin = max(start - axis[0], 0) * scale
    end = min((start + took - axis[0]) * scale, cells)
    first = min(int(begin), cells - 1)
    whole = int(end) - first
    if whole < 1:
        return " " * first + EIGHTHS[max(1, min(7, round((end - begin) * 8)))]
    if b.kind == "dark":
        return " " * first + "░" * whole
    return " " * first + "█" * whole + EIGHTHS[int((end % 1) * 8)].rstrip()
