"""The lanes: every event in its cell, spans, what they say, and the mouse on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.driver import screen_text, until
from tests.support.ring.region_writer import RingBuffer, layout_615
from tests.support.session_trees import make_session
from tests.support.views.timeline_view import (
    OLD,
    Piloted,
    choose,
    first_cpu,
    lane_lines,
    ring_of,
    ruler,
    timeline,
    wheel,
)
from tracekit.query.selection import Selection
from tui.app import TracekitApp
from tui.model import Model
from tui.timeline.lanes import Lanes
from tui.timeline.state import GUTTER, LaneState


def test_the_jump_and_the_dark_are_in_all_lanes() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.look_at(-(10**9), 3 * 10**9)
        model.go(-(10**9))
        await pilot.pause()
        scale = state.scale(120)
        jump, end = scale.cell(0), scale.cell(state.dark[0].end_ns)
        assert ruler(app)[GUTTER + jump :].startswith("┃0 jump")
        for lane in state.lanes:
            drawn = lane_lines(app, lane.name)
            assert all("░" in line[jump + 1 : end] for line in drawn), lane.name
            assert all("░" not in line[:jump] for line in drawn), lane.name
            recorded = drawn[:-1] if lane.kind == "cpu" else drawn
            assert all("░" not in line[end + 1 :] for line in recorded), lane.name
            if lane.kind == "cpu":  # no task switches were recorded in the new kernel
                assert set(drawn[-1][end + 1 :]) <= set("░ task unknown"), lane.name
        assert any("┃" in line for line in lane_lines(app, "initcalls"))
        for cpu in ("CPU 0", "CPU 1"):
            assert "dark 2.002 s ± 17.0 µs" in lane_lines(app, cpu)[0]
        assert "dark: until the new kernel" in lane_lines(app, "phases")[0]

    timeline(script, size=(120, 40))


def test_cells_stand_for_the_events_in_them() -> None:
    """Every cell that has an event shows something, and no other one does."""

    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        for window in ((-OLD, 0), (-(10**10), -(10**9)), (2 * 10**9, 4 * 10**9)):
            model.look_at(*window)
            model.go(window[0])
            await pilot.pause()
            scale = state.scale(80)
            skipped = scale.cell(model.cursor_ns), scale.cell(0)
            for name in ("CPU 0", "CPU 1"):
                lane = state.lanes[[each.name for each in state.lanes].index(name)]
                ns = model.ts_ns[lane.rows]
                inside = ns[(ns >= scale.start) & (ns < scale.end)]
                filled = {scale.cell(t) for t in inside.tolist()} - set(skipped)
                (bottom,) = lane_lines(app, name)[-2:-1]  # above what runs
                drawn = {
                    cell
                    for cell, c in enumerate(bottom)
                    if c in "▁▂▃▄▅▆▇█│┃" and cell not in skipped
                }
                assert drawn == filled

    timeline(script)


def test_events_have_labels_where_there_is_room() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        cpu = next(lane for lane in state.lanes if lane.name == "CPU 1")
        switches = model.index.events.rows(model.recording.event_names.index("sched:sched_switch"))
        mine = np.intersect1d(cpu.rows, switches)
        row = next(int(r) for r in mine[100:] if model.ts_ns[r + 1] - model.ts_ns[r] > 10_000)
        ns = int(model.ts_ns[row])
        model.look_at(ns - 5_000, ns + 5_000)
        await pilot.pause()
        first, second, *_ = lane_lines(app, "CPU 1")
        told = model.recording.fields(np.array([row]))[0]["next_comm"]
        assert "│sched_switch" in first
        assert f"→ {told}" in second

    timeline(script, size=(120, 40))


def test_spans_have_their_names_and_slivers_are_seen() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.look_at(-OLD, 0)
        model.go(-OLD)
        await pilot.pause()
        phases = lane_lines(app, "phases")[0]
        assert "device shutdown 4.15 ms" in phases
        assert "▏notifiers" in phases
        scale = state.scale(120)
        drawn = ["".join(column) for column in zip(*lane_lines(app, "devices"), strict=True)]
        for device in model.report.devices:
            assert device.start_ns is not None
            assert drawn[scale.cell(device.start_ns)].strip(" ╎"), device.name

    timeline(script, size=(120, 40))


def test_a_filter_leaves_its_events_only() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        rows = model.index.events.rows(model.recording.event_names.index("device:shutdown"))
        model.select(Selection(model.total, rows), "event = device:shutdown")
        await until(pilot, lambda: state.current, "the lanes follow")
        shown = {lane.name: len(lane.rows) for lane in state.shown if lane.kind != "spans"}
        assert shown == {
            "kernel log": 0, "BPF probes": 24, "markers": 0, "CPU 0": 24, "CPU 1": 0,
        }  # fmt: skip
        model.look_at(-(10**10), -(10**9))
        await pilot.pause()
        assert not set(lane_lines(app, "CPU 0")[0]) & set("▁▂▃▄▅▆▇█│┃")
        choose(state, "CPU 0")
        model.move_to(int(rows[0]))
        await pilot.press("right")
        assert model.cursor == rows[1]

    timeline(script)


def test_what_a_search_found_stands_out() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.look_at(-OLD, 0)
        model.go(-OLD)
        code = model.recording.event_names.index("device:shutdown")
        rows = model.index.events.rows(code)
        model.set_matches(rows)
        await pilot.pause()
        lanes = app.query_one(Lanes)
        place = lanes.places[[lane.name for lane in state.lanes].index("CPU 0")]
        cells: list[bool] = []
        for segment in lanes.render_line(place.top + place.rows - 2):
            told = segment.style is not None and bool(segment.style.underline)
            cells += [told] * len(segment.text)
        found = {cell - GUTTER for cell, told in enumerate(cells) if told}
        assert found == {state.scale(80).cell(int(model.ts_ns[row])) for row in rows}

    timeline(script)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((60, 16), [False, True, False, False]), ((80, 24), [True, True, False, True])],
)
def test_the_line_of_tasks_comes_and_goes(size: tuple[int, int], expected: list[bool]) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        seen = []
        for _ in range(4):
            seen.append(" runs " in screen_text(app))
            await pilot.press("t")
            await pilot.pause()
        assert seen == expected  # where there is room, always, never; and again

    timeline(script, size=size)


def test_the_wheel_zooms_around_the_pointer_and_pans() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.look_at(-OLD, 0)
        x = GUTTER + 20
        before = model.window
        under = state.scale(80).ns(20.5)
        await wheel(app, pilot, "MouseScrollUp", x)
        assert model.window[1] - model.window[0] == pytest.approx(0.8 * OLD, rel=1e-3)
        assert state.scale(80).ns(20.5) == pytest.approx(under, abs=3)
        await wheel(app, pilot, "MouseScrollDown", x)
        assert model.window == pytest.approx(before, abs=4)
        for there, back, options in (
            ("MouseScrollDown", "MouseScrollUp", {"shift": True}),
            ("MouseScrollRight", "MouseScrollLeft", {}),
        ):
            await wheel(app, pilot, there, x, **options)
            assert model.window[0] == pytest.approx(before[0] + OLD // 10, abs=4)
            await wheel(app, pilot, back, x, **options)
            assert model.window == pytest.approx(before, abs=4)

    timeline(script)


def test_a_drag_pans() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.look_at(-OLD, 0)
        row, (start, end) = model.cursor, model.window
        await pilot.mouse_down(Lanes, offset=(GUTTER + 40, 3))
        await pilot.hover(Lanes, offset=(GUTTER + 20, 3))
        await pilot.mouse_up(Lanes, offset=(GUTTER + 20, 3))
        by = (end - start) * 20 // (80 - GUTTER)
        assert model.window == pytest.approx((start + by, end + by), abs=4)
        await pilot.hover(Lanes, offset=(GUTTER + 30, 3))
        assert model.window == pytest.approx((start + by, end + by), abs=4)
        assert model.cursor == row

    timeline(script)


def test_a_click_chooses_the_nearest_event() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.look_at(-OLD, 0)
        await pilot.pause()
        number = [lane.name for lane in state.lanes].index("CPU 1")
        top = app.query_one(Lanes).places[number].top
        await pilot.click(Lanes, offset=(GUTTER + 30, top))
        await pilot.pause()
        ns = state.scale(80).ns(30.5)
        rows = state.lanes[number].rows
        distances = np.abs(model.ts_ns[rows] - ns)
        assert state.chosen == number
        assert model.cursor == rows[int(distances.argmin())]
        row = model.cursor
        await pilot.click(Lanes, offset=(3, 0))  # a name
        await pilot.pause()
        assert (state.chosen, model.cursor) == (0, row)

    timeline(script)


def test_a_double_click_goes_into_a_span() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.look_at(-OLD, 0)
        await pilot.pause()
        at = GUTTER + state.scale(80).cell(-4_900_000)
        await pilot.click(Lanes, offset=(at, 0), times=2)
        await pilot.pause()
        span = state.span
        assert span is not None and span.label == "device shutdown"
        assert model.window[0] == pytest.approx(span.start_ns, abs=300_000)
        assert model.window[1] == pytest.approx(span.end_ns, abs=300_000)

    timeline(script)


def test_a_cpu_of_no_events_has_an_empty_lane(tmp_path: Path) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        assert [(lane.name, len(lane.rows)) for lane in state.lanes] == [
            ("CPU 0", 50),
            ("CPU 1", 0),
        ]
        row = model.cursor
        choose(state, "CPU 1")
        await pilot.press("right", "left", "home", "end", "right_square_bracket")
        assert model.cursor == row
        await pilot.press("z")
        assert not set("".join(lane_lines(app, "CPU 1"))) - set(" ╎")

    timeline(script, make_session(tmp_path, layout_615([ring_of(50), RingBuffer(4)])))


def test_lost_events_are_at_the_name_of_their_cpu(tmp_path: Path) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        text = screen_text(app)
        assert "▸CPU 0 ‼" in text
        assert "CPU 0: an unknown number of events lost in boot 0" in text

    timeline(script, make_session(tmp_path, layout_615([ring_of(3000)])))


@pytest.mark.slow
def test_many_cpus_scroll(tmp_path: Path) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        assert len(state.lanes) == 256
        assert "CPU 0 " in screen_text(app) and "CPU 200" not in screen_text(app)
        await pilot.press(*["down"] * 200)
        await pilot.pause()
        assert "▸CPU 200" in screen_text(app)
        assert "session" in screen_text(app) and "┗━" in screen_text(app)
        lanes = app.query_one(Lanes)
        assert lanes.places[255].top == 255
        await wheel(app, pilot, "MouseScrollDown", 2)
        first = first_cpu(app)
        await wheel(app, pilot, "MouseScrollUp", 2)
        assert first_cpu(app) == first - 1

    rings = [ring_of(3) for _ in range(256)]
    timeline(script, make_session(tmp_path, layout_615(rings)))


def test_the_lanes_say_that_a_filter_is_worked_on() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        assert "filtering" not in screen_text(app)
        model.set_pending(True)
        await pilot.pause()
        assert "… filtering: the lanes do not show all of it yet" in screen_text(app)
        model.set_pending(False)
        app.filter_by("cpu = 1")
        assert model.pending
        await until(pilot, lambda: model.where == "cpu = 1" and state.current, "the lanes follow")
        await pilot.pause()
        assert not model.pending
        assert "filtering" not in screen_text(app)

    timeline(script)
