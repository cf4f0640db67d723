"""Dialogs of the events' table: which columns it has, and which it is sorted by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from tracekit.text import printable
from tui.events.columns import Column
from tui.lines import LineList

__all__ = ["ChooseColumns", "ChooseOrder"]


def _line(column: Column) -> Text:
    line = Text.assemble(f"{printable(column.title):<18} ", (column.about, "dim"))
    line.no_wrap = True
    return line


class ChooseColumns(ModalScreen[list[str] | None]):
    """Dismissed with the chosen columns' keys (empty: automatic), or None for no change."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,c,q", "keep", "Close"),
        Binding("enter", "keep", "Close", priority=True),
        Binding("space,x", "turn", "On or off"),
        Binding("a", "automatic", "Automatic"),
    ]

    def __init__(self, columns: Sequence[Column], shown: Sequence[str]) -> None:
        super().__init__()
        self._columns = columns
        self._shown = list(shown)
        self._on = set(shown)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label(Text("Columns: space turns one on or off, a those that fit, enter closes"))
            yield LineList(*(Option(self._prompt(c)) for c in self._columns), classes="bare")

    def _prompt(self, column: Column) -> Text:
        return Text("[x] " if column.key in self._on else "[ ] ") + _line(column)

    def action_turn(self) -> None:
        """Turn the highlighted one on or off."""
        listed = self.query_one(OptionList)
        if listed.highlighted is not None:
            self._turn(listed, listed.highlighted)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click turns one on or off."""
        self._turn(event.option_list, event.option_index)

    def _turn(self, listed: OptionList, index: int) -> None:
        self._on ^= {self._columns[index].key}
        listed.replace_option_prompt_at_index(index, self._prompt(self._columns[index]))

    def action_keep(self) -> None:
        """Show the chosen columns: old ones keep their places, the arguments come last."""
        kept = [key for key in self._shown if key in self._on]
        added = [c.key for c in self._columns if c.key in self._on and c.key not in kept]
        if [*kept, *added] == self._shown:
            self.dismiss(None)
        else:
            self.dismiss(sorted([*kept, *added], key=lambda key: key == "args"))

    def action_automatic(self) -> None:
        """Show what fits."""
        self.dismiss([])


class ChooseOrder(ModalScreen[str | None]):
    """Dismissed with the key of a column to sort by, or with None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,o,q", "dismiss", "Close"),
    ]

    def __init__(self, columns: Sequence[Column], sort: tuple[str, bool] | None) -> None:
        super().__init__()
        self._columns = columns
        self._sort = sort or ("time", False)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label(Text("Sort by: enter; the same again turns it round"))
            yield LineList(*(Option(self._prompt(c)) for c in self._columns), classes="bare")

    def on_mount(self) -> None:
        """Highlight the column it is sorted by."""
        keys = [c.key for c in self._columns]
        key = self._sort[0]
        self.query_one(OptionList).highlighted = keys.index(key) if key in keys else 0

    def _prompt(self, column: Column) -> Text:
        key, descending = self._sort
        return Text("▲▼"[descending] + " " if column.key == key else "  ") + _line(column)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Sort by it."""
        self.dismiss(self._columns[event.option_index].key)
