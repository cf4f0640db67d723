"""Choosing columns and the order."""

from __future__ import annotations

from typing import Any

import numpy as np
from textual.pilot import Pilot
from textual.widgets import OptionList

from tests.support.driver import screen_text, until
from tests.support.views.events_view import events, highlighted, lines, sorted_by
from tui.app import TracekitApp
from tui.events.table import EventsTable
from tui.model import Model


def test_columns_are_chosen_also_of_arguments() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        codes = model.recording.name_codes(slice(None))
        switch = model.recording.event_names.index("sched:sched_switch")
        model.move_to(int(np.flatnonzero(codes == switch)[0]))
        await pilot.press("c")
        listed = app.screen.query_one(OptionList)
        prompts = [str(o.prompt) for o in listed.options]
        assert prompts[0].startswith("[x] time")
        listed.highlighted = next(n for n, p in enumerate(prompts) if "next_comm" in p)
        await pilot.press("space")
        listed.highlighted = 0
        await pilot.press("x", "j", "k", "enter")
        await pilot.pause()
        header = lines(app)[1]
        assert "next_comm" in header and "seconds" not in header
        typed = model.recording.fields(np.array([model.cursor]))[0]["next_comm"]
        assert typed in highlighted(app)
        assert header.index("arguments") > header.index("next_comm")
        await pilot.press("c", "a")
        await pilot.pause()
        assert "seconds" in lines(app)[1] and "next_comm" not in lines(app)[1]

    events(script)


def test_sorting_by_keys_and_by_the_mouse() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        model.move_to(777)
        await pilot.press("o", "j", "enter")  # the second is the time since the row before
        await sorted_by(pilot, table, ("delta", False))
        assert (model.cursor, table.pages.row(table.at)) == (777, 777)
        await pilot.press("o", "enter")  # turned round: the longest silence is the first
        await sorted_by(pilot, table, ("delta", True))
        await pilot.press("home")
        await pilot.pause()
        times = model.ts_ns
        assert model.cursor == int(np.argmax(np.diff(times))) + 1
        assert "jump" not in screen_text(app)
        x = lines(app)[1].index("task")
        await pilot.click(table, offset=(x, 0))
        await sorted_by(pilot, table, ("task", False))
        assert "task▲" in lines(app)[1]
        await pilot.click(table, offset=(x, 0))
        await sorted_by(pilot, table, ("task", True))
        assert "task▼" in lines(app)[1]
        x = lines(app)[1].index("seconds")
        await pilot.click(table, offset=(x, 0))
        await until(pilot, lambda: table.sort is None, "by time again")
        assert table.pages.shown.order is None

    events(script)
