"""Going somewhere: by a time, a date, a name; back and forward; how much is shown."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import ContentSwitcher

from tests.support.driver import drive, model_of, screen_text, until
from tests.support.textual_state import messages
from tracekit.timeline.when.dates import utc
from tui.app import TracekitApp
from tui.dialogs.ask import Ask
from tui.history import History, Place
from tui.timeline.state import LaneState
from tui.timeline.view import TimelineView

Piloted = Pilot[Any]


async def go(app: TracekitApp, pilot: Piloted, text: str, key: str = "g") -> None:
    await pilot.press(key)
    await until(pilot, lambda: isinstance(app.screen, Ask), "it asks")
    for character in text:
        await pilot.press("space" if character == " " else character)
    await pilot.press("enter")
    await pilot.pause()


def test_to_a_time_a_date_and_a_phase_and_back() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        model, switcher = model_of(app), app.query_one(ContentSwitcher)
        await go(app, pilot, "-2.5ms")
        await until(pilot, lambda: switcher.current == "timeline", "it is shown")
        ns = model.cursor_ns
        assert ns >= -2_500_000 > int(model.ts_ns[model.cursor - 1])
        (phase,) = (p for p in model.report.phases if p.name == "device shutdown")
        await go(app, pilot, "device shutdown")
        await until(pilot, lambda: model.window[0] <= (phase.start_ns or 0), "the phase")
        assert phase.start_ns is not None and phase.duration_ns is not None
        start, end = model.window
        assert start <= phase.start_ns < phase.start_ns + phase.duration_ns <= end
        assert end - start < 1.2 * phase.duration_ns
        wall = next(iter(model.recording.walls.values()))
        date = utc(int(model.ts_ns[10]) + wall.offset_ns)
        await go(app, pilot, str(date))
        await until(pilot, lambda: model.cursor == 10, "the event of that date")
        await pilot.press("less_than_sign")
        assert model.window == (start, end)
        await pilot.press("less_than_sign")
        assert model.cursor_ns == ns
        await pilot.press("less_than_sign")
        assert switcher.current == "story"
        await pilot.press(*["greater_than_sign"] * 3)
        assert (switcher.current, model.cursor) == ("timeline", 10)

    drive(script)


def test_a_bare_number_asks_for_its_unit_and_nothing_is_the_start() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        model = model_of(app)
        await go(app, pilot, "5")
        assert "5 of which unit? 5s, 5ms, 5us or 5ns" in " ".join(screen_text(app).split())
        await pilot.press("escape")
        await go(app, pilot, "")
        await until(pilot, lambda: model.cursor == 0, "the first event")

    drive(script)


@pytest.mark.slow
def test_what_is_no_place_is_said() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        await go(app, pilot, "nowhere at all")
        await until(pilot, lambda: "is no time" in " ".join(messages(app)), "it is said")

    drive(script)


def test_how_much_is_shown_and_what_a_gap_is() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        model = model_of(app)
        await pilot.press("2")
        await go(app, pilot, "20ms", "W")
        assert model.window[1] - model.window[0] == 20_000_000
        assert model.least_gap == 20_000_000 // 16
        await go(app, pilot, "3ms", "L")
        assert model.least_gap == 3_000_000
        assert "window 20.0 ms, gaps ≥ 3.00 ms" in screen_text(app)
        await pilot.press("L", "enter")
        await pilot.pause()
        assert model.least_gap == 20_000_000 // 16

    drive(script, size=(120, 30))


def test_z_fits_what_is_selected_and_then_everything() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        model, state = model_of(app), app.query_one(TimelineView).state
        await pilot.press("2")
        await until(pilot, lambda: state.ready, "there are lanes")
        app.filter_by("event = device:shutdown")
        await until(pilot, lambda: bool(model.where) and not model.pending and state.current, "it")
        first, last = (int(model.ts_ns[row]) for row in model.selection.ends())
        await pilot.press("z")
        start, end = model.window
        assert start <= first <= last < end and end - start < 1.2 * (last - first)
        counted = _legend(state)
        assert counted == {"device": len(model.selection)}
        await pilot.press("z")
        assert model.window == model.extent
        await pilot.press("escape", "home")
        state.chosen = next(i for i, lane in enumerate(state.shown) if lane.name == "phases")
        await pilot.press("right", "z")
        assert state.span is not None
        assert model.window[1] - model.window[0] < 1.2 * (state.span.end_ns - state.span.start_ns)
        assert " phases ▸ " in screen_text(app)

    drive(script, size=(100, 30))


def _legend(state: LaneState) -> dict[str, int]:
    return state.systems()


def test_the_history_is_a_browsers() -> None:
    history, a, b, c = History(), *(Place("story", n, (0, 1)) for n in range(3))
    assert history.back(a) is None and history.forward(a) is None
    history.leave(a)
    history.leave(b)
    assert history.back(c) == b
    assert history.back(b) == a
    assert history.back(a) is None
    assert history.forward(a) == b
    history.leave(b)
    assert history.forward(c) is None
    assert history.back(c) == b
