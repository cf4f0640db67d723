"""One selection for everything: tables, counts and the panel are of it, and say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import ContentSwitcher, Static

from tests.support.driver import drive, matches_snapshot, model_of, screen_text, until
from tests.support.sessions.made_events import graph, made
from tests.support.views.tables_view import to
from tui.app import TracekitApp
from tui.story.spans import SpanList
from tui.tables.view import TablesView
from tui.timeline.panel import SidePanel

Piloted = Pilot[Any]


async def _mark(app: TracekitApp, pilot: Piloted, phase: str) -> None:
    """Select a phase in the story, and ask for only it."""
    spans = app.query(SpanList).first()
    spans.action_move(-1000)
    while (bar := spans.selected) is not None and bar.name != phase:
        await pilot.press("j")
    await pilot.press("space")
    await pilot.pause()


async def _counted(pilot: Piloted, view: TablesView) -> None:
    await until(pilot, lambda: view.complete, "all is counted")
    await pilot.pause()


def test_tables_are_of_the_phase_that_was_marked() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        model, view = model_of(app), app.query_one(TablesView)
        await _mark(app, pilot, "device shutdown")
        assert model.marked == "device shutdown"
        assert f"A→B device shutdown 4.15 ms, {model.count()} events" in screen_text(app)
        await pilot.press("4")
        await _counted(pilot, view)
        assert " of device shutdown, 4.15 ms from -5.35 ms" in screen_text(app)
        await pilot.press("right", "right")
        assert view.sheet.title == "Events"
        assert sum(row.events for row in view.sheet.rows) == model.count() == 64
        app.filter_by("cpu = 1")
        await until(pilot, lambda: bool(model.where) and not model.pending, "filtered")
        await _counted(pilot, view)
        assert sum(row.events for row in view.sheet.rows) == model.count() == 4
        assert "; cpu = 1" in screen_text(app)
        await pilot.press("escape", "escape")
        await _counted(pilot, view)
        assert model.subject.everything
        assert sum(row.events for row in view.sheet.rows) == model.total

    drive(script, size=(120, 40))


def test_enter_on_a_statistic_goes_to_its_worst() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        model, view = model_of(app), app.query_one(TablesView)
        await pilot.press("4", *["left"] * 3)
        assert view.sheet.title == "Irqs"
        await _counted(pilot, view)
        row: Any = view.sheet.selected
        assert row.name.startswith("22 ")
        await pilot.press("enter")
        await pilot.pause()
        assert app.query_one(ContentSwitcher).current == "timeline"
        assert model.cursor == row.worst_row
        start, end = model.window
        assert start <= row.worst_at <= row.worst_at + row.most <= end
        assert end - start < 1.2 * row.most

    drive(script)


def test_functions_are_a_tree_that_enter_opens(tmp_path: Path) -> None:
    events = [
        graph(0, "outer", 0), graph(10, "middle", 1), graph(15, "leaf", 2),
        graph(25, "leaf", 2, 10), graph(40, "middle", 1, 30), graph(100, "outer", 0, 100),
        graph(110, "leaf", 0), graph(120, "leaf", 0, 10),
    ]  # fmt: skip

    async def script(app: TracekitApp, pilot: Piloted) -> None:
        view = app.query_one(TablesView)
        await pilot.press("4", *["left"] * 5)
        await _counted(pilot, view)
        assert view.sheet.title == "Functions"

        def shown() -> list[tuple[int, str]]:
            return [(n.call.depth, n.call.function) for n in view.sheet.rows]

        assert shown() == [(0, "outer"), (1, "middle"), (0, "leaf")]
        await pilot.press("j", "enter")
        assert shown() == [(0, "outer"), (1, "middle"), (2, "leaf"), (0, "leaf")]
        text = screen_text(app)
        assert "▏outer" in text and "▏middle" in text  # the strip
        await pilot.press("k", "enter")
        assert shown() == [(0, "outer"), (0, "leaf")]

    drive(script, made(tmp_path / "s", events), size=(100, 30))


def test_the_panel_follows_the_window_and_the_marks() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        model, panel = model_of(app), app.query_one(SidePanel)
        await pilot.press("2", "p")

        def says(text: str) -> bool:
            return text in screen_text(app).replace("\n", " ")

        await until(pilot, lambda: says(f"{model.total:,} events"), "of everything")
        await pilot.press("0")
        await until(pilot, lambda: says("of window") or says("window, 16.0 ms"), "of the window")
        model.mark_span(-5_350_340, -1_195_762, "device shutdown")
        await until(pilot, lambda: says("64 events"), "of what is marked")
        assert says("python3-76")
        await pilot.press("p")
        assert not panel.display

    drive(script, size=(140, 40))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40), (200, 60)])
@pytest.mark.parametrize("title", ["irqs", "waits"])
def test_new_tables_look_as_they_did(title: str, size: tuple[int, int]) -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        await pilot.press("4")
        await to(pilot, app.query_one(TablesView), title.title(), "left")
        await matches_snapshot(pilot, f"tables-{title}-{size[0]}x{size[1]}")

    drive(script, size=size)


def test_the_subject_is_said_only_where_there_is_one() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        await pilot.press("4")
        await _counted(pilot, app.query_one(TablesView))
        assert not app.query_one("#table-subject", Static).display

    drive(script)
