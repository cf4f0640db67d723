"""The lines around the views: tabs, status and keys; and the screen shown while opening."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.keys import format_key
from textual.reactive import reactive
from textual.widgets import Input, Static

from tracekit.text import duration, printable
from tui.host import look_of
from tui.model import Model
from tui.theme import bar

__all__ = ["KeyLine", "StatusLine", "TabLine", "Welcome"]

_ROOMY = 110  # columns
_FIRST = ("help", "quit", "submit", "cancel")  # actions whose keys come first


class TabLine(Static):
    """The views' names in one line, each with its key."""

    current: reactive[str] = reactive("")

    def __init__(self, tabs: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._tabs = tabs

    def render(self) -> Text:
        """The line."""
        look = look_of(self)
        text = Text(" ")
        for n, (name, title) in enumerate(self._tabs, 1):
            here = name == self.current
            style = look.strong + look.heading if here else look.dim
            text.append(f"{n} ", look.dim)
            text.append(title, style)
            text.append("   ")
        return text

    def on_click(self, event: events.Click) -> None:
        """Go to the view whose name was clicked."""
        left = 1
        for name, title in self._tabs:
            width = len(title) + 5
            if left <= event.x < left + width:
                self.app.call_later(self.app.run_action, f"show_view('{name}')")
                return
            left += width


class Welcome(Static, can_focus=True):
    """Shown until the session is open: its name and the progress."""

    def __init__(self, path: str, *, id: str) -> None:
        super().__init__(id=id)
        self._path = path
        self._what = ""
        self._share: float | None = None

    def show_progress(self, name: str, done: int, total: int | None) -> None:
        """Show the progress."""
        self._what, self._share = name, done / total if total else None
        self.refresh(layout=True)

    def render(self) -> Text:
        """The name of the session, and the progress."""
        look = look_of(self)
        text = Text(f"\n  {printable(self._path)}\n\n  ")
        if self._what:
            text.append(f"{printable(self._what)} …", look.dim)
        if self._share is not None:
            cells = max(10, min(60, self.size.width - 12))
            text.append("\n\n  ").append(bar(self._share * cells).ljust(cells, "·"), look.new)
            text.append(f" {self._share:4.0%}", look.strong)
            text.append(
                "\n\n  A session this large is decoded once; then it opens at once.", look.dim
            )
        return text


class StatusLine(Static):
    """The status: events shown, cursor, window, marks, running job and filter."""

    def __init__(self) -> None:
        super().__init__()
        self._model: Model | None = None
        self._job = ""

    def watch_model(self, model: Model) -> None:
        """Follow the model from now on."""
        self._model = model
        for signal in (
            model.cursor_changed,
            model.window_changed,
            model.selection_changed,
            model.marks_changed,
            model.notes_changed,
        ):
            signal.subscribe(self, lambda _: self.refresh())
        self.refresh()

    def show_progress(self, name: str, done: int, total: int | None) -> None:
        """Show the running job; nothing once ``done`` is ``total``."""
        over = total is not None and done >= total
        self._job = "" if over else f"{name} {done * 100 // total} %" if total else name
        self.refresh()

    def render(self) -> Text:
        """The line."""
        model = self._model
        if model is None:
            return Text("")
        look = look_of(self)
        few = f"{len(model.selection):,} of " if model.where else ""
        start, end = model.window
        # a filter is more to know of where there is room for one only
        narrow = bool(model.where) and self.size.width < _ROOMY
        gaps = "" if narrow else f", gaps ≥ {duration(model.least_gap)}"
        parts = [
            (f"{few}{model.total:,} events", look.strong if few else look.dim),
            (f"at {duration(model.cursor_ns)}", look.dim),
            (f"window {duration(end - start)}{gaps}", look.dim),
        ]
        a, b = model.marks
        if a is not None and b is not None:
            named = f" {printable(model.marked)}" if model.marked else ""
            counted = f"{model.count():,} events"
            parts.append((f"A→B{named} {duration(b - a)}, {counted}", look.mark))
        bookmark = model.bookmark_at(model.cursor)
        if bookmark is not None:
            parts.append((f"◆ {printable(bookmark.note)}", look.mark))
        if self._job:
            parts.append((f"{self._job} …", look.good))
        if model.where:  # last, as it may be long
            parts.append((printable(model.where), look.warn))
        text = Text(no_wrap=True, overflow="ellipsis")
        for part, style in parts:
            text.append("  ").append(part, style)
        return text


class KeyLine(Static):
    """The keys that work now: help and quit, then the view's, as many as fit."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: list[tuple[int, str]] = []  # (cell at which it ends, key)

    def on_mount(self) -> None:
        """Follow the focus."""
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.refresh())

    def render(self) -> Text:
        """The line."""
        look = look_of(self)
        text, self._keys = Text(no_wrap=True), []
        for binding in self._useful():
            key = self.app.get_key_display(binding)
            if text.cell_len + cell_len(key) + cell_len(binding.description) + 3 <= self.size.width:
                text.append(f" {key}", look.heading).append(f" {binding.description} ")
                self._keys.append((text.cell_len, binding.key))
        return text

    def _useful(self) -> list[Binding]:
        """One key per action, the most useful first; without those that type into a line."""
        typing = isinstance(self.screen.focused, Input)
        by_action: dict[str, Binding] = {}
        for active in self.screen.active_bindings.values():
            if active.binding.show and not (typing and _is_typed(active.binding.key)):
                by_action.setdefault(active.binding.action, active.binding)
        return sorted(by_action.values(), key=lambda binding: binding.action not in _FIRST)

    def on_click(self, event: events.Click) -> None:
        """Press the key that was clicked."""
        for end, key in self._keys:
            if event.x < end:
                self.app.simulate_key(key)
                return


def _is_typed(key: str) -> bool:
    """Whether a key types a character into a line that is being edited."""
    return len(format_key(key)) == 1 and format_key(key).isascii()
