"""The application: opens a session and shows one view at a time, with bars around it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import ContentSwitcher

from tracekit.browse.open import Opened, open_recording
from tracekit.errors import TracekitError, explained
from tracekit.text import printable
from tui.bars import KeyLine, StatusLine, TabLine, Welcome
from tui.dialogs.ask import ask_place
from tui.dialogs.bookmarks import ask_note, list_bookmarks
from tui.dialogs.export import export
from tui.dialogs.help import HelpScreen
from tui.dialogs.palette import palette
from tui.events.view import EventsView
from tui.filter.filter_bar import FilterBar
from tui.filter.search_bar import SearchBar
from tui.filter.toggles import Toggles
from tui.history import History, Place
from tui.host import Host
from tui.jobs import Cancelled, Job, start
from tui.kho import KhoView
from tui.latency import LowLatency
from tui.model import Model
from tui.story.view import StoryView
from tui.tables.view import TablesView
from tui.theme import Look
from tui.timeline.view import TimelineView
from tui.typeahead import Typeahead
from tui.view import View

__all__ = ["TracekitApp"]

_QUIET = 0.06  # seconds that work in threads pauses after a key or a mouse event
_AROUND_JUMP = 8_000_000  # ns to either side of it
_VIEWS: tuple[tuple[str, type[View]], ...] = (
    ("story", StoryView),
    ("timeline", TimelineView),
    ("events", EventsView),
    ("tables", TablesView),
    ("kho", KhoView),
)


class TracekitApp(Host):
    """Shows the session at ``path``."""

    TITLE = "tracekit"
    CSS_PATH = "style.tcss"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(n), f"show_view('{name}')", cls.title, show=False)
            for n, (name, cls) in enumerate(_VIEWS, 1)
        ),
        Binding("question_mark", "help", "Help"),
        Binding("slash", "search", "Search"),
        Binding("f", "filter", "Filter"),
        Binding("0", "jump", "The jump"),
        Binding("g", "go", "Go to"),
        Binding("less_than_sign", "revisit(True)", "Back", key_display="< >"),
        Binding("greater_than_sign", "revisit(False)", "Forward", show=False),
        Binding("F", "toggles", "Toggles"),
        Binding("b", "bookmark", "Bookmark"),
        Binding("B", "bookmarks", "Bookmarks", show=False),
        Binding("x", "export", "Export"),
        Binding("n", "next_match(1)", "Next match", show=False),
        Binding("N", "next_match(-1)", "Previous match", show=False),
        Binding("escape", "clear", "Clear", show=False),
        Binding("T", "other_theme", "Theme", show=False),
        Binding("ctrl+z", "suspend_process", "Suspend", show=False),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(
        self, path: Path, *, view: str = "story", where: str = "", may_export: bool = True
    ) -> None:
        super().__init__()
        self.path = path
        self.may_export = may_export
        self.first_view = view
        self.first_where = where
        self.busy_until = 0.0
        self.model: Model | None = None
        self.failed: TracekitError | None = None
        self.look: Look
        self._typeahead = Typeahead(self, super().on_event)
        self._history = History()
        self._told_to_end = False
        self._own_loop: asyncio.AbstractEventLoop | None = None

    # -- life ---------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield TabLine([(name, cls.title) for name, cls in _VIEWS])
        yield ContentSwitcher(Welcome(str(self.path), id="welcome"), initial="welcome")
        yield SearchBar()
        yield FilterBar()
        yield StatusLine()
        yield KeyLine()

    def on_mount(self) -> None:
        """Begin to open the session; the first picture does not wait for it."""
        self._own_loop = asyncio.get_running_loop()
        if self._told_to_end:
            self.exit()
        self.look = Look.of(self)
        self.theme_changed_signal.subscribe(self, self._new_theme)
        self.app_resume_signal.subscribe(self, lambda _: self.refresh(layout=True))
        self._latency = LowLatency(self)
        self.call_after_refresh(self._open)

    def on_unmount(self) -> None:
        """Leave the interpreter as it was."""
        self._latency.end()

    def _open(self) -> None:
        start(self, "open", self._read, self._opened)

    def _read(self, job: Job) -> Opened:
        def progress(what: str, share: float | None) -> None:
            job.name = what
            job.step(int((share or 0) * 1000), None if share is None else 1000)

        try:
            return open_recording(self.path, progress)
        except (TracekitError, MemoryError, RuntimeError, ImportError) as error:
            known = error if isinstance(error, TracekitError) else explained(error)
            if known is None:
                raise
            self.failed = known  # there is nothing to show: the command line says why
            self.call_from_thread(self.exit)
            raise Cancelled from error

    async def _opened(self, opened: Opened) -> None:
        self.model = Model(self, opened)
        switcher = self.query_one(ContentSwitcher)
        for name, cls in _VIEWS:
            await switcher.add_content(cls(self.model, id=name))
        self.query_one(StatusLine).watch_model(self.model)
        self.show_view(self.first_view)
        if self.first_where:
            self.filter_by(self.first_where)
        self._latency.opened()
        start(self, "first events", lambda job: opened.warm_up(job.step), lambda _: None)

    def end(self) -> None:
        """End the application, whatever it is doing; a signal handler may call this."""
        self._told_to_end = True
        if self._own_loop is not None and not self._own_loop.is_closed():
            self._own_loop.call_soon_threadsafe(self.exit)

    def _new_theme(self, _: object) -> None:
        self.look = Look.of(self)
        self.refresh(layout=True)

    async def on_event(self, event: events.Event) -> None:
        """Input comes first: jobs wait until it has been handled."""
        if isinstance(event, events.InputEvent):
            self.busy_until = time.monotonic() + _QUIET
        if isinstance(event, events.Key) and not event.is_forwarded:
            await self._typeahead.take(event)
        else:
            await super().on_event(event)

    # -- views --------------------------------------------------------------------------------

    @property
    def view(self) -> View:
        """The view that is shown."""
        return self.query_one(f"#{self.query_one(ContentSwitcher).current}", View)

    def action_show_view(self, name: str) -> None:
        """See :meth:`show_view`."""
        self.show_view(name)

    def show_view(self, name: str) -> None:
        """Bring a view to the front."""
        if self.model is None:
            self.first_view = name  # it is the one that is shown once the session is open
            return
        self.query_one(ContentSwitcher).current = name
        self.query_one(TabLine).current = name
        self.query_one(f"#{name}", View).on_shown()

    def show_progress(self, name: str, done: int, total: int | None) -> None:
        """Show the progress of a job; it is over when ``done`` is ``total``."""
        if self.model is None:
            self.query_one(Welcome).show_progress(name, done, total)
        for line in self.query(StatusLine):  # none any more where the application ends meanwhile
            line.show_progress(name, done, total)

    def say(self, text: str) -> None:
        """Show a short message in place of earlier ones; names in it are not read as markup."""
        self.clear_notifications()
        self.notify(text, markup=False, timeout=4)

    def notify(self, message: str, **options: Any) -> None:
        """As Textual's; names in messages must not steer the terminal."""
        super().notify(printable(message), **options)

    def show_span(self, start: int, end: int) -> None:
        """Show a stretch of time (ns) in the timeline."""
        if self.model is not None:
            self.remember()
            self.model.go_to_span(start, end)
            self.show_view("timeline")

    def show_time(self) -> None:
        """Bring a view to the front that shows the cursor's time, unless one is."""
        if self.query_one(ContentSwitcher).current not in ("timeline", "events"):
            self.show_view("timeline")

    # -- where the user was -------------------------------------------------------------------

    @property
    def _place(self) -> Place:
        assert self.model is not None
        view = self.query_one(ContentSwitcher).current or "story"
        return Place(view, self.model.cursor, self.model.window)

    def remember(self) -> None:
        """Remember where the user is, before something goes elsewhere."""
        if self.model is not None:
            self._history.leave(self._place)

    def action_revisit(self, back: bool) -> None:
        """Go back to where the user was before, or forward again."""
        if self.model is None:
            return
        step = self._history.back if back else self._history.forward
        place = step(self._place)
        if place is None:
            self.say(f"nowhere to go {'back' if back else 'forward'} to")
            return
        self.model.look_at(*place.window)
        self.model.move_to(place.cursor)
        self.model.look_at(*place.window)
        self.show_view(place.view)

    def action_go(self) -> None:
        """Ask where to go: a time, a date, a name."""
        if self.model is not None:
            ask_place(self, self.model)

    # -- what works in every view -------------------------------------------------------------

    def action_help(self) -> None:
        """Show all keys."""
        self.push_screen(HelpScreen())

    def action_other_theme(self) -> None:
        """Dark to light and back; the palette has more themes."""
        self.theme = "textual-light" if self.current_theme.dark else "textual-dark"

    def action_jump(self) -> None:
        """See :meth:`jump`; in a view that shows it."""
        if self.model is not None:
            self.jump()
            self.show_time()

    def jump(self) -> None:
        """Go to the last event of the old kernel, with what happened around it."""
        if self.model is not None:
            self.remember()
            around = _AROUND_JUMP
            self.model.look_at(-around, around)
            self.model.go(0)

    def action_search(self) -> None:
        """Open the search line."""
        if self.model is not None:
            self.query_one(SearchBar).begin()

    def action_next_match(self, step: int) -> None:
        """To the next match of the search (1), or the one before (-1)."""
        if self.model is not None:
            self.query_one(SearchBar).go(step)

    def action_filter(self) -> None:
        """Open the filter line."""
        if self.model is not None:
            self.query_one(FilterBar).begin()

    def filter_by(self, where: str) -> None:
        """Show only the events that an expression describes."""
        if self.model is not None:
            try:
                self.query_one(FilterBar).apply(where)
            except TracekitError as error:
                self.notify(str(error), severity="error", markup=False)

    def action_toggles(self) -> None:
        """Open the panel that turns CPUs, events, tasks and sources on and off."""
        if self.model is not None:
            self.push_screen(Toggles(self.query_one(FilterBar).apply))

    def action_clear(self) -> None:
        """End the search; if there is none, take the filter away; then the marks."""
        if self.model is None:
            return
        if self.query_one(SearchBar).active:
            self.query_one(SearchBar).clear()
        elif self.model.where:
            self.query_one(FilterBar).apply("")
        elif self.model.marks != (None, None):
            self.model.set_mark(0, None)
            self.model.set_mark(1, None)

    def action_bookmark(self) -> None:
        """Note something about the event under the cursor."""
        if self.model is not None:
            ask_note(self, self.model)

    def action_bookmarks(self) -> None:
        """Show the bookmarks."""
        if self.model is not None:
            list_bookmarks(self, self.model)

    def keep_notes(self) -> None:
        """Save the notes in the session, or say why that failed."""
        if self.model is not None:
            try:
                self.model.notes.save()
            except TracekitError as error:
                self.notify(f"not kept: {error}", severity="warning", markup=False)

    def action_export(self) -> None:
        """Write what is shown to a file; while an export runs, end it."""
        if self.model is not None:
            export(self, self.model, self.view)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the command palette offers: commands, the view's keys, and every phase."""
        system = super().get_system_commands(screen)
        yield from (c for c in system if c.title in ("Theme", "Quit"))
        yield from palette(self, screen)
