"""Dialogs that ask for a text and say what is wrong with it: where to go, how long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widgets import Input, Label

from tracekit.browse.places import check_place, length_of, place_of
from tracekit.errors import UsageError
from tracekit.text import duration, printable
from tui.host import Host, look_of
from tui.jobs import start
from tui.model import Model

__all__ = ["Ask", "ask_gap", "ask_place", "ask_window"]

_HINT = "enter keeps it, escape does not"


class Ask(ModalScreen[str | None]):
    """A line to type into; dismissed with the text, or with None.

    ``check`` raises :class:`~tracekit.errors.UsageError` for a text that is refused.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel"),
        Binding("tab", "complete", "Complete", priority=True),
    ]

    def __init__(
        self, title: str, example: str, check: Callable[[str], object],
        names: Sequence[str] = (), value: str = "",
    ) -> None:  # fmt: skip
        super().__init__()
        self._title, self._example, self._check = title, example, check
        self._names, self._value = names, value

    def compose(self) -> ComposeResult:
        names = SuggestFromList(self._names, case_sensitive=False) if self._names else None
        with Vertical(classes="dialog"):
            yield Label(Text(self._title))
            yield Input(self._value, placeholder=self._example, suggester=names, compact=True,
                        max_length=1000, select_on_focus=True)  # fmt: skip
            yield Label(Text(_HINT, "dim"), id="ask-note")

    def on_input_changed(self) -> None:
        """What was wrong is being mended."""
        self.query_one("#ask-note", Label).update(Text(_HINT, "dim"))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take it, or say why not."""
        try:
            self._check(event.value)
        except UsageError as error:
            note = Text(printable(str(error)), look_of(self).bad)
            self.query_one("#ask-note", Label).update(note)
        else:
            self.dismiss(event.value)

    def action_complete(self) -> None:
        """Take the name that is suggested."""
        self.query_one(Input).action_cursor_right()

    def action_cancel(self) -> None:
        """Change nothing."""
        self.dismiss(None)


def ask_place(host: Host, model: Model) -> None:
    """Ask for a time, a date or a name, and go there; nothing typed: the first event shown."""
    phases = [p.name for p in model.report.phases if p.start_ns is not None]
    names = list(dict.fromkeys(["jump", *phases, *(b.note for b in model.notes.bookmarks)]))

    def there(place: tuple[int, int]) -> None:
        host.remember()
        start_ns, end_ns = place
        if end_ns > start_ns:
            model.go_to_span(start_ns, end_ns)
        else:
            model.go(start_ns)
        host.show_time()

    def answered(text: str | None) -> None:
        if text is None:
            return
        if not text.strip():
            there((model.extent[0], model.extent[0]))
            return
        start(host, "looking", lambda _: place_of(model.recording, model.report, text), there)

    host.push_screen(
        Ask(
            "Go to: a time, a date, a phase, a mark or a note (tab completes; empty: the start)",
            "-1.5ms   2026-11-28 20:38:25.5   device shutdown   jump+5ms",
            check_place, [n for n in names if n and n.isprintable()],
        ),
        answered,
    )  # fmt: skip


def ask_window(host: Host, model: Model) -> None:
    """Ask how much time the timeline shows."""

    def answered(text: str | None) -> None:
        if text is not None:
            start_ns, end_ns = model.window
            around = (
                model.cursor_ns
                if start_ns <= model.cursor_ns < end_ns
                else (start_ns + end_ns) // 2
            )
            model.zoom(length_of(text) / (end_ns - start_ns), around)

    now = duration(model.window[1] - model.window[0])
    host.push_screen(Ask(f"The window, now {now}", "20ms", length_of), answered)


def ask_gap(host: Host, model: Model) -> None:
    """Ask from which length on a stretch without events is a gap."""

    def check(text: str) -> object:
        return text.strip() and length_of(text)

    def answered(text: str | None) -> None:
        if text is not None:
            model.set_gap(length_of(text) if text.strip() else None)

    now = f"Gaps are of {duration(model.least_gap)} at least"
    host.push_screen(Ask(f"{now}; empty: a sixteenth of the window", "5ms", check), answered)
