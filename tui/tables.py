"""The Tables view."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from tui.view import View

__all__ = ["TablesView"]


class TablesView(View):
    """To be."""

    title = "Tables"

    def compose(self) -> ComposeResult:
        yield Static("Tables")
