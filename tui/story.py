"""The Story view."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from tui.view import View

__all__ = ["StoryView"]


class StoryView(View):
    """To be."""

    title = "Story"

    def compose(self) -> ComposeResult:
        yield Static("Story")
