"""The timeline: what is drawn, every key, the mouse, and sessions that hold little or much."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot
from textual.widgets import ContentSwitcher

from tests.support.driver import drive, matches_snapshot, screen_text, until
from tests.support.ring.event_payloads import function
from tests.support.ring.region_writer import TEXT_ADDR, RingBuffer, layout_615
from tests.support.session_trees import make_session
from tracekit.query.selection import Selection
from tracekit.timeline.filter import parse_time
from tui.app import TracekitApp
from tui.dialogs.export import rows_in_window
from tui.model import Model
from tui.timeline.cell_row import one_line
from tui.timeline.lanes import Lanes
from tui.timeline.minimap import Minimap
from tui.timeline.ruler import Ruler, instant, ticks
from tui.timeline.state import GUTTER, LaneState, Scale
from tui.timeline.view import TimelineView

Piloted = Pilot[Any]
Script = Callable[[TracekitApp, Piloted, Model, LaneState], Awaitable[None]]
OLD = 8_000_000  # ns before the jump, in which the old kernel shuts down


def timeline(script: Script, path: Path | None = None, size: tuple[int, int] = (80, 24)) -> None:
    """Run ``script`` in the timeline, once its lanes are there."""

    async def run(app: TracekitApp, pilot: Piloted) -> None:
        assert app.model is not None
        state = app.query_one(TimelineView).state
        await until(pilot, lambda: state.ready and state.current, "there are lanes")
        await script(app, pilot, app.model, state)

    drive(run, path, size, view="timeline")


def ring_of(events: int, step: int = 1000) -> RingBuffer:
    ring = RingBuffer(4)
    for i in range(events):
        ring.write(10**6 + i * step, function(TEXT_ADDR + 0x1000, TEXT_ADDR))
    return ring


def lane_lines(app: TracekitApp, name: str) -> list[str]:
    """What is drawn of a lane, without its name."""
    lanes = app.query_one(Lanes)
    state = app.query_one(TimelineView).state
    number = next(i for i, lane in enumerate(state.lanes) if lane.name == name)
    place = lanes.places[number]
    top = place.top - lanes._top
    return [lanes.render_line(top + y).text[GUTTER:] for y in range(place.rows)]


def ruler(app: TracekitApp) -> str:
    return app.query_one(Ruler).render_line(0).text


def said(app: TracekitApp) -> list[str]:
    return [one.message for one in app._notifications]


def choose(state: LaneState, name: str) -> None:
    state.chosen = next(i for i, lane in enumerate(state.shown) if lane.name == name)


# -- what is drawn -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_it_looks_as_it_did(size: tuple[int, int]) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        name = f"{size[0]}x{size[1]}"
        matches_snapshot(app, f"timeline-all-{name}")
        model.look_at(-OLD, 0)
        model.go(-2_890_503)
        await pilot.pause()
        matches_snapshot(app, f"timeline-old-{name}")
        model.look_at(-100_000, 100_000)
        await pilot.pause()
        matches_snapshot(app, f"timeline-jump-{name}")

    timeline(script, size=size)


def test_the_jump_and_the_dark_are_in_all_lanes() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.look_at(-(10**9), 3 * 10**9)
        model.go(-(10**9))
        await pilot.pause()
        scale = state.scale(120)
        jump, end = scale.cell(0), scale.cell(state.dark[0].end_ns)
        assert ruler(app)[GUTTER + jump :].startswith("┃0 jump")
        for lane in state.lanes:
            for line in lane_lines(app, lane.name):
                assert "░" in line[jump + 1 : end], lane.name
                assert "░" not in line[:jump] + line[end + 1 :], lane.name
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


def test_marks_and_bookmarks_are_lines_and_the_distance_is_stated() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.look_at(-OLD, 0)
        model.go(-6_984_409)
        model.set_bookmark(model.cursor, "here it begins")
        await pilot.press("m")
        model.go(-1_195_762)
        await pilot.press("m")
        model.go(-4_000_000)
        await pilot.pause()
        scale = state.scale(80)
        assert ruler(app)[GUTTER + scale.cell(-6_984_409)] == "A"
        assert ruler(app)[GUTTER + scale.cell(-1_195_762)] == "B"
        assert lane_lines(app, "markers")[0][scale.cell(-6_984_409)] == "┆"
        ns, error = model.recording.axis.interval(
            model.recording.rows,
            *(int(np.searchsorted(model.ts_ns, t)) for t in (-6_984_409, -1_195_762)),
        )
        assert ns == 5_788_647 and error is not None
        assert "A→B 5.79 ms ± " in screen_text(app)
        await pilot.press("m")
        assert model.marks == (None, None)
        await pilot.pause()
        assert ruler(app)[GUTTER + scale.cell(-6_984_409)] == "◆"
        assert lane_lines(app, "markers")[0][scale.cell(-6_984_409)] == "┊"
        assert "A→B" not in screen_text(app)

    timeline(script)


def test_the_strip_below_tells_the_event_under_the_cursor() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.go(-2_890_503)
        await pilot.pause()
        text = screen_text(app)
        assert "-2.890503 ms  CPU 0  python3 [76]  device:shutdown" in text
        assert "device=0000:00:1f.2 driver= bus_master=0 function=pci_device_shutdown" in text
        choose(state, "initcalls")
        model.go(2_482_775_185)
        await pilot.pause()
        await pilot.press("w")
        assert "acpi_init  148 ms  from 2.482775185 s  boot 1  subsys" in screen_text(app)

    timeline(script)


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


# -- keys --------------------------------------------------------------------------------------


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
        await pilot.press("g", back)
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
        assert said(app) == ["no later device:shutdown"]

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
        assert said(app)[0].startswith("CPU 0: no later gap of 1.126 s;")
        model.move_to(int(rows[-1]))
        await pilot.press("left_square_bracket")
        assert model.cursor == wide[-1]
        choose(state, "phases")
        await pilot.press("left_square_bracket")
        assert model.cursor == wide[-1]
        assert said(app)[0].startswith("gaps are between events")

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


# -- the mouse ---------------------------------------------------------------------------------


async def wheel(app: TracekitApp, pilot: Piloted, kind: str, x: int, **options: bool) -> None:
    from textual import events

    lanes = app.query_one(Lanes)
    cls: type[events.MouseEvent] = getattr(events, kind)
    lanes.post_message(
        cls(lanes, x, 5, 0, 0, 0, options.get("shift", False), False, False, x, 9, None)
    )
    await pilot.pause()


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


# -- sessions of all sizes ---------------------------------------------------------------------


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
        top = lanes._top
        await wheel(app, pilot, "MouseScrollUp", 2)
        assert lanes._top == top - 1

    rings = [ring_of(3) for _ in range(256)]
    timeline(script, make_session(tmp_path, layout_615(rings)))


def test_nothing_is_counted_before_it_is_shown() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        state = app.query_one(TimelineView).state
        for _ in range(10):
            await pilot.pause(0.01)
        assert not state.ready
        await pilot.press("2")
        await until(pilot, lambda: state.ready, "there are lanes")

    drive(script)


# -- the ruler and texts -----------------------------------------------------------------------


def told(label: str) -> int:
    return 0 if label in ("0", "+0") else parse_time(label.removeprefix("+").replace(" ", ""))


@given(st.integers(-(10**12), 10**12), st.integers(40, 10**12), st.integers(30, 240))
def test_ticks_tell_instants_exactly(start: int, length: int, cells: int) -> None:
    end = start + length
    found = ticks(start, end, cells)
    assert all(start <= at < end for at in found.at)
    steps = set(np.diff(found.at).tolist())
    assert len(steps) <= 1
    for step in steps:
        assert str(step).rstrip("0") in ("1", "2", "5")
        assert step * cells >= 10 * length  # far enough apart
    assert len(found.at) >= cells // 26 - 1
    base = told(found.origin) if found.origin else 0
    assert base == found.base
    assert [base + told(label) for label in found.labels] == list(found.at)
    room = min(steps, default=length) * cells // length
    assert len(found.at) < 2 or max(map(len, found.labels)) < room


@given(st.integers(-(10**15), 10**15))
def test_an_instant_is_told_to_the_nanosecond(ns: int) -> None:
    assert told(instant(ns)) == ns


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


@given(st.text())
def test_recorded_names_take_a_cell_a_character(text: str) -> None:
    from rich.cells import cell_len

    drawn = one_line(text)
    assert cell_len(drawn) == len(drawn)
    assert drawn == "" or drawn.isprintable()


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


def test_the_window_of_all_has_all_events() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        await pilot.press("z")
        assert rows_in_window(model) == range(model.total)

    timeline(script)
