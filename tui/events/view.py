"""The Events view: the table of events, and the details of the one under the cursor."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container

from tui.events.columns import COLUMNS, Column, argument
from tui.events.details import Details
from tui.events.settings import ChooseColumns, ChooseOrder
from tui.events.table import EventsTable
from tui.view import View

__all__ = ["EventsView"]

_BESIDE = 120  # cells from which the details are at the side


class EventsView(View):
    """The table and the details."""

    title = "Events"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "details", "Details", tooltip="The event's fields and bytes: show or hide"),
        Binding("c", "columns", "Columns", tooltip="Choose the columns"),
        Binding("o", "order", "Sort", tooltip="Sort by a column"),
    ]

    def compose(self) -> ComposeResult:
        with Container(id="events-body"):
            yield EventsTable(self.model, id="events-table")
            yield Details(self.model, id="events-details")

    def on_resize(self, event: events.Resize) -> None:
        """Put the details beside the table if there is room."""
        self.query_one("#events-body").set_class(event.size.width >= _BESIDE, "beside")

    @property
    def table(self) -> EventsTable:
        """The table."""
        return self.query_one(EventsTable)

    def shown_order(self) -> npt.NDArray[Any] | None:
        """The events as they are sorted."""
        return self.table.pages.shown.order

    def action_details(self) -> None:
        """Show the details, or hide them."""
        pane = self.query_one(Details)
        pane.display = not pane.display
        if not pane.display:
            self.table.focus()

    def _columns(self) -> list[Column]:
        """All columns that can be shown, also those of the cursor event's arguments."""
        table = self.table
        event = table.pages.event(table.at)
        names = self.model.recording.fields(np.array([event.at]))[0] if event else {}
        columns = [*COLUMNS, *table.columns, *(argument(name) for name in names)]
        return list(dict.fromkeys(columns))

    def action_columns(self) -> None:
        """Choose the columns."""
        table = self.table
        shown = [column.key for column in table.columns]

        def chosen(keys: list[str] | None) -> None:
            if keys is not None:
                table.choose(keys)

        self.app.push_screen(ChooseColumns(self._columns(), shown), chosen)

    def action_order(self) -> None:
        """Choose what the table is sorted by."""
        self.app.push_screen(ChooseOrder(self._columns(), self.table.sort), self._sort)

    def on_events_table_sorted(self, message: EventsTable.Sorted) -> None:
        """A title was clicked."""
        self._sort(message.key)

    def _sort(self, key: str | None) -> None:
        table = self.table
        if key is not None:
            old, descending = table.sort or ("time", False)
            table.sort_by(key, not descending if key == old else False)
