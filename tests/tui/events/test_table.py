"""The table of events: every key that moves, the mouse, filters, marks, and 20 million rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from textual.pilot import Pilot

from tests.support.driver import screen_text, until
from tests.support.textual_state import messages
from tests.support.views.events_view import events, highlighted, lines, sorted_by, view
from tracekit.query.selection import Selection
from tracekit.recording import Recording
from tui.app import TracekitApp
from tui.events.table import EventsTable
from tui.model import Model


def test_every_key_that_moves() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        page = table.size.height - 2
        last = model.total - 1
        steps = [
            ("down", 1), ("j", 2), ("up", 1), ("k", 0), ("k", 0), ("pagedown", page),
            ("pageup", 0), ("G", last), ("down", last), ("home", 0), ("end", last), ("home", 0),
        ]  # fmt: skip
        for key, row in steps:
            await pilot.press(key)
            assert (model.cursor, table.at) == (row, row), key
            await pilot.pause()
            event = model.recording.table(np.array([row]))["event"][0].as_py()
            assert event.partition(":")[2] in highlighted(app)

    events(script)


def test_the_cursor_is_followed_and_leads() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        moves: list[int] = []
        model.cursor_changed.subscribe(table, moves.append)
        model.move_to(12_345)
        await pilot.pause()
        assert table.at == 12_345
        assert "▌" in screen_text(app)
        assert moves == [12_345]
        await pilot.press("j")
        assert (model.cursor, moves) == (12_346, [12_345, 12_346])  # once: nothing comes back

    events(script)


def test_enter_shows_the_event_in_the_timeline() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        model.look_at(-1000, 1000)
        await pilot.press("home", "j", "enter")
        assert view(app) == "timeline"
        start, end = model.window
        assert start <= model.ts_ns[1] < end

    events(script)


def test_next_and_previous_of_the_same_event() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        codes = model.recording.name_codes(slice(None))
        same = np.flatnonzero(codes == codes[500]).tolist()
        at = same.index(500)
        model.move_to(500)
        for key, row in (("e", same[at + 1]), ("e", same[at + 2]), ("E", same[at + 1])):
            await pilot.press(key)
            await until(pilot, lambda row=row: model.cursor == row, f"{key} goes to {row}")
        few = np.array([same[0], same[-1]], np.uint32)
        model.select(Selection(model.total, few))
        await pilot.press("e")
        await until(pilot, lambda: model.cursor == same[-1], "only what is shown counts")
        await pilot.press("e")
        await until(pilot, lambda: bool(messages(app)), "there is no other")
        assert model.cursor == same[-1]

    events(script)


def test_the_mouse() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        await pilot.click(table, offset=(20, 6))
        assert model.cursor == 5
        table.scroll_down(animate=False)  # what the wheel does
        await pilot.pause()
        assert (model.cursor, int(table.scroll_offset.y) > 0) == (5, True)
        await pilot.click(table, offset=(20, 4))
        row = model.cursor
        assert row == 3 + int(table.scroll_offset.y)
        await pilot.click(table, offset=(20, 4), times=2)
        assert (view(app), model.cursor) == ("timeline", row)

    events(script)


def test_dragging_the_scrollbar_reaches_the_end() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        height = table.size.height
        right = table.region.right - 1
        await pilot.mouse_down(offset=(right, table.region.y))
        await pilot.hover(offset=(right, table.region.y + height - 1))
        await pilot.mouse_up(offset=(right, table.region.y + height - 1))
        await pilot.pause(0.2)
        assert table.scroll_offset.y > model.total * 0.9
        assert model.cursor == 0

    events(script)


def test_columns_scroll_sideways() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        model.move_to(1000)
        before = lines(app)[1]
        await pilot.press("l", "right")
        await pilot.pause()
        assert lines(app)[1].startswith(before[16:40])
        await pilot.press("h", "left", "left")
        await pilot.pause()
        assert lines(app)[1][:60] == before[:60]

    events(script)


def test_copying_a_row() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        await pilot.press("home", "j", "y")
        row = model.recording.table(np.array([1])).to_pylist()[0]
        copied = app.clipboard.split("\t")
        assert copied[1:5] == [
            str(row["cpu"]), f"{row['comm']}-{row['pid']}", row["event"], row["args"],
        ]  # fmt: skip
        assert copied[0] == f"{row['ts_ns'] / 1e9:.9f}"
        assert {str(row["ts_raw"]), row["source"], str(row["boot"])} <= set(copied[5:])

    events(script)


def test_a_filter_keeps_the_order_and_the_cursor_goes_to_what_is_near() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        rows = np.arange(0, model.total, 50, dtype=np.uint32)
        model.move_to(1001)
        model.select(Selection(model.total, rows), "every 50th")
        await pilot.pause()
        assert model.cursor == 1050
        assert table.at == 1050 // 50
        assert highlighted(app)
        table.sort_by("cpu", True)
        await sorted_by(pilot, table, ("cpu", True))
        model.select(Selection(model.total, rows[::2]), "every 100th")
        await until(pilot, lambda: table.pages.shown.order is not None, "sorted again")
        order = table.pages.shown.order
        assert order is not None
        assert np.sort(order).tolist() == rows[::2].tolist()
        cpus = model.recording.rows.cpu[order]
        assert (np.diff(cpus.astype(int)) <= 0).all()
        model.select(Selection(model.total, np.empty(0, np.uint32)), "nothing[b]")
        await pilot.pause()
        assert "no event meets nothing[b]" in screen_text(app)
        for key in ("j", "G", "e", "y", "enter", "t", "l"):
            await pilot.press(key)
        model.select(Selection(model.total))
        await until(pilot, lambda: len(table.pages.shown) == model.total, "all again")

    events(script)


def test_bookmarks_and_matches_are_marked(session: Callable[[str], Path], tmp_path: Path) -> None:
    copy = tmp_path / "session"
    shutil.copytree(session("handover-7.2-tsc"), copy)

    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        model.set_bookmark(2, "here")
        model.set_matches(np.array([4], np.uint32))
        await pilot.pause()
        shown = lines(app)[2:]
        assert [n for n, line in enumerate(shown) if line[1:2] == "◆"] == [2]
        assert [n for n, line in enumerate(shown) if line[1:2] == "•"] == [4]

    events(script, copy)


class Repeated(Recording):
    """A recording that shows its rows again and again."""

    def table(self, at: Any = slice(None), *, args: bool = True) -> Any:
        assert len(at) <= 64  # only what is on the screen
        return super().table(at % len(self), args=args)

    def fields(self, at: Any) -> Any:
        return super().fields(at % len(self))


def test_twenty_million_rows(session: Callable[[str], Path]) -> None:
    total = 20_000_000

    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        model.recording.__class__ = Repeated
        model.report = replace(model.report, handovers=())
        model.total = total
        model.ts_ns = np.arange(total, dtype=np.int64) * 1000
        model.extent = model.window = (0, total * 1000)
        model.select(Selection(total))
        await pilot.press("G")
        await pilot.pause()
        assert model.cursor == total - 1
        assert highlighted(app)
        await pilot.press("k", "k")
        assert model.cursor == total - 3
        for row in (12_345_678, 3, 19_999_000, 16_777_217):
            model.move_to(row)
            await pilot.pause()
            assert (table.at, bool(highlighted(app))) == (row, True)
        top = int(table.scroll_offset.y)
        table.scroll_relative(y=1, animate=False)
        await pilot.pause()
        assert int(table.scroll_offset.y) == top + 1  # lines do not melt into one another
        right, height = table.region.right - 1, table.size.height
        await pilot.press("home")
        await pilot.pause()
        await pilot.mouse_down(offset=(right, table.region.y))
        await pilot.hover(offset=(right, table.region.y + height // 2))
        await pilot.mouse_up(offset=(right, table.region.y + height // 2))
        await pilot.pause(0.2)
        assert total * 0.3 < table.scroll_offset.y < total * 0.7
        y = int(table.scroll_offset.y)
        await pilot.click(table, offset=(20, 3))
        assert model.cursor == y + 2

    events(script, session("same-boot-7.2"))
