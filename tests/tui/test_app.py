"""The application around the views: opening, keys that work everywhere, bookmarks, sessions that
hold little or nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import ContentSwitcher, Input, OptionList

from tests.support.driver import drive, screen_text, until
from tests.support.textual_state import messages
from tui.app import TracekitApp
from tui.dialogs.bookmarks import BookmarkList
from tui.dialogs.help import KEYS, HelpScreen

Piloted = Pilot[Any]
VIEWS = ("story", "timeline", "events", "tables", "kho")


@pytest.fixture
def copy(session: Callable[[str], Path], tmp_path: Path) -> Path:
    """A session that may be written to."""
    return Path(shutil.copytree(session("handover-7.2-tsc"), tmp_path / "session"))


def test_each_key_shows_its_view() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        switcher = app.query_one(ContentSwitcher)
        assert switcher.current == "story"
        for n, name in enumerate(VIEWS, 1):
            await pilot.press(str(n))
            await pilot.pause()
            assert switcher.current == name
            assert app.query_one(f"#{name}").display
            assert app.focused is not None
            assert app.query_one(f"#{name}") in app.focused.ancestors_with_self

    drive(script)


def test_tabs_can_be_clicked() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        text = screen_text(app).splitlines()[0]
        for name in ("KHO", "Events", "Story"):
            await pilot.click(offset=(text.index(name) + 1, 0))
            await pilot.pause()
            assert app.query_one(ContentSwitcher).current == name.lower()

    drive(script)


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_it_can_begin_with_any_view(view: str) -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        assert app.query_one(ContentSwitcher).current == view

    drive(script, view=view)


def test_it_can_begin_with_a_filter() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        assert app.model is not None
        model = app.model
        await until(pilot, lambda: model.where != "", "the filter applies")
        (cpus,) = {tuple(model.recording.rows.cpu[model.selection.page(0, 1 << 20)].tolist())}
        assert set(cpus) == {1}

    drive(script, where="cpu = 1")


def test_help_names_every_key_and_closes() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        text = screen_text(app)
        assert all(what in text for _, what in KEYS[0][1][:3])
        await pilot.press("j", "k", "escape")
        await pilot.pause()
        assert not isinstance(app.screen, HelpScreen)

    drive(script, size=(100, 60))


def test_the_jump_is_one_key_away() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        assert app.model is not None
        await pilot.press("0")
        await pilot.pause()
        start, end = app.model.window
        assert start < 0 < end
        assert app.model.cursor_ns == 0

    drive(script)


def test_themes_change_the_colours() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        dark = app.look
        await pilot.press("T")
        await pilot.pause()
        assert not app.current_theme.dark
        assert app.look != dark
        await pilot.press("T")
        await pilot.pause()
        assert app.current_theme.dark

    drive(script)


def test_the_palette_goes_to_a_phase() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        assert app.model is not None
        phase = next(p for p in app.model.report.phases if p.name == "device shutdown")
        await pilot.press("ctrl+p")
        await pilot.pause()
        await pilot.press(*"Phase device")
        await pilot.pause(0.5)
        await pilot.press("enter", "enter")
        model = app.model
        await until(
            pilot,
            lambda: model.window[1] - model.window[0] < 2 * (phase.duration_ns or 0),
            "the phase is shown",
        )

    drive(script)


@pytest.mark.slow
def test_a_bookmark_is_kept_in_the_session(copy: Path) -> None:
    async def note(app: TracekitApp, pilot: Piloted) -> None:
        assert app.model is not None
        await pilot.press("0", "b")
        await pilot.pause()
        assert isinstance(app.focused, Input)
        await pilot.press(*"the last one", "enter")
        await pilot.pause()
        (mark,) = app.model.notes.bookmarks
        assert (mark.ts_ns, mark.note) == (0, "the last one")

    async def find(app: TracekitApp, pilot: Piloted) -> None:
        assert app.model is not None
        assert app.model.cursor_ns != 0
        await pilot.press("B")
        await pilot.pause()
        assert "the last one" in screen_text(app)
        await pilot.press("enter")
        await pilot.pause()
        assert app.model.cursor_ns == 0
        await pilot.press("B", "d")
        await pilot.pause()
        assert app.model.notes.bookmarks == []

    drive(note, copy)
    assert json.loads((copy / "notes.json").read_text())["bookmarks"][0]["note"] == "the last one"
    drive(find, copy)
    assert json.loads((copy / "notes.json").read_text())["bookmarks"] == []


def test_the_status_tells_the_note_of_the_event_under_the_cursor() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        assert app.model is not None
        app.model.set_bookmark(7, "odd [b]one[/b]")
        for row, there in ((7, True), (8, False)):
            app.model.move_to(row)
            await pilot.pause()
            status = screen_text(app).splitlines()[-2]
            assert ("◆ odd [b]one[/b]" in status) is there

    drive(script)


def test_a_message_takes_the_place_of_the_one_before() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        for text in ("one", "two"):
            app.say(text)
            await pilot.pause()
        assert messages(app) == ["two"]

    drive(script)


@pytest.mark.slow
def test_escape_leaves_the_bookmarks_alone(copy: Path) -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        assert app.model is not None
        await pilot.press("b", *"no", "escape")
        await pilot.pause()
        assert app.model.notes.bookmarks == []
        await pilot.press("B")  # there is none: a message, no list
        await pilot.pause()
        assert not isinstance(app.screen, BookmarkList)
        app.model.set_bookmark(3, "three")
        await pilot.press("B", "j", "k", "escape")
        await pilot.pause()
        assert not app.query(OptionList)
        assert len(app.model.notes.bookmarks) == 1

    drive(script, copy)


def test_every_row_is_found_by_its_bookmark() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        assert app.model is not None
        model = app.model
        for row in range(0, model.total, 997):
            model.set_bookmark(row, "")
            mark = model.bookmark_at(row)
            assert mark is not None
            found = model.row_of(mark)
            assert found is not None  # of equal stamps on one CPU, the first
            assert model.bookmark_at(found) is mark

    drive(script)


def test_an_unusable_session_ends_it_with_the_reason(tmp_path: Path) -> None:
    import asyncio

    async def run() -> TracekitApp:
        app = TracekitApp(tmp_path)
        async with app.run_test() as pilot:
            await until(pilot, lambda: app.failed is not None, "it failed")
        return app

    app = asyncio.run(run())
    assert app.failed is not None
    assert app.failed.exit_code == 4
    assert "manifest.json" in str(app.failed)


def _without(path: Path, *patterns: str) -> Path:
    for pattern in patterns:
        for found in path.glob(pattern):
            found.unlink()
    return path


@pytest.mark.parametrize("size", [(60, 20), (250, 80)])
def test_a_session_without_a_boot(tmp_path: Path, size: tuple[int, int]) -> None:
    document = {"format_version": 1, "tool": "tracekit", "state": "recovered", "boots": []}
    (tmp_path / "manifest.json").write_text(json.dumps({**document, "files": {}}))

    async def script(app: TracekitApp, pilot: Piloted) -> None:
        assert "nothing was recorded" in screen_text(app)
        await _try_all(app, pilot)

    drive(script, tmp_path, size)


@pytest.mark.slow
def test_a_half_recovered_session_says_what_is_missing(copy: Path) -> None:
    _without(copy, "boots/0/regions/*", "boots/1/tracefs/per_cpu/cpu1/*", "boots/1/kernel.json")

    async def script(app: TracekitApp, pilot: Piloted) -> None:
        await pilot.press("G")
        await pilot.pause()
        text = screen_text(app)
        assert "incomplete" in text
        assert "listed in the manifest, but not there" in text
        await _try_all(app, pilot)

    drive(script, copy, (120, 60))


@pytest.mark.slow
def test_a_session_of_garbage(copy: Path) -> None:
    for number, path in enumerate(sorted(copy.rglob("*"))):
        if path.is_file() and path.name != "manifest.json" and number % 2:
            path.write_bytes(b"\x1b[31m\x00\xff" * 64)

    async def script(app: TracekitApp, pilot: Piloted) -> None:
        assert "incomplete" in screen_text(app)
        assert "\x1b" not in screen_text(app)
        await _try_all(app, pilot)

    drive(script, copy)


@pytest.mark.slow
def test_sizes_change_under_way() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        for size in ((60, 20), (250, 80), (80, 24), (20, 5), (139, 30), (141, 30)):
            await pilot.resize_terminal(*size)
            for key in "12345":
                await pilot.press(key)
                await pilot.pause()
                lines = screen_text(app).splitlines()
                assert len(lines) == size[1]
                assert max(map(len, lines)) <= size[0]

    drive(script)


async def _try_all(app: TracekitApp, pilot: Piloted) -> None:
    """Every view, with the keys that move about."""
    for view in "12345":
        await pilot.press(view)
        await pilot.press(*"jjkkllhhGgwsadeEzm[]0", "enter", "home", "end", "pageup", "pagedown")
        await pilot.pause()
