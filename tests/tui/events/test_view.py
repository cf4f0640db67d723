"""The Events view: every key, the mouse, columns, sorting, and what it follows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot
from textual.widgets import ContentSwitcher, OptionList

from tests.support.driver import drive, matches_snapshot, screen_text, until
from tests.support.ring.event_payloads import data_loc_string, function
from tests.support.ring.region_writer import TEXT_ADDR, RingBuffer, layout_615
from tests.support.session_trees import make_session
from tracekit.query.selection import Selection
from tracekit.recording import Recording
from tui.app import TracekitApp
from tui.events.details import Details
from tui.events.table import EventsTable
from tui.model import Model

Script = Callable[[TracekitApp, Pilot[Any], Model, EventsTable], Any]


def events(
    script: Script, path: Path | None = None, size: tuple[int, int] = (80, 24), **options: Any
) -> None:
    """Run ``script`` with the Events view in front."""

    async def run(app: TracekitApp, pilot: Pilot[Any]) -> None:
        await pilot.pause()
        assert app.model is not None
        table = app.query_one("#events-table", EventsTable)
        await until(pilot, lambda: table.has_focus, "the table has the focus")
        await script(app, pilot, app.model, table)

    drive(run, path, size, view="events", **options)


def lines(app: TracekitApp) -> list[str]:
    return screen_text(app).splitlines()


def highlighted(app: TracekitApp) -> str:
    """The line of the cursor."""
    (line,) = (line for line in lines(app) if line.startswith("▌"))
    return line


def view(app: TracekitApp) -> str | None:
    return app.query_one(ContentSwitcher).current


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_snapshot(size: tuple[int, int]) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        await pilot.press("0", "i")
        pane = app.query_one(Details)
        await until(pilot, lambda: pane.size.width > 0, "the details")
        await pilot.pause(0.2)
        matches_snapshot(app, f"events-{size[0]}x{size[1]}")

    events(script, size=size)


# -- moving -----------------------------------------------------------------------------------


def test_every_key_that_moves() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        page = table.size.height - 2
        last = model.total - 1
        steps = [
            ("down", 1), ("j", 2), ("up", 1), ("k", 0), ("k", 0), ("pagedown", page),
            ("pageup", 0), ("G", last), ("down", last), ("g", 0), ("end", last), ("home", 0),
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
        await pilot.press("g", "j", "enter")
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
        await until(pilot, lambda: len(app._notifications) > 0, "there is no other")
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


# -- what is shown ----------------------------------------------------------------------------


def test_rows_are_the_timelines(session: Callable[[str], Path]) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        await pilot.press("c")
        listed = app.screen.query_one(OptionList)
        for at in range(listed.option_count):
            listed.highlighted = at
            text = str(listed.get_option_at_index(at).prompt)
            if text.startswith("[ ]"):
                await pilot.press("space")
        await pilot.press("enter")
        await pilot.pause()
        table_ = model.recording.table(slice(0, 10)).to_pylist()
        shown = lines(app)[2:12]
        for row, line in zip(table_, shown, strict=True):
            words = line.strip("▌ ").split()
            ns = row["ts_ns"]
            assert words[0] == f"{ns / 1e9:.9f}"
            assert str(row["cpu"]) in words
            assert f"{row['comm'] or '<...>'}-{row['pid']}" in line
            assert row["event"][:20] in line
            assert str(row["ts_raw"]) in words

    events(script, session("handover-7.2-to-7.3-tsc"), (250, 80))


def test_the_jump_is_a_line_across_the_table() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        await pilot.press("0")
        await pilot.pause()
        screen = lines(app)
        (at,) = (n for n, line in enumerate(screen) if "jump: dark 2.002 s" in line)
        assert screen[at - 1].startswith("▌")
        jump = model.cursor
        await pilot.press("j")
        assert model.cursor == jump + 1  # the line is no row
        await pilot.pause()
        (at,) = (n for n, line in enumerate(lines(app)) if "jump: dark" in line)
        assert lines(app)[at + 1].startswith("▌")
        assert boot_of(model, jump) + 1 == boot_of(model, jump + 1)
        await pilot.press("G")
        await pilot.pause()
        assert (table.at, model.cursor) == (model.total - 1, model.total - 1)
        assert highlighted(app)

    events(script)


def boot_of(model: Model, row: int) -> int:
    return int(model.recording.rows.boot[row])


def test_time_by_the_jump_by_the_clock_and_as_recorded() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        await pilot.press("0", "t")
        await pilot.pause()
        assert "UTC" in lines(app)[1]
        assert "19:01:11.519426" in highlighted(app)  # CLOCK_REALTIME of the old kernel
        await pilot.press("t")
        await pilot.pause()
        assert str(model.recording.rows.ts_raw[model.cursor]) in highlighted(app)
        await pilot.press("t")
        await pilot.pause()
        assert " 0.000000 " in highlighted(app)

    events(script)


def test_more_columns_where_there_is_room() -> None:
    def titles(app: TracekitApp) -> list[str]:
        return lines(app)[1].split()

    for size, expected in (
        ((60, 20), "seconds cpu task event arguments"),
        ((100, 30), "seconds Δ cpu task event arguments"),
        ((250, 80), "seconds Δ cpu boot task event arguments flags from"),
    ):

        async def script(
            app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable,
            expected: str = expected,
        ) -> None:  # fmt: skip
            assert titles(app) == expected.split()
            assert all(len(line) <= app.size.width for line in lines(app))

        events(script, size=size)


def test_columns_are_chosen_also_of_arguments() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        codes = model.recording.name_codes(slice(None))
        switch = model.recording.event_names.index("sched:sched_switch")
        model.move_to(int(np.flatnonzero(codes == switch)[0]))
        await pilot.press("c")
        listed = app.screen.query_one(OptionList)
        prompts = [str(o.prompt) for o in listed.options]
        assert prompts[0].startswith("[x] time")
        listed.highlighted = next(n for n, p in enumerate(prompts) if "next_comm" in p)
        await pilot.press("space")
        listed.highlighted = 0
        await pilot.press("x", "j", "k", "enter")
        await pilot.pause()
        header = lines(app)[1]
        assert "next_comm" in header and "seconds" not in header
        typed = model.recording.fields(np.array([model.cursor]))[0]["next_comm"]
        assert typed in highlighted(app)
        assert header.index("arguments") > header.index("next_comm")
        await pilot.press("c", "a")
        await pilot.pause()
        assert "seconds" in lines(app)[1] and "next_comm" not in lines(app)[1]

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
        await pilot.press("g", "j", "y")
        row = model.recording.table(np.array([1])).to_pylist()[0]
        copied = app.clipboard.split("\t")
        assert copied[1:5] == [
            str(row["cpu"]), f"{row['comm']}-{row['pid']}", row["event"], row["args"],
        ]  # fmt: skip
        assert copied[0] == f"{row['ts_ns'] / 1e9:.9f}"
        assert {str(row["ts_raw"]), row["source"], str(row["boot"])} <= set(copied[5:])

    events(script)


# -- sorting and filters ----------------------------------------------------------------------


async def sorted_by(pilot: Pilot[Any], table: EventsTable, sort: tuple[str, bool] | None) -> None:
    await until(pilot, lambda: table.sort == sort, f"sorted by {sort}")
    await pilot.pause()


def test_sorting_by_keys_and_by_the_mouse() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        model.move_to(777)
        await pilot.press("o", "j", "enter")  # the second is the time since the row before
        await sorted_by(pilot, table, ("delta", False))
        assert (model.cursor, table.pages.row(table.at)) == (777, 777)
        await pilot.press("o", "enter")  # turned round: the longest silence is the first
        await sorted_by(pilot, table, ("delta", True))
        await pilot.press("g")
        await pilot.pause()
        times = model.ts_ns
        assert model.cursor == int(np.argmax(np.diff(times))) + 1
        assert "jump" not in screen_text(app)
        x = lines(app)[1].index("task")
        await pilot.click(table, offset=(x, 0))
        await sorted_by(pilot, table, ("task", False))
        assert "task▲" in lines(app)[1]
        await pilot.click(table, offset=(x, 0))
        await sorted_by(pilot, table, ("task", True))
        assert "task▼" in lines(app)[1]
        x = lines(app)[1].index("seconds")
        await pilot.click(table, offset=(x, 0))
        await until(pilot, lambda: table.sort is None, "by time again")
        assert table.pages.shown.order is None

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


# -- sessions of all kinds --------------------------------------------------------------------


def keys(*pressed: str) -> Script:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        for key in pressed:
            await pilot.press(key)
            await pilot.pause()

    return script


EVERYTHING = ("j", "G", "g", "pagedown", "l", "t", "t", "t", "i", "e", "E", "y", "o", "escape",
              "c", "escape", "tab", "j", "tab", "i", "enter")  # fmt: skip


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
    shutil.rmtree(path / "boots/0/tracefs/events/test")

    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, table: EventsTable) -> None:
        await keys(*EVERYTHING)(app, pilot, model, table)
        app.action_show_view("events")
        await pilot.press("i")
        await until(pilot, lambda: app.query_one(Details).display, "the details")
        await pilot.pause(0.2)
        assert "unknown:301" in screen_text(app)

    events(script, path, (120, 30))


# -- twenty million ---------------------------------------------------------------------------


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
        await pilot.press("g")
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
