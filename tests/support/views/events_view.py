"""The Events view under test: opening it, and reading its lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import ContentSwitcher

from tests.support.driver import drive, screen_text, until
from tui.app import TracekitApp
from tui.events.table import EventsTable
from tui.model import Model

Script = Callable[[TracekitApp, Pilot[Any], Model, EventsTable], Any]


def events(
    script: Script, path: Path | None = None, size: tuple[int, int] = (80, 24), **options: Any
) -> None:
    """Run ``script`` with the Events view in front."""

    async def run(app: TracekitApp, pilot: Pilot[Any]) -> None:
        await pilot.pause()
        assert app.model is not None
        table = app.query_one("#events-table", EventsTable)
        await until(pilot, lambda: table.has_focus, "the table has the focus")
        await script(app, pilot, app.model, table)

    drive(run, path, size, view="events", **options)


def lines(app: TracekitApp) -> list[str]:
    return screen_text(app).splitlines()


def highlighted(app: TracekitApp) -> str:
    """The line of the cursor."""
    (line,) = (line for line in lines(app) if line.startswith("▌"))
    return line


def view(app: TracekitApp) -> str | None:
    return app.query_one(ContentSwitcher).current


async def sorted_by(pilot: Pilot[Any], table: EventsTable, sort: tuple[str, bool] | None) -> None:
    await until(pilot, lambda: table.sort == sort, f"sorted by {sort}")
    await pilot.pause()
