"""Keys: those that arrive faster than they are handled, the line that names them, the help, and
the commands of the palette."""

from __future__ import annotations

from typing import Any

import pytest
from textual.binding import Binding
from textual.events import Key
from textual.keys import format_key
from textual.pilot import Pilot
from textual.widgets import ContentSwitcher, Input

from tests.support.driver import drive, screen_text, until
from tui.app import TracekitApp
from tui.bars import KeyLine
from tui.dialogs.help import KEYS
from tui.dialogs.palette import palette
from tui.events.details import Details
from tui.events.table import EventsTable
from tui.kho import ItemTree, KhoView
from tui.sorted_table import SortTable
from tui.story.spans import SpanList
from tui.story.view import StoryView
from tui.tables.view import TablesView
from tui.timeline.view import TimelineView

Piloted = Pilot[Any]


def at_once(app: TracekitApp, *keys: str) -> None:
    """Keys as one packet of a slow line brings them: none waits for the one before."""
    for key in keys:
        name = {"/": "slash"}.get(key, key)
        app.post_message(Key(name, key if len(key) == 1 else None))


# -- type-ahead -------------------------------------------------------------------------------


def test_what_is_typed_behind_a_slash_is_searched_for() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        assert app.model is not None
        model = app.model
        await pilot.press("2")
        window, cursor = model.window, model.cursor
        at_once(app, "/", *"sched")
        field = app.query_one("SearchBar Input", Input)
        await until(pilot, lambda: field.value == "sched", "all of it is in the line")
        assert (model.window, model.cursor) == (window, cursor)

    drive(script)


def test_keys_go_to_what_the_key_before_opened_or_closed() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        assert app.model is not None
        model = app.model
        at_once(app, "3", "j", "j", "b", *"hi", "enter", "j", "2", "m")
        await until(pilot, lambda: model.marks[0] is not None, "the last key did what it does")
        assert [b.note for b in model.notes.bookmarks] == ["hi"]
        assert model.bookmark_at(2) is not None
        assert model.cursor == 3
        assert app.query_one(ContentSwitcher).current == "timeline"
        assert model.marks[0] == model.cursor_ns

    drive(script)


@pytest.mark.slow
def test_no_key_is_lost_when_what_it_was_for_goes_away() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        for _ in range(5):
            at_once(app, "?", "escape", "F", "escape", "x", "escape", "ctrl+p", "escape")
        at_once(app, "5")
        switcher = app.query_one(ContentSwitcher)
        await until(pilot, lambda: switcher.current == "kho", "the last one arrived")
        assert len(app.screen_stack) == 1

    drive(script)


# -- what names them --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("size", [(60, 20), (80, 24), (250, 80)])
def test_the_line_of_keys_begins_with_help_and_quit_and_cuts_none(size: tuple[int, int]) -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        for view in "12345":
            await pilot.press(view)
            await pilot.pause()
            line = screen_text(app).splitlines()[-1]
            assert line.startswith(" ? Help  q Quit  ")
            words = " ".join(line.split())
            shown = (a.binding for a in app.screen.active_bindings.values() if a.binding.show)
            for text in (f"{app.get_key_display(b)} {b.description}" for b in shown):
                words = words.replace(text, "", 1)
            assert not words.strip()

    drive(script, size=size)


def test_a_key_of_the_line_can_be_clicked() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        await pilot.press("2")
        await pilot.pause()
        assert app.model is not None
        for name, true in (
            ("Mark", lambda: app.model is not None and app.model.marks[0] is not None),
            ("Help", lambda: len(app.screen_stack) == 2),
        ):
            at = screen_text(app).splitlines()[-1].index(name)
            await pilot.click(KeyLine, offset=(at, 0))
            await until(pilot, true, name)

    drive(script)


def test_while_a_line_is_typed_only_its_own_keys_are_named() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        for key in "f/":
            await pilot.press({"/": "slash"}.get(key, key))
            await pilot.pause()
            line = screen_text(app).splitlines()[-1]
            assert line.startswith(" ⏎ Keep  esc Go back")
            assert "tab Complete" in line
            assert ("Save" in line) == (key == "f")
            assert not {"Help", "Quit", "Search"} & set(line.split())
            await pilot.press("escape")

    drive(script)


def _keys(*classes: Any) -> set[str]:
    """The keys that are bound there, as the help writes them."""
    found = set()
    for cls in classes:
        for binding in Binding.make_bindings(cls.BINDINGS):
            found.add(format_key(binding.key))
    return found


def test_the_help_names_every_key() -> None:
    written = {
        "shift+left": "shift+← →", "shift+right": "shift+← →", "⏎": "enter", "=": "+",
        "pgup": "page up", "pgdn": "page down",
    }  # fmt: skip
    bound = {
        "Everywhere": _keys(TracekitApp) - {"?", "esc"},
        "Story": _keys(StoryView, SpanList),
        "Timeline": _keys(TimelineView),
        "Events": (_keys(EventsTable, Details) | {"c", "o", "i"}) - {"ctrl+b", "ctrl+f"},
        "Tables": _keys(TablesView, SortTable) - {"ctrl+b", "ctrl+f", "shift+tab"},
        "KHO": _keys(KhoView, ItemTree) - {"ctrl+b", "ctrl+f"},
    }
    assert {heading for heading, _ in KEYS} == set(bound)
    for heading, keys in KEYS:
        text = " ".join(f"{key}  {what}" for key, what in keys)
        for key in bound[heading]:
            assert f" {written.get(key, key)}" in f" {text}".replace("(", " "), (heading, key)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("view", "part"),
    [("story", 0), ("events", 1), ("timeline", 0), ("tables", 1), ("kho", 0)],
)
def test_every_command_of_the_palette_can_be_given(view: str, part: int) -> None:
    """Half of them in each view, by turns."""

    async def script(app: TracekitApp, pilot: Piloted) -> None:
        commands = list(palette(app, app.screen))
        titles = [command.title for command in commands]
        assert len(set(titles)) == len(titles)
        assert {"Jump", "Filter", "Next match"} <= set(titles)
        assert ("Next gap in the lane" in titles) == (view == "timeline")
        assert ("Copy the row" in titles) == (view == "events")
        for command in commands[part::2]:
            app.action_show_view(view)
            await pilot.pause()
            result = command.callback()
            if result is not None:
                await result
            await pilot.pause()
            await pilot.press("escape", "escape")
            assert app.is_running, command.title

    drive(script, view=view)
