"""The columns: what is in them, which there is room for, and ways to tell time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import OptionList

from tests.support.views.events_view import events, highlighted, lines
from tui.app import TracekitApp
from tui.events.table import EventsTable
from tui.model import Model


def test_rows_are_the_timelines(session: Callable[[str], Path]) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        await pilot.press("c")
        listed = app.screen.query_one(OptionList)
        for at in range(listed.option_count):
            listed.highlighted = at
            text = str(listed.get_option_at_index(at).prompt)
            if text.startswith("[ ]"):
                await pilot.press("space")
        await pilot.press("enter")
        await pilot.pause()
        table_ = model.recording.table(slice(0, 10)).to_pylist()
        shown = lines(app)[2:12]
        for row, line in zip(table_, shown, strict=True):
            words = line.strip("▌ ").split()
            ns = row["ts_ns"]
            assert words[0] == f"{ns / 1e9:.9f}"
            assert str(row["cpu"]) in words
            assert f"{row['comm'] or '<...>'}-{row['pid']}" in line
            assert row["event"][:20] in line
            assert str(row["ts_raw"]) in words

    events(script, session("handover-7.2-to-7.3-tsc"), (250, 80))


def test_time_by_the_jump_by_the_clock_and_as_recorded() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        await pilot.press("0", "t")
        await pilot.pause()
        assert "UTC" in lines(app)[1]
        assert "19:01:11.519426" in highlighted(app)  # CLOCK_REALTIME of the old kernel
        await pilot.press("t")
        await pilot.pause()
        assert str(model.recording.rows.ts_raw[model.cursor]) in highlighted(app)
        await pilot.press("t")
        await pilot.pause()
        assert " 0.000000 " in highlighted(app)

    events(script)


def test_more_columns_where_there_is_room() -> None:
    def titles(app: TracekitApp) -> list[str]:
        return lines(app)[1].split()

    for size, expected in (
        ((60, 20), "seconds cpu task event arguments"),
        ((100, 30), "seconds Δ cpu task event arguments"),
        ((250, 80), "seconds Δ cpu boot task event arguments flags from"),
    ):

        async def script(
            app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable,
            expected: str = expected,
        ) -> None:  # fmt: skip
            assert titles(app) == expected.split()
            assert all(len(line) <= app.size.width for line in lines(app))

        events(script, size=size)
