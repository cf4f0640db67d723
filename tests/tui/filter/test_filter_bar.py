"""``f``: typing a filter, while it is worked on, keeping it or not, and saved filters."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot

import tui.filter.filter_bar
from tests.support.driver import drive, model_of, rows_meeting, screen_text, until
from tests.support.textual_state import messages, suggestion
from tests.support.waiting import HANG
from tracekit.query.match import Names
from tracekit.query.scan import Found, scan
from tracekit.session import Session
from tracekit.session.notes import Notes
from tui.app import TracekitApp
from tui.filter.filter_bar import FilterBar
from tui.filter.query_bar import completion
from tui.filter.saved import SavedFilters


def _shown(app: TracekitApp) -> list[int]:
    selection = model_of(app).selection
    return selection.page(0, len(selection)).tolist()


async def _shows(pilot: Pilot[Any], app: TracekitApp, text: str) -> None:
    wanted = rows_meeting(app, text)
    await until(pilot, lambda: _shown(app) == wanted, f"{text} is shown")


async def _typed_at_once(pilot: Pilot[Any], app: TracekitApp, text: str) -> None:
    """``f`` and a text: key by key, a busy machine would look for what stands there between two."""
    await pilot.press("f")
    app.query_one(FilterBar).input.insert_text_at_cursor(text)
    await pilot.pause()


class _Gate:
    """The scan, a piece at a time, each when the test lets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._go = threading.Semaphore(0)
        self.begun = 0
        monkeypatch.setattr(tui.filter.filter_bar, "scan", self._scan)

    def _scan(self, *args: Any) -> Iterator[Found]:
        self.begun += 1
        for found in scan(*args):
            assert self._go.acquire(timeout=HANG)
            yield found

    def let(self, pieces: int) -> None:
        for _ in range(pieces):
            self._go.release()


def test_a_filter_is_shown_while_it_is_typed_and_kept_by_enter() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        model = model_of(app)
        await pilot.press("f", *"comm = python3 and cpu = 0")
        await _shows(pilot, app, "comm = python3 and cpu = 0")
        found = len(model.selection)
        assert 0 < found < model.total
        assert f"{found:,} of {model.total:,} events" in screen_text(app)
        await pilot.press("enter")
        await pilot.pause()
        assert not app.query_one(FilterBar).display
        await _shows(pilot, app, "comm = python3 and cpu = 0")
        assert model.where == "comm = python3 and cpu = 0"
        assert "comm = python3 and cpu = 0" in screen_text(app).splitlines()[-2]
        # it is there again to be changed, and empty is everything
        await pilot.press("f")
        assert app.query_one(FilterBar).input.value == "comm = python3 and cpu = 0"
        await pilot.press("ctrl+u", "enter")
        await until(pilot, lambda: len(model.selection) == model.total and not model.where)

    drive(script)


def test_escape_brings_back_what_was_there() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        model = model_of(app)
        model.look_at(-5_000_000, 5_000_000)
        model.go(-1_000_000)
        before = (model.cursor, model.window)
        await pilot.press("f", *"boot = 1 and initcall")
        await _shows(pilot, app, "boot = 1 and initcall")
        assert model.cursor != before[0]
        await pilot.press("escape")
        await until(pilot, lambda: len(model.selection) == model.total)
        assert (model.cursor, model.window) == before
        assert model.where == ""
        assert not app.query_one(FilterBar).display
        assert app.focused is None or not isinstance(app.focused.parent, FilterBar)

    drive(script)


def test_escape_in_a_view_takes_the_filter_away() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        app.query_one(FilterBar).apply("cpu = 1")
        await _shows(pilot, app, "cpu = 1")
        app.action_clear()
        await until(pilot, lambda: model_of(app).selection.rows is None)

    drive(script)


def test_what_is_wrong_is_said_in_words_and_nothing_changes() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        model = model_of(app)
        await _typed_at_once(pilot, app, "prev_com = python3")
        assert "did you mean prev_comm?" in screen_text(app)
        await pilot.press("enter")
        await pilot.pause()
        assert app.query_one(FilterBar).display
        assert model.selection.rows is None
        await pilot.press(*(["left"] * 10), "m")
        await _shows(pilot, app, "prev_comm = python3")

    drive(script, size=(80, 24))


def test_typing_goes_on_while_a_filter_is_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        model = model_of(app)
        gate = _Gate(monkeypatch)
        await _typed_at_once(pilot, app, "cpu = 1")
        await until(pilot, lambda: gate.begun == 1, "the first is worked on")
        app.query_one(FilterBar).input.insert_text_at_cursor(" and pid = 0")
        await pilot.pause()
        assert app.query_one(FilterBar).input.value == "cpu = 1 and pid = 0"
        await until(pilot, lambda: gate.begun == 2, "the second is worked on")
        assert model.selection.rows is None
        gate.let(1000)
        await _shows(pilot, app, "cpu = 1 and pid = 0")
        assert model.where == "cpu = 1 and pid = 0"

    drive(script)


@pytest.mark.slow
def test_the_count_and_the_picture_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        model = model_of(app)
        monkeypatch.setattr(tui.filter.filter_bar, "_SHOWN", 0.0)
        monkeypatch.setattr(tui.filter.filter_bar, "_FIRST_VIEW", 0.0)
        gate = _Gate(monkeypatch)
        await _typed_at_once(pilot, app, "not cpu = 77")
        await until(pilot, lambda: gate.begun == 1)
        gate.let(1)
        await until(pilot, lambda: 0 < len(model.selection) < model.total, "a part is shown")
        await until(pilot, lambda: "% looked at" in screen_text(app))
        part = _shown(app)
        assert part == list(range(len(part)))
        gate.let(1000)
        await until(pilot, lambda: model.selection.rows is None, "all is shown")
        assert model.where == "not cpu = 77"

    drive(script)


def test_enter_keeps_a_filter_that_is_still_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        model = model_of(app)
        gate = _Gate(monkeypatch)
        await pilot.press("f", *"cpu = 1", "enter")
        await until(pilot, lambda: gate.begun > 0)
        # looked at again meanwhile, and left again: it goes on
        await pilot.press("f")
        assert app.query_one(FilterBar).input.value == "cpu = 1"
        await pilot.press(*" and", "escape")
        gate.let(1000)
        await _shows(pilot, app, "cpu = 1")
        assert model.where == "cpu = 1"

    drive(script)


def test_nothing_found_keeps_the_picture_until_it_is_wanted() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        model = model_of(app)
        await pilot.press("f", *"cpu = 4000")
        await until(pilot, lambda: "0 of 20,138 events" in screen_text(app))
        assert model.selection.rows is None
        await pilot.press("enter")
        await until(pilot, lambda: len(model.selection) == 0)
        assert model.where == "cpu = 4000"

    drive(script)


def test_what_was_entered_comes_back() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        line = app.query_one(FilterBar).input
        for text in ("cpu = 0", "cpu = 1", "cpu = 0"):
            await pilot.press("f", "ctrl+u", *text, "enter")
        await pilot.press("f", "ctrl+u", *"pid")
        seen = []
        for key in ("up", "up", "up", "down", "down", "down"):
            await pilot.press(key)
            seen.append(line.value)
        assert seen == ["cpu = 0", "cpu = 1", "cpu = 1", "cpu = 0", "pid", "pid"]

    drive(script)


def test_tab_completes() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        line = app.query_one(FilterBar).input
        await pilot.press("f", *"prev_c")
        await until(pilot, lambda: suggestion(line) == "prev_comm")
        await pilot.press("tab", *"=py")
        assert line.value == "prev_comm=py"
        await pilot.press("ctrl+u", *"comm = pyth")
        await until(pilot, lambda: suggestion(line) == "comm = python3")

    drive(script)


@pytest.mark.parametrize(
    ("text", "completed"),
    [
        ("cp", "cpu"), ("cpu = 0 and prev_p", "cpu = 0 and prev_pid"),
        ("event = sw", "event = switch"),
        ("event = a:", "event = a:switch"), ("event in (x, wa", "event in (x, wake"),
        ("comm ~ ke", "comm ~ kexec"), ("comm = od", None), ("prev_pid = cp", None), ("", None),
        ("cpu = 0 ", None), ("zz", None),
    ],
)  # fmt: skip
def test_completion(text: str, completed: str | None) -> None:
    names = Names(frozenset({"prev_pid", "prev_prio"}), ("a:switch", "a:wake", "b:wake"))
    assert completion(text, names, ["", "odd\x1b[2J", "odd one", "kexec"]) == completed


@pytest.mark.slow
def test_filters_are_saved_chosen_and_deleted(
    session: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / "session"
    shutil.copytree(session("handover-7.2-tsc"), path)

    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        model = model_of(app)
        for name, text in (("one", "cpu = 0"), ("two [b]x", "cpu = 1")):
            await pilot.press("f", "ctrl+u", *text, "ctrl+s")
            await until(pilot, lambda: isinstance(app.screen, SavedFilters))
            await pilot.press(*name, "enter")
            await until(pilot, lambda: not isinstance(app.screen, SavedFilters))
            await pilot.press("escape")
        kept = {"one": "cpu = 0", "two [b]x": "cpu = 1"}
        assert model.notes.filters == kept
        assert Notes.load(Session.open(path)).filters == kept
        # the second of the list
        await pilot.press("f", "ctrl+u", "ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, SavedFilters))
        assert "two [b]x" in screen_text(app)
        await pilot.press("down", "enter")
        await until(pilot, lambda: not isinstance(app.screen, SavedFilters))
        await _shows(pilot, app, "cpu = 1")
        await pilot.press("enter")
        # the first is deleted
        await pilot.press("f", "ctrl+u", "ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, SavedFilters))
        await pilot.press("d", "escape")
        await until(pilot, lambda: not isinstance(app.screen, SavedFilters))
        assert Notes.load(Session.open(path)).filters == {"two [b]x": "cpu = 1"}

    drive(script, path)


def test_an_archive_keeps_no_filters_and_says_so() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        await pilot.press("f", *"cpu = 0", "ctrl+s", *"name", "enter")
        await until(pilot, lambda: any("not kept" in told for told in messages(app)))

    drive(script)


def test_a_filter_keeps_the_cursor_near() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        model = model_of(app)
        model.move_to(9000)
        await pilot.press("f", *"event = irq_handler_exit", "enter")
        await _shows(pilot, app, "event = irq_handler_exit")
        rows = np.array(rows_meeting(app, "event = irq_handler_exit"))
        assert model.cursor == int(rows[np.searchsorted(rows, 9000)])

    drive(script)


@pytest.mark.slow
def test_a_filter_that_is_worked_on_leaves_the_cursor_where_it_was_moved_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        model = model_of(app)
        monkeypatch.setattr(tui.filter.filter_bar, "_SHOWN", 0.0)
        monkeypatch.setattr(tui.filter.filter_bar, "_FIRST_VIEW", 0.0)
        gate = _Gate(monkeypatch)
        await pilot.press("3")
        await _typed_at_once(pilot, app, "not cpu = 77")
        await pilot.press("enter")
        await until(pilot, lambda: gate.begun > 0)
        gate.let(1)
        await until(pilot, lambda: 0 < len(model.selection) < model.total, "a part is shown")
        part = len(model.selection)
        await pilot.press("end")
        assert model.cursor == part - 1
        gate.let(1)
        await until(pilot, lambda: part < len(model.selection) < model.total, "more is shown")
        assert model.cursor == part - 1
        gate.let(1000)
        await until(pilot, lambda: model.selection.rows is None, "all is shown")
        assert model.cursor == part - 1

    drive(script)
