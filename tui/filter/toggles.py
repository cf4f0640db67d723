"""``F``: the panel that turns CPUs, events, tasks and sources on and off, with their counts.

What is turned off becomes a condition of the filter, and conditions of the filter show here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from rich.segment import Segment
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.geometry import Region, Size
from textual.message import Message
from textual.screen import ModalScreen
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Input, Static

from tracekit.query.expr import parse
from tracekit.query.selection import Selection
from tracekit.query.toggles import CHOICES, choose, switched_on, tally, values_of
from tracekit.text import printable
from tui.host import host_of, look_of
from tui.jobs import Job, start
from tui.theme import Look, bar

__all__ = ["ToggleList", "Toggles"]

_TITLES = {"cpu": "CPUs", "event": "Events", "comm": "Tasks", "source": "Sources"}
_BAR = 8  # cells
_COUNT = 11  # cells of a number
_EDGE = 2  # cells right of the numbers
_Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class _Column:
    """One list: the values that occur, their indices among all values, and their events."""

    values: list[int | str]
    indices: _Array
    counts: list[int]
    shown: list[int] | None = None  # events that pass the filter, once they are counted


_NOTHING = _Column([], np.empty(0, np.int64), [])


def _label(value: int | str) -> str:
    if isinstance(value, int):
        return f"CPU {value}"
    return printable(value) or "unknown"


class ToggleList(ScrollView, can_focus=True):
    """The lines of one list; draws only what is visible."""

    class Toggled(Message):
        """These values are to be on, and no others."""

        def __init__(self, on: set[int | str]) -> None:
            super().__init__()
            self.on = on

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "move(-1000000000)", show=False),
        Binding("end,G", "move(1000000000)", show=False),
        Binding("space", "switch", show=False),
        Binding("a", "all", show=False),
        Binding("o", "only", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._column = _NOTHING
        self._on: set[int | str] = set()
        self._listed: list[int] = []  # indices of the values that match the narrowing text
        self._narrow = ""
        self.cursor = 0

    @property
    def _look(self) -> Look:
        return look_of(self)

    def show(self, column: _Column, on: set[int | str]) -> None:
        """Show a list, or update it."""
        self._column, self._on = column, on
        self.narrow(self._narrow)

    def narrow(self, text: str) -> None:
        """List only the values with that text in them."""
        self._narrow = text
        sought = text.casefold()
        self._listed = [
            i for i, v in enumerate(self._column.values) if sought in _label(v).casefold()
        ]
        self.virtual_size = Size(1, len(self._listed))
        self.action_move(0)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One value: a box, its name, its events, and how many of them are shown."""
        y += self.scroll_offset.y
        width, look = self.size.width, self._look
        if y >= len(self._listed):
            return Strip.blank(width, look.base)
        i = self._listed[y]
        column, value = self._column, self._column.values[i]
        on = value in self._on
        here = y == self.cursor and self.has_focus
        style = look.base + look.cursor if here else look.base
        text = style if on else style + look.dim
        room = max(4, width - 2 * _COUNT - _BAR - 8)
        name = _label(value)
        name = name if len(name) <= room else name[: room - 1] + "…"
        filled = bar(_BAR * column.counts[i] / max(column.counts))
        shown = "…" if column.shown is None else f"{column.shown[i]:,}" if column.shown[i] else "-"
        segments = [
            Segment(" [x] " if on else " [ ] ", text + look.good if on else text),
            Segment(f"{name:{room}} ", text),
            Segment(f"{filled:{_BAR}.{_BAR}}", text + look.hues[0] if on else text),
            Segment(f"{column.counts[i]:{_COUNT},}", text),
            Segment(f"{shown:>{_COUNT}} ", text),
        ]
        return Strip(segments).adjust_cell_length(width, style)

    # -- keys and mouse -----------------------------------------------------------------------

    def action_move(self, step: int) -> None:
        """Up or down."""
        self.cursor = max(0, min(self.cursor + step, len(self._listed) - 1))
        self.scroll_to_region(Region(0, self.cursor, 1, 1), animate=False, force=True)
        self.refresh()

    def action_page(self, step: int) -> None:
        """A screenful up or down."""
        self.action_move(step * max(1, self.size.height - 1))

    def _value(self) -> int | str | None:
        """The value under the cursor."""
        if not self._listed:
            return None
        return self._column.values[self._listed[self.cursor]]

    def action_switch(self) -> None:
        """The one under the cursor on or off."""
        value = self._value()
        if value is not None:
            self.post_message(self.Toggled(self._on ^ {value}))

    def action_only(self) -> None:
        """Only the one under the cursor."""
        value = self._value()
        if value is not None:
            self.post_message(self.Toggled({value}))

    def action_all(self) -> None:
        """All that are listed."""
        listed = {self._column.values[i] for i in self._listed}
        self.post_message(self.Toggled(self._on | listed))

    def on_click(self, event: events.Click) -> None:
        """Toggle what was clicked."""
        line = event.y + self.scroll_offset.y
        if line < len(self._listed):
            self.cursor = line
            self.action_switch()

    def on_focus(self) -> None:
        """Show the cursor."""
        self.refresh()


class Toggles(ModalScreen[None]):
    """The panel. ``apply`` filters by an expression."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", show=False),
        Binding("F,q,enter", "dismiss", show=False),
        Binding("right,l,tab", "other(1)", show=False),
        Binding("left,h,shift+tab", "other(-1)", show=False),
        Binding("slash", "narrow", show=False),
    ]

    def __init__(self, apply: Callable[[str], None]) -> None:
        super().__init__()
        self._apply = apply
        self._chosen_column = CHOICES[0]
        self._where = ""
        self._columns: dict[str, _Column] = {}

    def compose(self) -> ComposeResult:
        with Vertical(id="toggles"):
            yield Static(id="toggles-head")
            yield Input(placeholder="only names with this in them; enter", compact=True)
            yield ToggleList()
            yield Static(id="toggles-note")

    def on_mount(self) -> None:
        """Count, and follow the filter."""
        model = host_of(self).model
        assert model is not None
        self._where = model.where
        self.query_one(Input).display = False
        model.selection_changed.subscribe(self, lambda _: self._selected())
        self.query_one(ToggleList).focus()
        self._show()

    # -- what is shown ------------------------------------------------------------------------

    def _selected(self) -> None:
        """The filter changed: count the events that pass it."""
        model = host_of(self).model
        assert model is not None
        self._where = model.where
        self._columns = {name: replace(c, shown=None) for name, c in self._columns.items()}
        self._show()

    def _show(self) -> None:
        look = look_of(self)
        head = Text(" ", no_wrap=True)
        for column in CHOICES:
            here = column == self._chosen_column
            sign, style = ("▸", look.cursor) if here else (" ", look.dim)
            head.append(f"{sign}{_TITLES[column]} ", style)
            head.append(" ")
        width = self.query_one("#toggles-head").size.width
        head.append("events      shown".rjust(max(0, width - len(head) - _EDGE)), look.dim)
        self.query_one("#toggles-head", Static).update(head)
        note = Text(no_wrap=True, overflow="ellipsis")
        note.append(f" {printable(self._where) or 'everything is shown'}\n", look.warn)
        note.append(" space on/off  o only  a all  / narrow  ←→ list  esc", look.dim)
        self.query_one("#toggles-note", Static).update(note)
        known = self._columns.get(self._chosen_column)
        if known is None or known.shown is None:
            self._count(self._chosen_column)
        if known is not None:
            on = switched_on(parse(self._where), self._chosen_column, known.values)
            self.query_one(ToggleList).show(known, on)
        else:
            self.query_one(ToggleList).show(_NOTHING, set())

    def _count(self, column: str) -> None:
        """Count the events of each value, in the recording and in what is shown."""
        model = host_of(self).model
        assert model is not None
        known, within, where = self._columns.get(column), model.selection, self._where

        def total(job: Job, selection: Selection) -> _Array:
            counts = np.zeros(0, np.int64)
            for so_far, done in tally(model.recording, column, selection):
                job.step(done, max(1, len(selection)))
                counts = so_far
            return counts

        def work(job: Job) -> _Column:
            every = known or _listed(
                column, values_of(model.recording, column), total(job, Selection(model.total))
            )
            shown = (
                every.counts if within.rows is None else total(job, within)[every.indices].tolist()
            )
            return replace(every, shown=shown)

        def then(counted: _Column) -> None:
            # a screen that was closed keeps its parent until its own parts are gone
            if where == self._where and self.is_attached and self in self.app.screen_stack:
                self._columns[column] = counted
                self._show()

        start(host_of(self), "count", work, then)

    # -- keys ---------------------------------------------------------------------------------

    def on_toggle_list_toggled(self, event: ToggleList.Toggled) -> None:
        """Make it a condition of the filter."""
        known = self._columns[self._chosen_column]
        self._where = str(choose(parse(self._where), self._chosen_column, event.on, known.values))
        self._show()
        self._apply(self._where)

    def action_other(self, step: int) -> None:
        """Another list."""
        self._chosen_column = CHOICES[(CHOICES.index(self._chosen_column) + step) % len(CHOICES)]
        self.query_one(ToggleList).cursor = 0
        self.query_one(Input).value = ""
        self._leave_input()
        self._show()

    def action_narrow(self) -> None:
        """Type what the names are to have in them."""
        line = self.query_one(Input)
        line.display = True
        line.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow as it is typed."""
        self.query_one(ToggleList).narrow(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Back to the list."""
        event.stop()
        self._leave_input()

    def _leave_input(self) -> None:
        self.query_one(Input).display = bool(self.query_one(Input).value)
        self.query_one(ToggleList).focus()

    def action_close(self) -> None:
        """Out of the narrowing, or out of the panel."""
        if self.query_one(Input).has_focus or self.query_one(Input).value:
            self.query_one(Input).value = ""
            self._leave_input()
        else:
            self.dismiss()


def _listed(column: str, values: Sequence[int | str], counts: _Array) -> _Column:
    """The values that occur: CPUs by number, else those with most events first."""
    indices = np.flatnonzero(counts)
    if column != "cpu":
        indices = indices[np.argsort(-counts[indices], kind="stable")]
    return _Column([values[i] for i in indices.tolist()], indices, counts[indices].tolist())
