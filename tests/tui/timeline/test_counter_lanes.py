"""Lanes of counters: bars as high as the values, what they say, and steps from change to change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.support.driver import screen_text
from tests.support.views.timeline_view import Piloted, choose, lane_lines, timeline
from tracekit.analysis.counters import UNKNOWN
from tui.app import TracekitApp
from tui.model import Model
from tui.theme import RAMP
from tui.timeline.state import LaneState

LANES = ["softirqs", "runnable", "CPU 0", "CPU 1"]


def with_counters(model: Model, state: LaneState, *lanes: str) -> None:
    model.notes.lanes = list(lanes)
    state.take(state.make(model.selection, lambda: None))


def test_a_bar_is_as_high_as_the_most_of_its_cell(session: Callable[[str], Path]) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        with_counters(model, state, *LANES)
        choose(state, "CPU 1")
        first, last = model.extent
        model.go(last)
        for window in ((first, last), (first, first + (last - first) // 300)):
            model.look_at(*window)
            await pilot.pause()
            scale = state.scale(app.size.width)
            counter = state.lanes[0].counter
            assert counter is not None
            most = counter.most(np.array(scale.times))
            assert 0 < most.max() <= 6
            above, below = lane_lines(app, "softirqs")
            for cell, value in enumerate(most.tolist()):
                if above[cell] in "╎┊┆" or below[cell] in "╎┊┆":
                    continue  # the cursor
                height = int(np.ceil(max(0, value) * 16 / most.max()))
                line = "╌" if value == 0 else RAMP[min(height, 8)]
                assert (above[cell], below[cell]) == (RAMP[max(0, height - 8)], line)
            assert f"≤ {most.max()}" in screen_text(app)

    timeline(script, session("same-boot-wide-7.2"), size=(120, 40))


def test_it_tells_the_value_and_steps_from_change_to_change(
    session: Callable[[str], Path],
) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        with_counters(model, state, *LANES)
        choose(state, "softirqs")
        counter = state.lane.counter
        assert counter is not None
        await pilot.press("home")
        for number in range(3):
            await pilot.pause()
            assert model.cursor_ns == int(counter.at[number])
            assert f"softirqs ▸ {int(counter.value[number])}  softirqs that are raised" in (
                screen_text(app)
            )
            await pilot.press("right")
        await pilot.press("left", "left")
        assert model.cursor_ns == int(counter.at[1])
        await pilot.press("end")
        assert model.cursor_ns == int(counter.at[-1])

    timeline(script, session("same-boot-wide-7.2"), size=(120, 40))


def test_where_nothing_is_known_it_says_so() -> None:
    """In the dark there is no number; the new kernel's switches were not recorded."""

    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        with_counters(model, state, "runnable", "task 76@0", "CPU 0")
        model.look_at(-(10**9), 3 * 10**9)
        await pilot.pause()
        jump, end = (state.scale(120).cell(ns) for ns in (0, state.dark[0].end_ns))
        for name in ("runnable", "task 76@0"):
            assert all("░" in line[jump + 1 : end] for line in lane_lines(app, name)), name
        choose(state, "runnable")
        counter = state.lane.counter
        assert counter is not None and UNKNOWN not in counter.value
        model.look_at(model.extent[0], model.extent[1])
        first = int(counter.at[0])
        assert counter.place(first - 1) == UNKNOWN
        if model.ts_ns[0] < first:
            model.go(model.ts_ns[0])
            await pilot.pause()
            assert "runnable ▸ unknown" in screen_text(app)

    timeline(script, size=(120, 40))
