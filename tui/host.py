"""The interface of the application as its widgets see it: none of them imports the application."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from textual.app import App
from textual.filter import LineFilter
from textual.widget import Widget

from tui.model import Model
from tui.plain import Plain
from tui.theme import Look

__all__ = ["Host", "host_of", "look_of"]


class Host(App[None]):
    """``model`` is None until the session at ``path`` is open.

    ``may_export``: whether files may be written, other than the session's notes and index.

    ``look``: the colours of the theme. ``busy_until``: until when (:func:`time.monotonic`) work in
    threads pauses, after input.
    """

    path: Path
    may_export: bool
    model: Model | None
    look: Look
    busy_until: float

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What is drawn passes these; ``NO_COLOR`` takes all colours out, greys too."""
        if not self.no_color:
            return super().get_line_filters()
        colors = self.get_css_variables()
        return [Plain(tuple(colors[name] for name in ("surface", "panel", "background")))]

    @abstractmethod
    def say(self, text: str) -> None:
        """Show a short message in place of earlier ones; names in it are not read as markup."""

    @abstractmethod
    def show_progress(self, name: str, done: int, total: int | None) -> None:
        """Show the progress of a job; it is over when ``done`` is ``total``."""

    @abstractmethod
    def show_span(self, start: int, end: int) -> None:
        """Show a stretch of time (ns) in the timeline."""

    @abstractmethod
    def filter_by(self, where: str) -> None:
        """Show only the events that an expression describes."""

    @abstractmethod
    def show_view(self, name: str) -> None:
        """Bring a view to the front."""

    @abstractmethod
    def show_time(self) -> None:
        """Bring a view to the front that shows the cursor's time, unless one is."""

    @abstractmethod
    def remember(self) -> None:
        """Remember where the user is, before something goes elsewhere: ``<`` comes back here."""

    @abstractmethod
    def jump(self) -> None:
        """Go to the last event of the old kernel, with what happened around it."""

    @abstractmethod
    def keep_notes(self) -> None:
        """Save the notes in the session, or say why that failed."""


def host_of(widget: Widget) -> Host:
    """The application that a widget is in."""
    host = widget.app
    assert isinstance(host, Host)
    return host


def look_of(widget: Widget) -> Look:
    """The colours of the theme of the application that a widget is in."""
    return host_of(widget).look
