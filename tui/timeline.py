"""The Timeline view."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from tui.view import View

__all__ = ["TimelineView"]


class TimelineView(View):
    """To be."""

    title = "Timeline"

    def compose(self) -> ComposeResult:
        yield Static("Timeline")
