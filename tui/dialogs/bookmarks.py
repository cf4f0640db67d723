"""Dialogs for bookmarks: the note on an event, kept in the session, and the list of bookmarks."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label, OptionList
from textual.widgets.option_list import Option

from tracekit.session.notes import Bookmark
from tracekit.text import duration, printable
from tui.host import Host
from tui.lines import LineList
from tui.model import Model

__all__ = ["BookmarkList", "BookmarkNote", "ask_note", "list_bookmarks"]


class BookmarkNote(ModalScreen[str | None]):
    """Asks for the note; dismissed with it, or with None if cancelled."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel")]

    def __init__(self, about: str, note: str) -> None:
        super().__init__()
        self._about = about
        self._note = note

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label(Text(printable(self._about)))
            yield Input(
                self._note, placeholder="a note (may be empty)", max_length=1000, compact=True
            )
            yield Label(Text("enter keeps it, escape does not", "dim"))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep it."""
        self.dismiss(event.value)

    def action_cancel(self) -> None:
        """Leave things as they are."""
        self.dismiss(None)


class BookmarkList(ModalScreen[tuple[str, Bookmark] | None]):
    """All bookmarks; dismissed with ``("go", bookmark)`` or ``("remove", bookmark)``."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,B,q", "dismiss", "Close"),
        Binding("delete,d", "remove", "Remove"),
    ]

    def __init__(self, bookmarks: list[Bookmark]) -> None:
        super().__init__()
        self._bookmarks = bookmarks

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label(Text("Bookmarks: enter goes there, d removes"))
            yield LineList(
                *(
                    Option(Text(f"{duration(b.ts_ns):>11}  CPU {b.cpu}  {printable(b.note)}"))
                    for b in self._bookmarks
                ),
                classes="bare",
            )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Go there."""
        self.dismiss(("go", self._bookmarks[event.option_index]))

    def action_remove(self) -> None:
        """Take the bookmark away."""
        highlighted = self.query_one(OptionList).highlighted
        if highlighted is not None:
            self.dismiss(("remove", self._bookmarks[highlighted]))


def ask_note(host: Host, model: Model) -> None:
    """Ask for a note on the event under the cursor, and keep it."""
    if not model.total:
        return
    row = model.cursor
    event = model.recording.table(np.array([row]), args=False)["event"][0].as_py()
    old = model.bookmark_at(row)

    def keep(note: str | None) -> None:
        if note is not None:
            model.set_bookmark(row, note)
            host.keep_notes()

    about = f"{duration(int(model.ts_ns[row]))}  {event}"
    host.push_screen(BookmarkNote(about, old.note if old else ""), keep)


def list_bookmarks(host: Host, model: Model) -> None:
    """Show the bookmarks; go to one, or remove it."""
    if not model.notes.bookmarks:
        host.say("there are no bookmarks: b makes one of the event under the cursor")
        return

    def done(chosen: tuple[str, Bookmark] | None) -> None:
        if chosen is None:
            return
        action, mark = chosen
        row = model.row_of(mark)
        if action == "remove":
            model.drop_bookmark(mark)
            host.keep_notes()
        elif row is None:
            host.say("the session has no such event any more")
        else:
            host.remember()
            model.move_to(row)

    host.push_screen(BookmarkList(list(model.notes.bookmarks)), done)
