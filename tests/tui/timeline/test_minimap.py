"""The minimap: where the window is, and the mouse that moves it."""

from __future__ import annotations

import pytest

from tests.support.views.timeline_view import OLD, Piloted, timeline
from tui.app import TracekitApp
from tui.model import Model
from tui.timeline.minimap import Minimap
from tui.timeline.state import GUTTER, LaneState


def test_the_minimap_moves_the_window() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.look_at(-OLD, 0)
        await pilot.pause()
        scale = app.query_one(Minimap).scale
        at = scale.cell(-10 * 10**9)
        await pilot.mouse_down(Minimap, offset=(GUTTER + at, 0))
        start, end = model.window
        assert start <= scale.ns(at + 0.5) <= end and end - start == OLD
        await pilot.hover(Minimap, offset=(GUTTER + at + 10, 1))
        await pilot.mouse_up(Minimap, offset=(GUTTER + at + 10, 1))
        moved = scale.ns(at + 10) - scale.ns(at)
        assert model.window[0] - start == pytest.approx(moved, rel=0.01)
        line = app.query_one(Minimap).render_line(1).text[GUTTER:]
        assert line[at + 10] == "▀" and line.count("▀") == 1
        dark = app.query_one(Minimap).render_line(0).text[GUTTER:]
        assert dark[scale.cell(10**9)] == "░" and dark[scale.cell(0)] != "░"

    timeline(script)
