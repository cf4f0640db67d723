"""What a session without a jump looks like, in every view that its events fill, at four sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.support.driver import drive, matches_snapshot, model_of, screen_text, until
from tests.support.sessions.made_events import graph, made
from tests.support.views.tables_view import to
from tui.app import TracekitApp
from tui.tables.view import TablesView
from tui.timeline.choose_lanes import ChooseLanes
from tui.timeline.panel import SidePanel
from tui.timeline.view import TimelineView

Piloted = Pilot[Any]
SIZES = [(60, 20), (80, 24), (120, 40), (200, 60)]
LANES = ["runnable", "work queue", "spans softirq", "CPU 0", "CPU 1"]
WAKEUP = 583  # on CPU 0, of a task that runs on CPU 1
pytestmark = [pytest.mark.slow, pytest.mark.parametrize("size", SIZES)]


def test_a_session_without_a_jump(
    size: tuple[int, int], session: Callable[[str], Path], tmp_path: Path
) -> None:
    name = f"{size[0]}x{size[1]}"

    async def script(app: TracekitApp, pilot: Piloted) -> None:
        await until(pilot, lambda: "Tasks that ran longest" in screen_text(app), "its figures")
        await matches_snapshot(pilot, f"one-boot-story-{name}")
        await pilot.press("4")
        for title in ("Wakeups", "Syscalls", "Spans"):
            await to(pilot, app.query_one(TablesView), title)
            await matches_snapshot(pilot, f"one-boot-{title.lower()}-{name}")
        await pilot.press("2")
        model, state = model_of(app), app.query_one(TimelineView).state
        await until(pilot, lambda: state.ready and state.current, "there are lanes")
        model.notes.lanes = LANES
        state.take(state.make(model.selection, lambda: None))
        at = int(model.ts_ns[WAKEUP])
        model.look_at(at - 200_000, at + 600_000)
        model.move_to(WAKEUP)
        panel = app.query_one(SidePanel)
        if not panel.display:  # where there is room it is there without being asked for
            await pilot.press("p")
        in_window = ("window, 800 µs", "39 events", "ran longest", "rcu_sched-14")
        await until(
            pilot, lambda: all(text in screen_text(app) for text in in_window), "of the window"
        )
        await matches_snapshot(pilot, f"one-boot-panel-{name}")
        await pilot.press("p")
        await pilot.pause()
        await matches_snapshot(pilot, f"one-boot-lanes-{name}")
        await pilot.press("v")
        await until(pilot, lambda: isinstance(app.screen, ChooseLanes), "it asks")
        await pilot.pause()
        await matches_snapshot(pilot, f"one-boot-choose-{name}")

    drive(script, session("same-boot-wide-7.2"), size)


def test_functions(size: tuple[int, int], tmp_path: Path) -> None:
    events = [
        graph(0, "outer", 0), graph(10, "middle", 1), graph(15, "leaf", 2),
        graph(25, "leaf", 2, 10), graph(40, "middle", 1, 30), graph(50, "leaf", 1),
        graph(90, "leaf", 1, 40),
        graph(100, "outer", 0, 100),
    ]  # fmt: skip

    async def script(app: TracekitApp, pilot: Piloted) -> None:
        await pilot.press("4")
        await to(pilot, app.query_one(TablesView), "Functions")
        await matches_snapshot(pilot, f"functions-{size[0]}x{size[1]}")

    drive(script, made(tmp_path / "s", events), size)
