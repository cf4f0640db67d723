"""The dialog of named filters, which are kept in the session's notes."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from tracekit.session.notes import Notes
from tracekit.text import printable
from tui.host import host_of
from tui.lines import LineList

__all__ = ["SavedFilters"]


class SavedFilters(ModalScreen[str | None]):
    """Saves ``current`` ('' if there is none), or is dismissed with the chosen filter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Close"),
        Binding("delete,d", "remove", "Delete"),
    ]

    def __init__(self, notes: Notes, current: str) -> None:
        super().__init__()
        self._notes = notes
        self._current = current

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            if self._current:
                yield Label(Text(f"Save  {printable(self._current)}", no_wrap=True))
                yield Input(placeholder="under the name, then enter", max_length=200, compact=True)
            yield Label(Text("Saved filters: enter takes one, d deletes it"))
            yield LineList(markup=False, id="saved")

    def on_mount(self) -> None:
        """Fill the list."""
        self._fill()
        (self.query_one(Input) if self._current else self.query_one(OptionList)).focus()

    def _fill(self) -> None:
        names = list(self._notes.filters)
        width = max((min(len(name), 24) for name in names), default=0)
        options = self.query_one(OptionList)
        options.clear_options()
        for name in names:
            line = Text(f"{printable(name):{width}}  ", no_wrap=True, overflow="ellipsis")
            line.append(printable(self._notes.filters[name]), "dim")
            options.add_option(Option(line))
        if names:
            options.highlighted = 0
        else:
            options.add_option(Option(Text("none yet", "dim"), disabled=True))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Save under that name."""
        name = event.value.strip()
        if name:
            self._notes.filters[name] = self._current
            host_of(self).keep_notes()
            self.dismiss(None)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take that one."""
        self.dismiss(list(self._notes.filters.values())[event.option_index])

    def action_remove(self) -> None:
        """Delete the chosen one."""
        highlighted = self.query_one(OptionList).highlighted
        if highlighted is not None and self._notes.filters:
            del self._notes.filters[list(self._notes.filters)[highlighted]]
            host_of(self).keep_notes()
            self._fill()
