"""``tracekit show A B``: two handovers beside each other, with mirrored bars."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Static

from tracekit.runs.bars import mirrored
from tracekit.runs.pair import Difference, Pair, signed
from tracekit.runs.run import Figure, Run
from tracekit.text import duration, error_bound, on_one_line
from tui.bars import KeyLine
from tui.host import look_of
from tui.runs.base import RunsApp
from tui.theme import Look, fitted

__all__ = ["CompareApp", "PairLines"]

_TITLES = {"total": "Totals", "phase": "Phases", "device": "Devices", "initcall": "Initcalls",
           "unit": "Units"}  # fmt: skip
_STYLES = {"more": "bad", "less": "good", "only in A": "warn", "only in B": "warn"}
_TIME, _DELTA = 8, 9  # cells
_NAME_LEAST, _NAME_MOST = 16, 40


@dataclass(frozen=True)
class _Line:
    """A title (``difference`` None), or a row; ``longest`` is of its kind, ns."""

    title: str
    difference: Difference | None
    longest: int = 1


def _lines(pair: Pair, only_sure: bool) -> list[_Line]:
    lines: list[_Line] = []
    for kind, title in _TITLES.items():
        every = [d for d in pair.differences if d.kind == kind]
        shown = [d for d in every if d.sure or not only_sure]
        if not every:
            continue
        hidden = f", {len(every) - len(shown)} not shown" if len(shown) < len(every) else ""
        lines.append(_Line(f"{title} {len(every)}{hidden}", None))
        longest = max((d.longest_ns for d in every), default=0) or 1
        lines += [_Line("", d, longest) for d in shown]
    return lines


def _took(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    return duration(figure.ns, "?") if figure.finished else "never"


class PairLines(ScrollView, can_focus=True, inherit_bindings=False):
    """A line a name: A's time and bar to the left, B's to the right, and the difference."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False),
        Binding("home,g", "move(-1000000)", "First", show=False),
        Binding("end,G", "move(1000000)", "Last", show=False),
        Binding("d", "only_sure", "Differences", tooltip="Only what differs beyond errors"),
    ]

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self._pair = pair
        self._only_sure = False
        self._lines = _lines(pair, False)
        self.cursor = 0

    def on_mount(self) -> None:
        self._show()

    @property
    def selected(self) -> Difference | None:
        """What the cursor is on; None on a title."""
        return self._lines[self.cursor].difference if self._lines else None

    def _show(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._lines))
        self.refresh()

    def on_resize(self) -> None:
        self._show()

    def action_only_sure(self) -> None:
        """Show only what differs beyond the clocks' errors, or everything again."""
        self._only_sure = not self._only_sure
        self._lines = _lines(self._pair, self._only_sure)
        self.cursor = 0
        self.scroll_to(y=0, animate=False, force=True, immediate=True)
        self._show()

    def action_move(self, by: int) -> None:
        """Go down by lines."""
        self.cursor = min(max(self.cursor + by, 0), len(self._lines) - 1)
        height, top = max(1, self.size.height), int(self.scroll_offset.y)
        if not top <= self.cursor < top + height:
            top = self.cursor if self.cursor < top else self.cursor - height + 1
            self.scroll_to(y=top, animate=False, force=True, immediate=True)
        self.refresh()
        self.screen.query_one("#compare-note", Static).update(self._note())

    def action_page(self, pages: int) -> None:
        """Go down by screenfuls."""
        self.action_move(pages * max(1, self.size.height - 1))

    def _note(self) -> str:
        d = self.selected
        if d is None:
            return ""
        parts = [d.name, *([d.detail] if d.detail else []), d.judged]
        if d.delta_ns is not None:
            parts.append(f"{signed(d.delta_ns)} {error_bound(d.error_ns)}")
        return on_one_line(", ".join(parts))

    # -- drawing ------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """A title or a row."""
        look, number = look_of(self), y + int(self.scroll_offset.y)
        width = self.size.width
        if number >= len(self._lines):
            return Strip.blank(width, look.base)
        line, here = self._lines[number], number == self.cursor and self.has_focus
        if line.difference is None:
            segments = [Segment(f" {line.title}", look.heading)]
        else:
            segments = _row(line.difference, line.longest, width, look)
        base = look.base + look.cursor if here else look.base
        return Strip(Segment.apply_style(segments, base)).adjust_cell_length(width, base)


def _row(d: Difference, longest: int, width: int, look: Look) -> list[Segment]:
    """``name  time bar|bar time  difference``, what is within error dimmed."""
    fixed = 2 * (_TIME + 1) + _DELTA + 6
    name = min(_NAME_MOST, max(_NAME_LEAST, (width - fixed) // 3))
    cells = max(3, (width - fixed - name) // 2)
    left, right = mirrored(d.a.ns if d.a else None, d.b.ns if d.b else None, longest, cells)
    style: Style = getattr(look, _STYLES[d.judged]) if d.judged in _STYLES else look.dim
    plain = Style() if d.sure else look.dim
    said = signed(d.delta_ns) if d.delta_ns is not None else d.judged
    mark = {"more": "▲", "less": "▼", "error unknown": "?"}.get(d.judged, " ")
    return [
        Segment(f"  {fitted(d.name, name)} ", plain),
        Segment(fitted(_took(d.a), _TIME, True) + " ", plain),
        Segment(left, look.old if d.sure else look.dim),
        Segment("│", look.dim),
        Segment(fitted(right, cells), look.new if d.sure else look.dim),
        Segment(" " + fitted(_took(d.b), _TIME, True), plain),
        Segment(f" {mark}" + fitted(said, _DELTA, True), style),
    ]


def _about(name: str, run: Run, look: Look, colour: Style) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f" {name} ", colour + look.strong)
    text.append(on_one_line(f"Linux {run.old_kernel} → {run.kernel}  "), look.strong)
    lost = "unknown" if run.lost is None else f"{run.lost:,}"
    said = f"{run.way}, {run.clock}, {run.verdict}, {lost} lost  {run.title}"
    return text.append(on_one_line(said), look.dim)


class _Head(Static):
    """Which runs they are."""

    def __init__(self, pair: Pair) -> None:
        super().__init__(id="compare-head")
        self._pair = pair

    def render(self) -> Text:
        """Two lines."""
        look, pair = look_of(self), self._pair
        return Text("\n").join(
            [_about("A", pair.a, look, look.old), _about("B", pair.b, look, look.new)]
        )


class _Sentence(Static):
    """What the difference is made of."""

    def __init__(self, pair: Pair) -> None:
        super().__init__(id="compare-sentence")
        self._pair = pair

    def render(self) -> Text:
        """The sentence, wrapped."""
        return Text(on_one_line(self._pair.sentence), look_of(self).strong)


class CompareApp(RunsApp):
    """Shows two handovers; ``a`` and ``b`` end it in one of their sessions."""

    keys = (
        (
            "Two handovers",
            (
                ("↑ ↓  j k", "choose a line, which is told in full below"),
                ("g  G", "the first, the last line; home, end, page up, page down"),
                ("d", "only what differs by more than the clocks' errors; all"),
                ("a  b", "open the session of the one or the other"),
            ),
        ),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "open_one('a')", "Open A"),
        Binding("b", "open_one('b')", "Open B"),
    ]

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self._pair = pair

    def compose(self) -> ComposeResult:
        yield _Head(self._pair)
        yield PairLines(self._pair)
        yield Static("", id="compare-note", markup=False)
        yield _Sentence(self._pair)
        yield KeyLine()

    def action_open_one(self, which: str) -> None:
        """Show one of the sessions by itself."""
        self.open_session(Path((self._pair.a if which == "a" else self._pair.b).session))
