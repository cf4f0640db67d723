"""The application: opens a session, shows its views, one at a time, and what goes on below them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import ContentSwitcher, Footer

from tracekit.timeline.opened import Opened, open_recording
from tracekit.timeline.words import printable
from tui.bars import StatusLine, TabLine, Welcome
from tui.events import EventsView
from tui.jobs import Job, start
from tui.kho import KhoView
from tui.look import Look
from tui.model import Model
from tui.story import StoryView
from tui.tables import TablesView
from tui.timeline import TimelineView
from tui.view import View

__all__ = ["TracekitApp"]

_QUIET = 0.06  # seconds after a key or a mouse event that work in threads stands back
_VIEWS: tuple[tuple[str, type[View]], ...] = (
    ("story", StoryView),
    ("timeline", TimelineView),
    ("events", EventsView),
    ("tables", TablesView),
    ("kho", KhoView),
)


class TracekitApp(App[None]):
    """Shows the session at ``path``."""

    TITLE = "tracekit"
    CSS_PATH = "style.tcss"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(n), f"show_view('{name}')", cls.title, show=False)
            for n, (name, cls) in enumerate(_VIEWS, 1)
        ),
        Binding("q", "quit", "Quit", priority=False),
    ]

    def __init__(self, path: Path, *, view: str = "story", where: str = "") -> None:
        super().__init__()
        self.path = path
        self.first_view = view
        self.first_where = where
        self.busy_until = 0.0
        self.model: Model | None = None
        self.look: Look

    # -- life ---------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield TabLine([(name, cls.title) for name, cls in _VIEWS])
        yield ContentSwitcher(Welcome(str(self.path), id="welcome"), initial="welcome")
        yield StatusLine()
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to open the session; the first picture does not wait for it."""
        self.look = Look.of(self)
        self.theme_changed_signal.subscribe(self, self._new_theme)
        self.call_after_refresh(self._open)

    def _open(self) -> None:
        start(self, "open", self._read, self._opened)

    def _read(self, job: Job) -> Opened:
        def progress(what: str, share: float | None) -> None:
            job.name = what
            job.step(int((share or 0) * 1000), None if share is None else 1000)

        return open_recording(self.path, progress)

    async def _opened(self, opened: Opened) -> None:
        self.model = Model(self, opened)
        switcher = self.query_one(ContentSwitcher)
        for name, cls in _VIEWS:
            await switcher.add_content(cls(self.model, id=name))
        self.query_one(StatusLine).watch_model(self.model)
        self.action_show_view(self.first_view)

    def _new_theme(self, _: object) -> None:
        self.look = Look.of(self)
        self.refresh(layout=True)

    async def on_event(self, event: events.Event) -> None:
        """Whatever the user does comes first: jobs wait until it is done."""
        if isinstance(event, events.InputEvent):
            self.busy_until = time.monotonic() + _QUIET
        await super().on_event(event)

    # -- views --------------------------------------------------------------------------------

    def action_show_view(self, name: str) -> None:
        """Bring a view to the front."""
        if self.model is None:
            return
        self.query_one(ContentSwitcher).current = name
        self.query_one(TabLine).current = name
        self.query_one(f"#{name}", View).on_shown()

    def show_progress(self, name: str, done: int, total: int | None) -> None:
        """Show that a job goes on; over when ``done`` is ``total``."""
        if self.model is None:
            self.query_one(Welcome).show_progress(name, done, total)
        self.query_one(StatusLine).show_progress(name, done, total)

    def say(self, text: str) -> None:
        """A short message; recorded names in it are no markup."""
        self.notify(printable(text), markup=False, timeout=4)
