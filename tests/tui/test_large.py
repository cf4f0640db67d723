"""Twenty million events in the interface: every view, a filter, a search, from the kept index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot

from tests.support.driver import drive, screen_text, until
from tracekit.text import duration
from tui.app import TracekitApp

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("twenty_million")]
_MANY = 20_000_000


def test_every_view_of_twenty_million_events(twenty_million: Path) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        assert app.model is not None
        model = app.model
        assert model.total >= _MANY
        assert f"{model.total:,} events" in screen_text(app)
        for view in "12345":
            await pilot.press(view)
            await pilot.press("down", "pagedown", "end", "home")
            await pilot.pause()
        await pilot.press("2", *"wwwwd")
        await pilot.pause()
        start, end = model.window
        assert end - start < (model.extent[1] - model.extent[0]) / 8
        await pilot.press("3", "end")
        await pilot.pause()
        assert model.cursor == model.total - 1
        assert duration(model.cursor_ns) in screen_text(app)

    drive(script, twenty_million)


def test_a_filter_of_twenty_million_events(twenty_million: Path) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        assert app.model is not None
        model = app.model
        cpu = int(model.recording.rows.cpu[model.total // 2])
        expected = int(np.count_nonzero(model.recording.rows.cpu == cpu))
        await pilot.press("3", "f", *f"cpu = {cpu}", "enter")
        await until(pilot, lambda: len(model.selection) == expected, "the filter is done")
        await pilot.press("end")
        await pilot.pause()
        assert model.selection.rows is not None
        assert model.cursor == int(model.selection.rows[-1])
        await pilot.press("escape")
        await until(pilot, lambda: len(model.selection) == model.total, "the filter is gone")

    drive(script, twenty_million)


def test_a_search_answers_before_it_is_done(twenty_million: Path) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        assert app.model is not None
        model = app.model
        name = model.recording.event_names[0].partition(":")[2]
        await pilot.press("3", "slash", *name, "enter")
        await until(pilot, lambda: len(model.matches) > 0, "there is a match")
        at = model.cursor
        await pilot.press("n")
        await until(pilot, lambda: model.cursor != at, "the next match")
        assert model.cursor in model.matches
        await pilot.press("q")

    drive(script, twenty_million)
