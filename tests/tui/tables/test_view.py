"""The tables: what they show, how they sort, and where their rows lead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.support.driver import drive, matches_snapshot, model_of, screen_text, until
from tests.support.ring.event_payloads import data_loc_string
from tests.support.ring.region_writer import RingBuffer, layout_615
from tests.support.session_trees import make_session
from tests.support.views.tables_view import to
from tracekit.report.devices import Device
from tracekit.text import duration
from tui.app import TracekitApp
from tui.sorted_table import Column, Sheet, SortTable
from tui.tables.sheets import reported_sheets
from tui.tables.view import TablesView
from tui.theme import Look, fitted

Piloted = Pilot[Any]
Script = Callable[[TracekitApp, Piloted, TablesView], Any]


def tables(script: Script, path: Path | None = None, size: tuple[int, int] = (80, 24)) -> None:
    """Run ``script`` on the Tables view, once everything is counted."""

    async def run(app: TracekitApp, pilot: Piloted) -> None:
        await pilot.press("4")
        view = app.query_one(TablesView)
        await until(pilot, lambda: view.complete, "the tables are complete")
        await script(app, pilot, view)

    drive(run, path, size)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
@pytest.mark.parametrize("title", ["CPUs", "Tasks", "Events", "Devices", "Initcalls"])
def test_snapshot(size: tuple[int, int], title: str) -> None:
    async def script(app: TracekitApp, pilot: Piloted, view: TablesView) -> None:
        await to(pilot, view, title)
        await matches_snapshot(pilot, f"tables-{title.lower()}-{size[0]}x{size[1]}")

    tables(script, size=size)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(60, 20), (80, 24), (250, 80)])
def test_every_table_fits(size: tuple[int, int]) -> None:
    async def script(app: TracekitApp, pilot: Piloted, view: TablesView) -> None:
        table = app.query_one(SortTable)
        for title in ("CPUs", "Tasks", "Events", "Devices", "Initcalls"):
            await to(pilot, view, title)
            lines = screen_text(app).splitlines()
            head = next(i for i, line in enumerate(lines) if "▼" in line or "▲" in line)
            shown = lines[head + 1 : head + table.size.height]
            rows = [line for line in shown if line.strip("▌▅▄▆█▏▎▇ ")]
            assert len(rows) == min(len(view.sheet.rows), table.size.height - 1)
            assert all(len(line) <= size[0] for line in lines)
            assert table.max_scroll_x == 0

    tables(script, size=size)


def test_left_and_right_go_round_the_tables() -> None:
    async def script(app: TracekitApp, pilot: Piloted, view: TablesView) -> None:
        seen = []
        for key in ("right", "l", "tab", "right", "l", "right", "l", "tab", "right", "l", "tab"):
            seen.append(view.sheet.title)
            await pilot.press(key)
        assert seen == [
            "CPUs", "Tasks", "Events", "Spans", "Devices", "Initcalls", "Functions", "Syscalls",
            "Irqs", "Waits", "Wakeups",
        ]  # fmt: skip
        assert view.sheet.title == "CPUs"
        for key in ("left", "h", "shift+tab"):
            await pilot.press(key)
        assert view.sheet.title == "Irqs"
        await pilot.click(TablesView, offset=(18, 0))
        await pilot.pause()
        assert view.sheet.title != "Irqs"

    tables(script)


def test_sorting_by_every_column() -> None:
    async def script(app: TracekitApp, pilot: Piloted, view: TablesView) -> None:
        await to(pilot, view, "Events")
        sheet = view.sheet
        first = sheet.sort
        for _ in sheet.columns:
            await pilot.press("o")
            assert sheet.falling == sheet.columns[sheet.sort].falling
            for falling in (sheet.falling, not sheet.falling):
                keys = [sheet.columns[sheet.sort].key(sheet.rows[i]) for i in sheet.order]
                assert keys == sorted(keys, reverse=falling)
                await pilot.press("O")
            await pilot.pause()
            assert "▲▼"[sheet.falling] in screen_text(app)
        for _ in sheet.columns:  # there are no more that are shown
            if sheet.sort != first:
                await pilot.press("o")
        assert sheet.sort == first

    tables(script, size=(160, 48))


def test_a_click_on_a_title_sorts_and_on_it_again_reverses() -> None:
    async def script(app: TracekitApp, pilot: Piloted, view: TablesView) -> None:
        await to(pilot, view, "Events")
        await pilot.click(SortTable, offset=(3, 0))
        assert (view.sheet.sort, view.sheet.falling) == (0, False)
        await pilot.click(SortTable, offset=(3, 0))
        assert (view.sheet.sort, view.sheet.falling) == (0, True)

    tables(script)


def test_sorting_keeps_the_row_that_is_selected() -> None:
    async def script(app: TracekitApp, pilot: Piloted, view: TablesView) -> None:
        await to(pilot, view, "Tasks")
        for key in ("j", "down", "j"):
            await pilot.press(key)
        row = view.sheet.selected
        for key in ("o", "O", "o", "o"):
            await pilot.press(key)
            assert view.sheet.selected is row
        await pilot.pause()
        assert "▌" in screen_text(app)  # still on the screen

    tables(script)


@pytest.mark.slow
def test_moving() -> None:
    async def script(app: TracekitApp, pilot: Piloted, view: TablesView) -> None:
        await to(pilot, view, "Initcalls")
        table, last = app.query_one(SortTable), len(view.sheet.rows) - 1
        for key, at in (("down", 1), ("j", 2), ("up", 1), ("k", 0), ("k", 0), ("G", last),
                        ("j", last), ("home", 0), ("end", last), ("home", 0)):  # fmt: skip
            await pilot.press(key)
            assert view.sheet.cursor == at, key
        await pilot.press("pagedown")
        page = view.sheet.cursor
        assert 10 < page < table.size.height
        await pilot.press("pageup")
        assert view.sheet.cursor == 0
        await pilot.click(SortTable, offset=(5, 4))
        assert view.sheet.cursor == 3

    tables(script)


def test_an_unknown_value_is_last_either_way() -> None:
    column = Column("x", str, lambda row: row)
    sheet = Sheet("t", (column,))
    sheet.fill([3, None, 1, None, 2])
    assert [sheet.rows[i] for i in sheet.order] == [3, 2, 1, None, None]
    sheet.sort_by(0, False)
    assert [sheet.rows[i] for i in sheet.order] == [1, 2, 3, None, None]


@pytest.mark.slow
@pytest.mark.parametrize("title", ["CPUs", "Tasks", "Events"])
def test_enter_goes_to_the_first_event(title: str) -> None:
    async def script(app: TracekitApp, pilot: Piloted, view: TablesView) -> None:
        assert app.model is not None
        await to(pilot, view, title)
        await pilot.press("G", "k")
        row: Any = view.sheet.selected
        await pilot.press("enter")
        await pilot.pause()
        recording = app.model.recording
        (event,) = recording.table(slice(app.model.cursor, app.model.cursor + 1)).to_pylist()
        if title == "CPUs":
            assert (event["boot"], event["cpu"]) == (row.count.boot, row.count.account.cpu)
            assert event["ts_ns"] == row.count.account.first_ns
        elif title == "Tasks":
            assert (event["boot"], event["pid"]) == (row.count.boot, row.count.pid)
        else:
            assert (event["boot"], event["event"]) == (row.boot, row.name)
        assert app.query_one("#timeline").display

    tables(script)


@pytest.mark.slow
@pytest.mark.parametrize("title", ["Devices", "Initcalls"])
def test_enter_shows_the_call(title: str) -> None:
    async def script(app: TracekitApp, pilot: Piloted, view: TablesView) -> None:
        assert app.model is not None
        await to(pilot, view, title)
        await pilot.press("j")
        row: Any = view.sheet.selected
        await pilot.press("enter")
        await pilot.pause()
        start, end = app.model.window
        assert start < row.start_ns < row.start_ns + row.duration_ns < end
        assert end - start < row.duration_ns * 1.5
        assert app.query_one("#timeline").display

    tables(script)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("title", "where"),
    [
        ("CPUs", "boot = 0 and cpu = 0"),
        ("Tasks", "boot = 0 and pid = 0"),
        ("Events", "boot = 0 and event = sched:sched_switch"),
    ],
)
def test_space_asks_for_only_this(title: str, where: str) -> None:
    asked: list[str] = []

    async def script(app: TracekitApp, pilot: Piloted, view: TablesView) -> None:
        app.filter_by = asked.append  # type: ignore[attr-defined,method-assign,assignment,unused-ignore]
        await to(pilot, view, title)
        await pilot.press("space")
        await pilot.pause()

    tables(script)
    assert asked == [where]


def test_only_a_device_are_the_events_that_name_it() -> None:
    async def script(app: TracekitApp, pilot: Piloted, view: TablesView) -> None:
        model = model_of(app)
        await to(pilot, view, "Devices")
        row: Any = view.sheet.selected
        await pilot.press("space")
        await until(pilot, lambda: model.where != "" and not model.pending, "the filter applies")
        events = model.recording.table(model.selection.page(0, 100)).to_pylist()
        assert len(events) >= 2
        assert all(row.name in event["args"] and event["boot"] == row.boot for event in events)

    tables(script)


def test_only_an_initcall_are_the_events_during_it() -> None:
    async def script(app: TracekitApp, pilot: Piloted, view: TablesView) -> None:
        model = model_of(app)
        await to(pilot, view, "Initcalls")
        row: Any = view.sheet.selected
        await pilot.press("space")
        await until(pilot, lambda: model.where != "" and not model.pending, "the filter applies")
        ts = model.ts_ns[model.selection.page(0, 1 << 20)]
        assert len(ts) and (ts >= row.start_ns).all()
        assert (ts <= row.start_ns + row.duration_ns).all()

    tables(script)


def test_a_device_that_never_returned_comes_first_and_is_bad() -> None:
    def device(name: str, took: int | None, master: bool | None, finished: bool) -> Device:
        return Device(name, "d", "f", 0, 5, took, master, finished)

    rows = (device("a", 90, None, True), device("stuck", None, None, False),
            device("dma", 10, True, True))  # fmt: skip
    report: Any = type("R", (), {"devices": rows, "initcalls": (), "units": ()})()
    sheet = reported_sheets(report)[0]
    assert [sheet.rows[i].name for i in sheet.order] == ["stuck", "a", "dma"]
    assert [sheet.style(sheet.rows[i]) for i in sheet.order] == ["bad", "", "warn"]
    shown = [[c.text(sheet.rows[i]) for c in sheet.columns] for i in sheet.order]
    assert "never returned" in shown[0]
    assert [cells[-1] for cells in shown] == ["unknown", "unknown", "yes"]
    assert {"bad", "warn"} <= set(Look.__dataclass_fields__)


def test_what_a_table_shows_is_what_was_counted() -> None:
    async def script(app: TracekitApp, pilot: Piloted, view: TablesView) -> None:
        assert app.model is not None
        text = screen_text(app)
        for boot in app.model.report.boots:
            for cpu in boot.cpus:
                assert f"{cpu.events:,}" in text
        assert "sched:sched_switch was not recorded" in text  # of the new kernel
        await to(pilot, view, "Devices")
        for device in app.model.report.devices[:5]:
            assert duration(device.duration_ns) in screen_text(app)

    tables(script)


def test_an_empty_session_has_empty_tables(tmp_path: Path) -> None:
    async def script(app: TracekitApp, pilot: Piloted, view: TablesView) -> None:
        for _ in range(5):
            for key in ("j", "k", "home", "G", "pagedown", "pageup", "o", "O", "enter", "space"):
                await pilot.press(key)
            await pilot.press("right")
        await to(pilot, view, "Devices")
        await pilot.pause()
        assert "no device's shutdown was recorded" in screen_text(app)

    tables(script, make_session(tmp_path, layout_615([RingBuffer(4)])))


def test_one_event(tmp_path: Path) -> None:
    ring = RingBuffer(4)
    ring.write(1_000_000, data_loc_string(1, b"text"))

    async def script(app: TracekitApp, pilot: Piloted, view: TablesView) -> None:
        await to(pilot, view, "Events")
        assert "test:data_loc" in screen_text(app)
        assert "100.0%" in screen_text(app)
        assert "unknown" in screen_text(app)  # no rate: no time passed
        await pilot.press("enter")
        await pilot.pause()
        assert app.model is not None
        assert app.model.cursor == 0

    tables(script, make_session(tmp_path, layout_615([ring])))


def test_a_damaged_region_opens(tmp_path: Path) -> None:
    ring = RingBuffer(20)
    for i in range(2000):
        ring.write(1_000_000 + i * 1000, data_loc_string(i, b"text"))
    session = make_session(tmp_path, layout_615([ring]))
    (raw,) = (session / "boots/0/regions").glob("*.raw*")
    raw.write_bytes(raw.read_bytes()[:300])

    async def script(app: TracekitApp, pilot: Piloted, view: TablesView) -> None:
        for title in ("CPUs", "Tasks", "Events"):
            await to(pilot, view, title)
            await pilot.press("enter")
            await pilot.press("4")

    tables(script, session)


@pytest.mark.parametrize("width", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("text", ["", "abc", "äöü", "日本語テ", "\x1b[2J", "a\nb\tc", "x" * 50])
def test_cells_are_as_wide_as_asked_and_plain(text: str, width: int) -> None:
    from rich.cells import cell_len

    for right in (False, True):
        cell = fitted(text, width, right)
        assert cell_len(cell) == width
        assert cell.isprintable()
