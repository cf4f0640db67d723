"""The base class of views: a container that is mounted once the session is open."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
from textual.containers import Vertical

from tui.host import look_of
from tui.model import Model
from tui.theme import Look

__all__ = ["View"]


class View(Vertical):
    """One screenful. Subclasses say in ``title`` what their tab is called."""

    title = ""

    def __init__(self, model: Model, *, id: str) -> None:
        super().__init__(id=id)
        self.model = model

    @property
    def look(self) -> Look:
        """The colours of the theme."""
        return look_of(self)

    def shown_table(self) -> tuple[str, list[dict[str, object]]] | None:
        """(title, rows) of a table other than the events', for an export."""
        return None

    def shown_order(self) -> npt.NDArray[Any] | None:
        """The rows in the order that the view shows them; None: by time."""
        return None

    def on_shown(self) -> None:
        """Called when the view comes to the front: put the focus where it belongs."""
        for widget in self.query("*"):
            if widget.focusable:
                widget.focus()
                return
