"""What a widget may ask of the application it is in: no widget knows the application itself."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from textual.app import App
from textual.widget import Widget

from tui.model import Model
from tui.theme import Look

__all__ = ["Host", "host_of", "look_of"]


class Host(App[None]):
    """``model`` is None until the session at ``path`` is open.

    ``look``: the colours of the theme. ``busy_until``: until when (:func:`time.monotonic`) work in
    threads stands back, because the user has just done something.
    """

    path: Path
    model: Model | None
    look: Look
    busy_until: float

    @abstractmethod
    def say(self, text: str) -> None:
        """A short message instead of those that are there; recorded names in it are no markup."""

    @abstractmethod
    def show_progress(self, name: str, done: int, total: int | None) -> None:
        """Show that a job goes on; over when ``done`` is ``total``."""

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
    def jump(self) -> None:
        """Go to the last event of the old kernel, with what happened around it."""

    @abstractmethod
    def keep_notes(self) -> None:
        """Write the notes into the session, or say why that cannot be."""


def host_of(widget: Widget) -> Host:
    """The application that a widget is in."""
    host = widget.app
    assert isinstance(host, Host)
    return host


def look_of(widget: Widget) -> Look:
    """The colours of the theme of the application that a widget is in."""
    return host_of(widget).look
