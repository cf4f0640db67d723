"""``/``: what is found is there at once, in order from the cursor; n and N go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from textual.pilot import Pilot

import tui.filter.search_bar
from tests.support.driver import drive, model_of, rows_meeting, screen_text, until
from tests.support.textual_state import messages
from tests.support.waiting import HANG
from tracekit.query.scan import Found, scan
from tui.app import TracekitApp
from tui.filter.filter_bar import FilterBar
from tui.filter.search_bar import SearchBar


async def _typed_at_once(pilot: Pilot[Any], app: TracekitApp, text: str) -> None:
    """``/`` and a text: key by key, a busy machine would look for what stands there between two."""
    await pilot.press("slash")
    app.query_one(SearchBar).input.insert_text_at_cursor(text)
    await pilot.pause()


async def _found(pilot: Pilot[Any], app: TracekitApp, rows: list[int]) -> None:
    await until(pilot, lambda: model_of(app).matches.tolist() == rows, f"{len(rows)} are found")
    await until(pilot, lambda: "searching" not in screen_text(app), "the search is over")


def test_search_goes_to_the_first_match_from_the_cursor_and_on() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        model = model_of(app)
        wanted = rows_meeting(app, "virtio")
        model.move_to(wanted[10] - 1)
        await pilot.press("slash", *"VirtIO")
        await _found(pilot, app, wanted)
        assert model.cursor == wanted[10]
        assert f"match 11 of {len(wanted):,}" in screen_text(app)
        await pilot.press("enter", "n", "n")
        assert model.cursor == wanted[12]
        await pilot.press("N", "N", "N")
        assert model.cursor == wanted[9]
        assert f"/VirtIO  match 10 of {len(wanted):,}" in screen_text(app)
        # round the end
        model.move_to(wanted[-1])
        await pilot.press("n")
        assert model.cursor == wanted[0]
        await pilot.press("N")
        assert model.cursor == wanted[-1]
        # the line goes, and nothing is marked any more
        app.action_clear()
        await pilot.pause()
        assert not app.query_one(SearchBar).display
        assert not len(model.matches)

    drive(script)


def test_a_search_can_be_an_expression() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        wanted = rows_meeting(app, "next_pid = 76 and cpu = 0")
        await pilot.press("slash", *"next_pid = 76 and cpu = 0")
        await _found(pilot, app, wanted)
        assert "by expression" in screen_text(app)
        # what is none is a text
        await pilot.press("ctrl+u", *"prev_comm=python3 prev_pid")
        await _found(pilot, app, rows_meeting(app, '"prev_comm=python3 prev_pid"'))
        assert len(model_of(app).matches)

    drive(script)


def test_escape_goes_back_to_where_the_search_began() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        model = model_of(app)
        model.look_at(-9_000_000, -1_000_000)
        model.go(-5_000_000)
        before = (model.cursor, model.window)
        await pilot.press("slash", *"initcall")
        await until(pilot, lambda: model.cursor != before[0])
        await pilot.press("escape")
        await pilot.pause()
        assert (model.cursor, model.window) == before
        assert not len(model.matches)
        assert not app.query_one(SearchBar).display

    drive(script)


def test_an_emptied_line_goes_back_too() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        model = model_of(app)
        await pilot.press("slash", *"initcall")
        await until(pilot, lambda: len(model.matches) > 0)
        await pilot.press("ctrl+u")
        await until(pilot, lambda: not len(model.matches))
        assert model.cursor == 0
        await pilot.press("enter")
        assert not app.query_one(SearchBar).display

    drive(script)


def test_nothing_found_is_said() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        await pilot.press("slash", *"no such thing", "enter")
        await until(pilot, lambda: "/no such thing  no match" in screen_text(app))
        await pilot.press("n")
        assert model_of(app).cursor == 0

    drive(script)


def test_n_without_a_search_says_what_to_do() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        await pilot.press("n")
        await until(pilot, lambda: any("/ begins a search" in told for told in messages(app)))

    drive(script)


def test_the_search_is_in_what_the_filter_leaves() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        await pilot.press("slash", *"virtio", "enter")
        await _found(pilot, app, rows_meeting(app, "virtio"))
        app.query_one(FilterBar).apply("cpu = 1 and virtio0")
        await _found(pilot, app, rows_meeting(app, "virtio and cpu = 1 and virtio0"))
        app.query_one(FilterBar).apply("")
        await _found(pilot, app, rows_meeting(app, "virtio"))

    drive(script)


@pytest.mark.slow
def test_the_first_match_does_not_wait_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Semaphore(0)

    def gated(*args: Any) -> Iterator[Found]:
        for found in scan(*args):
            assert go.acquire(timeout=HANG)
            yield found

    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        model = model_of(app)
        monkeypatch.setattr(tui.filter.search_bar, "scan", gated)
        monkeypatch.setattr(tui.filter.search_bar, "_SHOWN", 0.0)
        wanted = rows_meeting(app, "swapper")
        await _typed_at_once(pilot, app, "swapper")
        await pilot.press("enter")
        go.release()
        await until(pilot, lambda: model.cursor == wanted[0] and len(model.matches) > 0)
        assert len(model.matches) < len(wanted)
        assert "searching" in screen_text(app)
        # beyond what is known n waits for it, and goes there once it is found
        known = len(model.matches)
        model.move_to(int(model.matches[-1]))
        await pilot.press("n")
        assert model.cursor == wanted[known - 1]
        go.release()
        await until(pilot, lambda: model.cursor == wanted[known], "n went on")
        for _ in range(1000):
            go.release()
        await _found(pilot, app, wanted)
        assert model.cursor == wanted[known]

    drive(script)


def test_another_text_ends_the_search_before(monkeypatch: pytest.MonkeyPatch) -> None:
    go, begun = threading.Semaphore(0), []

    def gated(*args: Any) -> Iterator[Found]:
        begun.append(str(args[1]))
        for found in scan(*args):
            assert go.acquire(timeout=HANG)
            yield found

    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        monkeypatch.setattr(tui.filter.search_bar, "scan", gated)
        await _typed_at_once(pilot, app, "virtio")
        await until(pilot, lambda: begun == ["virtio"])
        await pilot.press(*"1")
        await until(pilot, lambda: begun == ["virtio", "virtio1"])
        for _ in range(1000):
            go.release()
        await _found(pilot, app, rows_meeting(app, "virtio1"))

    drive(script)
