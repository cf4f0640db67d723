"""What the parts of the timeline share: its scale, and the lane that is chosen."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.support.driver import screen_text
from tests.support.views.timeline_view import Piloted, choose, timeline
from tui.app import TracekitApp
from tui.model import Model
from tui.timeline.state import LaneState, Scale


def test_lanes_are_chosen() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        assert state.lane.name == "CPU 0"  # that of the cursor
        await pilot.press("down")
        assert state.lane.name == "CPU 1"
        await pilot.press("j", "down")
        assert state.lane.name == "CPU 1"
        await pilot.press("k", "up")
        assert state.lane.name == "markers"
        assert "▸markers" in screen_text(app)
        await pilot.press(*["up"] * 20)
        assert state.chosen == 0

    timeline(script)


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**12), st.integers(1, 240), st.data())
def test_a_cell_has_the_instants_from_its_edge_to_the_next(
    start: int, length: int, cells: int, data: st.DataObject
) -> None:
    scale = Scale(start, start + length, cells)
    ns = data.draw(st.integers(start - 5, start + length + 5))
    cell = scale.cell(ns)
    if ns < start:
        assert cell == -1
    elif ns >= start + length:
        assert cell == cells
    else:
        assert scale.times[cell] <= ns < scale.times[cell + 1]


def test_the_lane_is_that_of_the_event_that_was_chosen_elsewhere() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        cpus = model.recording.rows.cpu
        for cpu in (1, 0, 1):
            await pilot.press("3")
            model.move_to(int(np.flatnonzero(cpus == cpu)[50]))
            await pilot.press("enter")
            assert state.lane.name == f"CPU {cpu}"
        choose(state, "BPF probes")  # which has the event: it stays
        await pilot.press("0", "3", "enter")
        assert state.lane.name == "BPF probes"

    timeline(script)
