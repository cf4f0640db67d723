"""A line at the bottom to type an expression into, with a note on it below."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.suggester import Suggester
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Static

from tracekit.query.expr import COLUMNS, Value
from tracekit.query.match import Names
from tracekit.text import printable
from tui.host import host_of, look_of
from tui.jobs import start
from tui.model import Model
from tui.theme import Look

__all__ = ["QueryBar", "QueryInput", "completion"]

_PAUSE = 0.15  # seconds after the last key until the work begins
_FRAGMENT = re.compile(r"""[^\s()",'=!<>~]+$""")
_OF_COLUMN = re.compile(r"(\w+)\s*(?:==?|!=|~|!~|(?:not\s+)?in\s*\((?:[^()]*,)?)\s*$")
_REMEMBERED = 100  # lines


def completion(text: str, names: Names, tasks: Iterable[str] = ()) -> str | None:
    """``text`` with its last word completed; None if nothing completes it."""
    m = _FRAGMENT.search(text)
    if m is None:
        return None
    column = _OF_COLUMN.search(text[: m.start()])
    known: Iterable[str]
    if column is None:
        known = (*COLUMNS, *sorted(names.arguments))
    elif column[1] == "event":
        known = (*(n.partition(":")[2] for n in names.events), *names.events)
    elif column[1] in {"comm", "task"}:
        known = tasks
    else:
        return None
    fit = (n for n in known if len(n) > len(m[0]) and n.startswith(m[0]))
    word = next((n for n in fit if n.isprintable() and str(Value.of(n)) == n), None)
    return None if word is None else text[: m.start()] + word


class _Completion(Suggester):
    def __init__(self, bar: QueryBar) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._bar = bar

    async def get_suggestion(self, value: str) -> str | None:
        """The completed line."""
        return completion(value, self._bar.names, self._bar.tasks)


class QueryInput(Input):
    """The input line, with a history; tab takes the completion."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Keep"),
        Binding("tab", "complete", "Complete"),
        Binding("up", "recall(-1)", "Earlier", key_display="↑ ↓"),
        Binding("down", "recall(1)", "Later", show=False),
    ]

    def __init__(self, bar: QueryBar, placeholder: str) -> None:
        super().__init__(
            placeholder=placeholder, compact=True, suggester=_Completion(bar), select_on_focus=False
        )
        self._lines: list[str] = []
        self._recalled = 0
        self._draft = ""

    def remember(self, line: str) -> None:
        """Add a line to the history, without duplicates."""
        if line:
            others = [old for old in self._lines if old != line]
            self._lines = [*others[1 - _REMEMBERED :], line]
        self._recalled = len(self._lines)

    def action_recall(self, step: int) -> None:
        """Recall an earlier or a later line; after the last comes what was being typed."""
        if self._recalled == len(self._lines):
            self._draft = self.value
        self._recalled = min(max(self._recalled + step, 0), len(self._lines))
        self.value = [*self._lines, self._draft][self._recalled]
        self.cursor_position = len(self.value)

    def action_complete(self) -> None:
        """Take what is suggested."""
        if self._suggestion:
            self.value = self._suggestion
            self.cursor_position = len(self.value)


class QueryBar(Vertical):
    """Hidden until it is opened; subclasses define what is done with the text."""

    prompt: ClassVar[str] = ""
    hint: ClassVar[str] = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Go back", key_display="esc")
    ]

    def __init__(self) -> None:
        super().__init__(classes="query-bar")
        self.display = False
        self._pause: Timer | None = None
        self._focus_before: Widget | None = None
        self._names: Names | None = None
        #: The names of tasks, once they have been looked up.
        self.tasks: Sequence[str] = ()

    def compose(self) -> ComposeResult:
        with Horizontal(classes="query-line"):
            yield Static(Text(f" {self.prompt} "), classes="query-prompt")
            yield QueryInput(self, self.hint)
        yield Static(classes="query-note", markup=False)

    # -- what it works with -------------------------------------------------------------------

    @property
    def model(self) -> Model:
        """The state that the views share; there is one whenever the bar is open."""
        model = host_of(self).model
        assert model is not None
        return model

    @property
    def look(self) -> Look:
        """The colours of the theme."""
        return look_of(self)

    @property
    def names(self) -> Names:
        """The names that an expression may use here."""
        if self._names is None:
            self._names = Names.of(self.model.recording)
        return self._names

    @property
    def input(self) -> QueryInput:
        """The line."""
        return self.query_one(QueryInput)

    def say(self, note: Text) -> None:
        """Show a note of one or two lines under the input."""
        self.query_one(".query-note", Static).update(note)

    def say_error(self, what: str) -> None:
        """Show an error under the input."""
        self.say(Text(f" {printable(what)}", self.look.bad))

    # -- opening and closing ------------------------------------------------------------------

    def open(self, text: str) -> None:
        """Show the line with ``text`` in it."""
        if not self.tasks:
            recording = self.model.recording
            start(host_of(self), "tasks", lambda _: recording.comm_codes[1], self._know_tasks)
        self._focus_before = self.app.focused
        self.display = True
        self.input.remember("")
        with self.prevent(Input.Changed):
            self.input.value = text
        self.input.cursor_position = len(text)
        self.input.focus()

    def _know_tasks(self, tasks: Sequence[str]) -> None:
        self.tasks = tasks

    def leave(self) -> None:
        """Give the focus back to where it was."""
        self._stop_waiting()
        if self._focus_before is not None and self._focus_before.is_attached:
            self._focus_before.focus()
        else:
            self.screen.set_focus(None)

    # -- typing -------------------------------------------------------------------------------

    def _stop_waiting(self) -> None:
        if self._pause is not None:
            self._pause.stop()
            self._pause = None

    def on_input_changed(self, event: Input.Changed) -> None:
        """Check the text at once, and begin the work after a pause in typing."""
        event.stop()
        self._stop_waiting()
        if self.typed(event.value):
            self._pause = self.set_timer(_PAUSE, lambda: self.work_on(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep it."""
        event.stop()
        self._stop_waiting()
        self.entered(event.value)

    def typed(self, text: str) -> bool:
        """Check the text after every key; returns whether to begin the work."""
        raise NotImplementedError

    def work_on(self, text: str) -> None:
        """Begin the work."""
        raise NotImplementedError

    def entered(self, text: str) -> None:
        """Keep the result: Enter was pressed."""
        raise NotImplementedError

    def action_cancel(self) -> None:
        """Go back to what was before: Escape was pressed."""
        raise NotImplementedError
