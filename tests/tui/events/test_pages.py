"""Rows by their place in the table, and the jumps between them."""

from __future__ import annotations

from typing import Any

from textual.pilot import Pilot

from tests.support.views.events_view import events, highlighted, lines
from tui.app import TracekitApp
from tui.events.table import EventsTable
from tui.model import Model


def test_the_jump_is_a_line_across_the_table() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        await pilot.press("0")
        await pilot.pause()
        screen = lines(app)
        (at,) = (n for n, line in enumerate(screen) if "jump: dark 2.002 s" in line)
        assert screen[at - 1].startswith("▌")
        jump = model.cursor
        await pilot.press("j")
        assert model.cursor == jump + 1  # the line is no row
        await pilot.pause()
        (at,) = (n for n, line in enumerate(lines(app)) if "jump: dark" in line)
        assert lines(app)[at + 1].startswith("▌")
        assert boot_of(model, jump) + 1 == boot_of(model, jump + 1)
        await pilot.press("G")
        await pilot.pause()
        assert (table.at, model.cursor) == (model.total - 1, model.total - 1)
        assert highlighted(app)

    events(script)


def boot_of(model: Model, row: int) -> int:
    return int(model.recording.rows.boot[row])
