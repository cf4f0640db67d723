"""The timeline: how it looks, every key, and sessions that hold hardly anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from textual.widgets import ContentSwitcher

from tests.support.driver import drive, matches_snapshot, screen_text, until
from tests.support.ring.region_writer import layout_615
from tests.support.session_trees import make_session
from tests.support.textual_state import messages
from tests.support.views.timeline_view import OLD, Piloted, choose, ring_of, timeline
from tracekit.query.selection import Selection
from tui.app import TracekitApp
from tui.model import Model
from tui.timeline.state import LaneState
from tui.timeline.view import TimelineView


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_it_looks_as_it_did(size: tuple[int, int]) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        name = f"{size[0]}x{size[1]}"
        await matches_snapshot(pilot, f"timeline-all-{name}")
        model.look_at(-OLD, 0)
        model.go(-2_890_503)
        await pilot.pause()
        await matches_snapshot(pilot, f"timeline-old-{name}")
        model.look_at(-100_000, 100_000)
        await pilot.pause()
        await matches_snapshot(pilot, f"timeline-jump-{name}")

    timeline(script, size=size)


def test_zoom_and_pan() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.look_at(-OLD, 0)
        model.go(-2_890_503)
        for closer, wider in (("w", "s"), ("plus", "minus"), ("equals_sign", "s")):
            before = model.window
            await pilot.press(closer)
            start, end = model.window
            assert end - start == pytest.approx((before[1] - before[0]) / 2, abs=2)
            share = (model.cursor_ns - start) / (end - start)
            assert share == pytest.approx((model.cursor_ns - before[0]) / (before[1] - before[0]),
                                          abs=1e-3)  # fmt: skip
            await pilot.press(wider)
            assert model.window == pytest.approx(before, abs=4)
        for left, right in (("a", "d"), ("shift+left", "shift+right")):
            before, row = model.window, model.cursor
            by = (before[1] - before[0]) // 4
            await pilot.press(right)
            assert model.window == pytest.approx((before[0] + by, before[1] + by), abs=4)
            await pilot.press(left)
            assert model.window == pytest.approx(before, abs=4)
            assert model.cursor == row
        for _ in range(60):
            await pilot.press("w")
        assert model.window[1] - model.window[0] == 40
        assert model.window[0] <= model.cursor_ns < model.window[1]
        await pilot.press("z")
        assert model.window == model.extent

    timeline(script)


@pytest.mark.parametrize(("forward", "back"), [("right", "left"), ("l", "h")])
def test_to_the_next_event_of_the_lane(forward: str, back: str) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        choose(state, "CPU 1")
        rows = state.lane.rows
        model.move_to(int(rows[500]))
        await pilot.press(forward)
        assert model.cursor == rows[501]
        await pilot.press(back, back)
        assert model.cursor == rows[499]
        model.look_at(-OLD, 0)
        await pilot.press(forward)
        assert model.window[0] <= model.cursor_ns < model.window[1]
        await pilot.press("G", forward)
        assert model.cursor == rows[-1]
        await pilot.press("home", back)
        assert model.cursor == rows[0]
        await pilot.press("end")
        assert model.cursor == rows[-1]
        await pilot.press("home")
        assert model.cursor == rows[0]

    timeline(script)


def test_to_the_next_span_and_into_it() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        choose(state, "phases")
        model.go(-6_984_409)
        names = []
        for _ in range(5):
            await pilot.press("right")
            assert state.span is not None
            names.append(state.span.label)
        assert names == [
            "kernel_kexec", "liveupdate", "notifiers", "device shutdown", "migrate",
        ]  # fmt: skip
        await pilot.press("left")
        assert state.span is not None and state.span.label == "device shutdown"
        await pilot.press("enter")
        start, end = model.window
        span = state.span
        assert start < span.start_ns < span.end_ns < end
        assert end - start < 1.2 * (span.end_ns - span.start_ns)
        await pilot.press("end")
        assert state.span.label == "first user process"
        await pilot.press("home")
        assert state.span.label == "kexec load"

    timeline(script)


def test_to_the_next_of_a_kind() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        rows = model.index.events.rows(model.recording.event_names.index("device:shutdown"))
        model.move_to(int(rows[3]))
        await pilot.press("e")
        assert model.cursor == rows[4]
        await pilot.press("E", "E")
        assert model.cursor == rows[2]
        model.select(Selection(model.total, rows[::4].copy()), "some")
        model.move_to(int(rows[4]))
        await pilot.press("e")
        assert model.cursor == rows[8]
        model.move_to(int(rows[20]))
        await pilot.press("e")
        assert model.cursor == rows[20]
        assert messages(app) == ["no later device:shutdown"]

    timeline(script)


def test_to_the_next_gap() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        choose(state, "CPU 0")
        rows, ts = state.lane.rows, model.ts_ns
        least = (model.extent[1] - model.extent[0]) // 16
        wide = rows[:-1][np.diff(ts[rows]) >= least].tolist()
        assert wide
        model.move_to(int(rows[0]))
        found = []
        for _ in wide:
            await pilot.press("right_square_bracket")
            found.append(model.cursor)
        assert found == wide
        await pilot.press("right_square_bracket")
        assert model.cursor == wide[-1]
        assert messages(app)[0].startswith("CPU 0: no later gap of 1.126 s;")
        model.move_to(int(rows[-1]))
        await pilot.press("left_square_bracket")
        assert model.cursor == wide[-1]
        choose(state, "phases")
        await pilot.press("left_square_bracket")
        assert model.cursor == wide[-1]
        assert messages(app)[0].startswith("gaps are between events")

    timeline(script)


@pytest.mark.parametrize("at_once", [0, 1 << 20])
def test_a_long_search_is_a_job(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.timeline.view._AT_ONCE", at_once)

    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        rows = model.index.events.rows(model.recording.event_names.index("irq:irq_handler_entry"))
        model.select(Selection(model.total, rows[::3].copy()), "some")
        await until(pilot, lambda: state.current, "the lanes follow")
        model.move_to(int(rows[30]))
        await pilot.press("e")
        await until(pilot, lambda: model.cursor == rows[33], "the next of its kind")
        choose(state, "CPU 1")
        mine, least = state.lane.rows, (model.window[1] - model.window[0]) // 16
        wide = mine[:-1][np.diff(model.ts_ns[mine]) >= least]
        expected = int(wide[wide > model.cursor][0])
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: model.cursor == expected, "the next gap")

    timeline(script)


def test_marks_are_zoomed_to() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.go(-1_195_762)
        await pilot.press("m")
        model.go(-6_984_409)
        await pilot.press("m", "z")
        start, end = model.window
        assert start < -6_984_409 and end > -1_195_762 and end - start < 6_500_000

    timeline(script)


def test_enter_shows_the_event_in_the_table() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        await pilot.press("right", "enter")
        await pilot.pause()
        assert app.query_one(ContentSwitcher).current == "events"

    timeline(script)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(60, 20), (80, 24), (250, 80)])
@pytest.mark.parametrize("events", [0, 1, 2])
def test_hardly_any_events(events: int, size: tuple[int, int], tmp_path: Path) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        assert [lane.name for lane in state.lanes] == ["CPU 0"]
        keys = ["w", "s", "a", "d", "left", "right", "up", "down", "e", "E", "m", "m", "m", "z",
                "t", "home", "end", "left_square_bracket", "right_square_bracket"]  # fmt: skip
        await pilot.press(*keys)
        await pilot.pause()
        text = screen_text(app)
        assert "CPU 0" in text and ("no events" in text) == (events == 0)
        if events == 1:
            model.look_at(*model.extent)
            await pilot.pause()
            assert "some_function" in text

    timeline(script, make_session(tmp_path, layout_615([ring_of(events)])), size)


def test_nothing_is_counted_before_it_is_shown() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        state = app.query_one(TimelineView).state
        for _ in range(10):
            await pilot.pause(0.01)
        assert not state.ready
        await pilot.press("2")
        await until(pilot, lambda: state.ready, "there are lanes")

    drive(script)
