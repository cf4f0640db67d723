"""What the applications about many runs share; each shows one screen, and may end in a session."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType

from tui.dialogs.help import HelpScreen, Keys
from tui.host import Host
from tui.theme import Look

__all__ = ["RunsApp"]

_EVERYWHERE = (
    "Everywhere",
    (("T", "dark or light"), ("q  escape", "quit"), ("ctrl+z", "suspend"), ("?", "this")),
)


class RunsApp(Host):
    """``chosen`` is the session that is to be opened once the application has ended, if any.

    ``keys`` are what ``?`` shows.
    """

    keys: ClassVar[Keys] = ()

    TITLE = "tracekit"
    CSS_PATH = "../style.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q,escape", "quit", "Quit"),
        Binding("T", "other_theme", "Theme", show=False),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.path = Path()
        self.may_export = False
        self.model = None
        self.busy_until = 0.0
        self.chosen: Path | None = None

    def on_mount(self) -> None:
        self.look = Look.of(self)
        self.theme_changed_signal.subscribe(self, self._new_theme)

    def _new_theme(self, _: object) -> None:
        self.look = Look.of(self)
        self.refresh(layout=True)

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(HelpScreen((*self.keys, _EVERYWHERE)))

    def action_other_theme(self) -> None:
        """Dark to light and back."""
        self.theme = "textual-light" if self.current_theme.dark else "textual-dark"

    def say(self, text: str) -> None:
        """Show a short message in place of earlier ones."""
        self.clear_notifications()
        self.notify(text, markup=False, timeout=4)

    # what a session's views ask of their application: there is none of that here

    def show_progress(self, name: str, done: int, total: int | None) -> None:
        """Nothing takes time."""

    def show_span(self, start: int, end: int) -> None:
        """There is no timeline."""

    def filter_by(self, where: str) -> None:
        """There is no filter."""

    def show_view(self, name: str) -> None:
        """There is one view."""

    def show_time(self) -> None:
        """There is no time to show."""

    def remember(self) -> None:
        """There is nowhere to go."""

    def jump(self) -> None:
        """There is no timeline."""

    def keep_notes(self) -> None:
        """There are no notes."""

    def open_session(self, path: Path) -> None:
        """End, so that a session is shown instead."""
        if not path.exists():
            self.say(f"{path} is not here: the fleet knows what it was called when it was added")
            return
        self.chosen = path
        self.exit()

    def end(self) -> None:
        """End the application, whatever it is doing."""
        self.exit()
