"""Export from the interface: what, how, where to, never over a file by accident, and the end."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.support.driver import drive, screen_text, until
from tests.support.textual_state import messages
from tests.support.views.timeline_view import Piloted, timeline
from tracekit.cli import main
from tracekit.export.files import COLUMNS, write_csv, write_parquet
from tracekit.query.selection import Selection
from tracekit.recording import Recording
from tracekit.timeline.filter import Filter
from tui.app import TracekitApp
from tui.dialogs.export import ExportDialog, rows_in_window
from tui.dialogs.whole_files import trace_of
from tui.events.table import EventsTable
from tui.model import Model
from tui.tables.view import TablesView
from tui.timeline.state import LaneState

Script = Callable[[TracekitApp, Pilot[Any], Model], Any]


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files are written."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def shown(session: Callable[[str], Path]) -> Path:
    return session("handover-7.2-to-7.3-tsc")


def exporting(script: Script, path: Path, size: tuple[int, int] = (80, 24)) -> None:
    async def run(app: TracekitApp, pilot: Pilot[Any]) -> None:
        assert app.model is not None
        await script(app, pilot, app.model)

    drive(run, path, size, view="events")


async def asks(app: TracekitApp, pilot: Pilot[Any]) -> Input:
    """Open the dialog: the field of the name."""
    await pilot.press("x")
    await until(pilot, lambda: isinstance(app.screen, ExportDialog), "the dialog")
    return app.screen.query_one(Input)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


async def written(pilot: Pilot[Any], app: TracekitApp, path: Path) -> None:
    def done() -> bool:
        return path.exists() and all(w.is_finished for w in app.workers)

    await until(pilot, done, f"{path} is written")


def test_csv_of_what_is_shown(shown: Path, directory: Path) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model) -> None:
        rows = np.arange(3, model.total, 11, dtype=np.uint32)
        model.select(Selection(model.total, rows), "some")
        name = (await asks(app, pilot)).value
        assert name == "handover-7.2-to-7.3-tsc-filtered.csv"
        await until(pilot, lambda: f"{len(rows):,}, some" in screen_text(app), "it says which")
        await pilot.press("enter")
        await written(pilot, app, directory / name)
        expected = model.recording.table(rows.astype(np.int64)).select(COLUMNS).to_pylist()
        got = rows_of(directory / name)
        assert got == [{k: "" if v is None else str(v) for k, v in row.items()} for row in expected]

    exporting(script, shown)


def test_parquet_of_the_window(shown: Path, directory: Path) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model) -> None:
        model.look_at(-2_000_000, 1)
        await asks(app, pilot)
        await pilot.press("shift+tab", "j", "shift+tab", "j")  # Parquet; the window
        name = app.screen.query_one(Input).value
        assert name.endswith("-events.parquet")
        await pilot.press("ctrl+s")
        await written(pilot, app, directory / name)
        times = pq.read_table(directory / name)["ts_ns"].to_pylist()
        start, end = model.window
        assert times == [int(t) for t in model.ts_ns if start <= t < end]
        assert times

    exporting(script, shown)


def test_a_picture_of_the_screen(shown: Path, directory: Path) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model) -> None:
        field = await asks(app, pilot)
        await pilot.click("#export-form", offset=(5, 1))
        assert field.value.endswith(".parquet")
        await pilot.press("j", "j", "j", "j")  # SVG is the last
        assert field.value.endswith("-screen.svg")
        field.focus()
        await pilot.press("enter")
        await written(pilot, app, directory / field.value)
        picture = (directory / field.value).read_text()
        assert picture.startswith("<svg")
        first = model.recording.table(np.array([0]))["event"][0].as_py()
        assert first.partition(":")[2] in picture
        assert "Export" not in picture  # the dialog itself is not in it

    exporting(script, shown)


@pytest.mark.parametrize(
    ("form", "name", "begin"),
    [
        (2, "handover-7.2-to-7.3-tsc-filtered.pftrace", b"\x0a"),
        (3, "handover-7.2-to-7.3-tsc-boot-1.dat", b"\x17\x08Dtracing6\0"),
        (4, "handover-7.2-to-7.3-tsc-report.html", b"<!doctype html>"),
    ],
)
def test_traces_and_the_page(
    form: int, name: str, begin: bytes, shown: Path, directory: Path
) -> None:
    """Made by the command line, in another process."""

    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model) -> None:
        model.select(Selection(model.total), "boot = 1")
        model.move_to(model.total - 1)
        field = await asks(app, pilot)
        await pilot.click("#export-form", offset=(5, form))
        assert field.value == name
        assert app.screen.query_one("#export-what").disabled == (form > 2)
        field.focus()
        await pilot.press("enter")
        await written(pilot, app, directory / name)
        await until(pilot, lambda: f"{name} is written" in messages(app), "it is told")
        assert (directory / name).read_bytes().startswith(begin)

    exporting(script, shown, (120, 30))


def test_a_trace_holds_what_is_shown(shown: Path, directory: Path) -> None:
    session, target = shown.absolute(), directory / "x.pftrace"
    words = trace_of(shown, target, "event = sched_switch", (-1_000, 5))
    assert words == [
        "export", "--format", "perfetto", f"--output={target}", "--where=event = sched_switch",
        "--from=-1000ns", "--to=4ns", "--", str(session),
    ]  # fmt: skip
    assert main(["-q", *words]) == 0
    assert b"sched_process_exec" not in target.read_bytes()


def test_what_the_command_line_refuses_is_told(shown: Path, directory: Path) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model) -> None:
        field = await asks(app, pilot)
        await pilot.click("#export-form", offset=(5, 3))
        field.value = "x.dat.gz"
        field.focus()
        await pilot.pause()
        await pilot.press("enter")
        refusal = "trace-cmd reads no file that was compressed"
        await until(pilot, lambda: any(refusal in told for told in messages(app)), "an error")
        assert list(directory.iterdir()) == []

    exporting(script, shown)


def test_nothing_is_overwritten_unasked(shown: Path, directory: Path) -> None:
    precious = directory / "handover-7.2-to-7.3-tsc-events.csv"
    precious.write_text("precious")

    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model) -> None:
        field = await asks(app, pilot)
        assert field.value == "handover-7.2-to-7.3-tsc-events-1.csv"
        field.value = precious.name
        await pilot.pause()
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, ExportDialog)
        assert "enter once more replaces it" in screen_text(app)
        assert precious.read_text() == "precious"
        field.value = str(directory)
        await pilot.pause()
        await pilot.press("enter")
        assert isinstance(app.screen, ExportDialog)
        field.value = precious.name
        await pilot.pause()
        await pilot.press("enter", "enter")
        await until(pilot, lambda: precious.read_text() != "precious", "it is replaced")
        await written(pilot, app, precious)
        assert len(rows_of(precious)) == model.total

    exporting(script, shown)


def test_escape_writes_nothing(shown: Path, directory: Path) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model) -> None:
        await asks(app, pilot)
        await pilot.press("escape")
        await pilot.pause()
        assert not isinstance(app.screen, ExportDialog)
        assert list(directory.iterdir()) == []

    exporting(script, shown)


def test_a_place_that_cannot_be_written_to_is_told(shown: Path, directory: Path) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model) -> None:
        (await asks(app, pilot)).value = "nowhere/events.csv"
        await pilot.pause()
        await pilot.press("enter")
        await until(pilot, lambda: bool(messages(app)), "an error")
        (told,) = messages(app)
        assert told == "nowhere: there is no such directory"

    exporting(script, shown)


def test_asking_again_ends_it(
    shown: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = directory / "events.parquet"
    target.write_text("precious")
    whole = Recording.table

    def slow(self: Recording, at: Any = slice(None), *, args: bool = True) -> pa.Table:
        if isinstance(at, np.ndarray) and len(at) == 128:
            begun.set()
            gate.wait(60)
        return whole(self, at, args=args)

    begun, gate = Event(), Event()
    monkeypatch.setattr(Recording, "table", slow)
    monkeypatch.setattr("tracekit.export.files._PIECE", 128)

    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model) -> None:
        field = await asks(app, pilot)
        await pilot.press("shift+tab", "j")
        field.value = target.name
        field.focus()
        await pilot.pause()
        await pilot.press("enter", "enter")
        await until(pilot, begun.is_set, "it has begun")
        await pilot.press("x")
        gate.set()
        await until(pilot, lambda: all(w.is_finished for w in app.workers), "it has ended")
        assert not isinstance(app.screen, ExportDialog)
        assert target.read_text() == "precious"
        assert [f.name for f in directory.iterdir()] == [target.name]

    exporting(script, shown)


# -- the writers ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recording(session: Callable[[str], Path]) -> Iterator[Recording]:
    import tracekit

    yield tracekit.open(session("handover-7.2-to-7.3-tsc"))


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_rows_are_written_as_a_filter_that_finds_them(
    recording: Recording, directory: Path, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracekit.export.files._PIECE", 100)
    monkeypatch.setattr("tracekit.export.files._BATCH", 250)
    wanted = Filter(events=("sched_*",))
    advanced: list[int] = []
    rows = recording.select(wanted)
    count = write(recording, directory / "rows", rows, advanced.append)
    assert write(recording, directory / "filter", wanted, lambda _: None) == count == len(rows)
    assert sum(advanced) == count and max(advanced) <= 100
    if write is write_csv:
        assert (directory / "rows").read_bytes() == (directory / "filter").read_bytes()
    else:
        some, same = (pq.read_table(directory / name) for name in ("rows", "filter"))
        assert some.schema == same.schema
        assert some.to_pylist() == same.to_pylist()


def test_no_rows_are_an_empty_file(recording: Recording, directory: Path) -> None:
    none = np.empty(0, np.int64)
    assert write_csv(recording, directory / "none.csv", none, lambda _: None) == 0
    assert write_parquet(recording, directory / "none.parquet", none, lambda _: None) == 0
    assert (directory / "none.csv").read_text().count("\n") == 1
    assert pq.read_table(directory / "none.parquet").column_names == list(COLUMNS)


@pytest.mark.slow
@pytest.mark.parametrize("table", ["CPUs", "Tasks", "Events", "Devices", "Initcalls"])
def test_a_table_is_written_as_values(directory: Path, table: str) -> None:
    """In the order it is shown in; times are ns, not texts."""

    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        view = app.query_one(TablesView)
        await until(pilot, lambda: view.complete, "all is counted")
        while view.sheet.title != table:
            await pilot.press("right")
        name, rows = view.shown_table()
        assert name == table
        assert rows
        field = await asks(app, pilot)
        assert field.value == f"handover-{table.lower()}.csv"
        await pilot.press("enter")
        await until(pilot, lambda: Path(field.value).exists(), "the file")
        written = rows_of(directory / field.value)
        assert [list(row) for row in written] == [list(rows[0])] * len(rows)
        for row, expected in zip(written, rows, strict=True):
            for key, value in expected.items():
                if isinstance(value, float):
                    assert float(row[key]) == value, key
                    continue
                text = "" if value is None else str(value)
                assert row[key] == (text.lower() if isinstance(value, bool) else text), key
        await asks(app, pilot)
        await pilot.press("shift+tab", "down")
        assert app.screen.query_one(Input).value == f"handover-{table.lower()}.parquet"
        await pilot.press("ctrl+s")
        target = directory / f"handover-{table.lower()}.parquet"
        await until(pilot, target.exists, "the file")
        assert pq.read_table(target).to_pylist() == rows

    drive(script, view="tables")


def test_sorted_events_are_written_as_they_are_sorted(directory: Path, shown: Path) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model) -> None:
        table = app.query_one("#events-table", EventsTable)
        table.sort_by("cpu", True)
        await until(pilot, lambda: table.pages.shown.order is not None, "it is sorted")
        await pilot.pause()
        order = table.pages.shown.page(0, model.total)
        field = await asks(app, pilot)
        await pilot.press("enter")
        await until(pilot, lambda: Path(field.value).exists(), "the file")
        await written(pilot, app, directory / field.value)
        stamps = [int(row["ts_ns"]) for row in rows_of(directory / field.value)]
        assert stamps == model.ts_ns[order].tolist()
        assert stamps != sorted(stamps)

    exporting(script, shown)


def test_the_window_of_all_has_all_events() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        await pilot.press("z")
        assert rows_in_window(model) == range(model.total)

    timeline(script)
