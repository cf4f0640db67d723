"""The Kho view."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from tui.view import View

__all__ = ["KhoView"]


class KhoView(View):
    """To be."""

    title = "KHO"

    def compose(self) -> ComposeResult:
        yield Static("Kho")
