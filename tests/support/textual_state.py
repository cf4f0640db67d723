"""What Textual keeps to itself and tests have to know: its private names are used here only."""

from __future__ import annotations

from typing import Any

from textual.app import App
from textual.widgets import Input

__all__ = ["messages", "suggestion"]


def messages(app: App[Any]) -> list[str]:
    """What the application has told its user."""
    return [one.message for one in app._notifications]


def suggestion(line: Input) -> str:
    """How a line would be completed."""
    return line._suggestion
