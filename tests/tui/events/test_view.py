"""The Events view: how it looks, and sessions of all kinds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.support.driver import matches_snapshot, screen_text, until
from tests.support.ring.event_payloads import data_loc_string, function
from tests.support.ring.region_writer import TEXT_ADDR, RingBuffer, layout_615
from tests.support.session_trees import make_session
from tests.support.sessions.loose import loosen
from tests.support.views.events_view import Script, events
from tui.app import TracekitApp
from tui.events.details import Details
from tui.events.table import EventsTable
from tui.model import Model


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_snapshot(size: tuple[int, int]) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        await pilot.press("0", "i")
        pane = app.query_one(Details)
        await until(pilot, lambda: pane.size.width > 0, "the details")
        await pilot.pause(0.2)
        await matches_snapshot(pilot, f"events-{size[0]}x{size[1]}")

    events(script, size=size)


def keys(*pressed: str) -> Script:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        for key in pressed:
            await pilot.press(key)
            await pilot.pause()

    return script


EVERYTHING = ("j", "G", "home", "pagedown", "l", "t", "t", "t", "i", "e", "E", "y", "o", "escape",
              "c", "escape", "tab", "j", "tab", "i", "enter")  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("size", [(60, 20), (80, 24), (250, 80)])
@pytest.mark.parametrize("count", [0, 1])
def test_empty_and_one_event(tmp_path: Path, count: int, size: tuple[int, int]) -> None:
    ring = RingBuffer(10)
    for _ in range(count):
        ring.write(1_000_000, function(TEXT_ADDR + 0x1000, TEXT_ADDR))
    path = make_session(tmp_path, layout_615([ring]))

    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        assert model.total == count
        await keys(*EVERYTHING)(app, pilot, model, table)
        app.action_show_view("events")
        await pilot.pause()
        assert ("there are no events" in screen_text(app)) == (count == 0)

    events(script, path, size)


def test_control_characters_and_markup_are_shown_not_obeyed(tmp_path: Path) -> None:
    ring = RingBuffer(10)
    hostile = b"[bold red]x[/] \x1b[2Jgone\x07\ttab\nline \xe4\xba\x8c\xe4\xba\x8c"
    for n in range(3):
        ring.write(1_000_000 + n, data_loc_string(n, hostile))
    path = make_session(tmp_path, layout_615([ring]))

    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        await pilot.press("i")
        await pilot.pause(0.2)
        text = screen_text(app)
        assert "\x1b" not in text and "\x07" not in text
        assert "[bold red]x[/]" in text and "\\x1b[2J" in text
        await pilot.press("y")
        assert "\x1b" not in app.clipboard and app.clipboard.count("\n") == 0

    events(script, path, (250, 80))


def test_damaged_sessions(tmp_path: Path) -> None:
    rings = [RingBuffer(20), RingBuffer(20)]
    for n in range(500):
        rings[n % 2].write(1_000_000 + n, data_loc_string(n, b"text"))
    path = make_session(tmp_path, layout_615(rings).data[:0x10000])
    shutil.rmtree(loosen(path) / "boots/0/tracefs/events/test")

    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        await keys(*EVERYTHING)(app, pilot, model, table)
        app.action_show_view("events")
        await pilot.press("i")
        await until(pilot, lambda: app.query_one(Details).display, "the details")
        await pilot.pause(0.2)
        assert "unknown:301" in screen_text(app)

    events(script, path, (120, 30))
