"""The Events view."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from tui.view import View

__all__ = ["EventsView"]


class EventsView(View):
    """To be."""

    title = "Events"

    def compose(self) -> ComposeResult:
        yield Static("Events")
