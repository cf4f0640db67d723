"""The details pane: fields, bytes, where and when; it follows the cursor but never holds it up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.pilot import Pilot

from tests.support.driver import drive, screen_text, until
from tests.support.ring.event_payloads import data_loc_string
from tests.support.ring.region_writer import RingBuffer, layout_615
from tests.support.session_trees import make_session
from tracekit.browse.record_bytes import RecordLocation, locate_record
from tui.app import TracekitApp
from tui.events import details
from tui.events.details import Details
from tui.model import Model

Script = Callable[[TracekitApp, Pilot[Any], Model, Details], Any]


def detailed(script: Script, path: Path | None = None, size: tuple[int, int] = (160, 48)) -> None:
    """Run ``script`` with the Events view in front and its details shown."""

    async def run(app: TracekitApp, pilot: Pilot[Any]) -> None:
        assert app.model is not None
        await pilot.press("i")
        pane = app.query_one(Details)
        await until(pilot, lambda: pane.display and pane.size.width > 0, "the details")
        await script(app, pilot, app.model, pane)

    drive(run, path, size, view="events")


def text(pane: Details) -> list[str]:
    """All lines of the pane, also those that have to be scrolled to."""
    shown = []
    for y in range(pane.virtual_size.height):
        pane.scroll_to(y=0, animate=False)
        shown.append(pane.render_line(y).text.rstrip())
    return shown


async def goes_to(pilot: Pilot[Any], model: Model, pane: Details, row: int) -> RecordLocation:
    """Move there and wait until the pane tells of that very record."""
    model.move_to(row)
    found = locate_record(model.recording, row)
    told = {str(found.stamp.raw)} | ({f"{found.place.offset:,}"} if found.place else set())
    await until(pilot, lambda: told <= set("\n".join(text(pane)).split()), "the pane has followed")
    await pilot.pause()
    return found


@pytest.mark.slow
def test_every_field_every_byte_and_where_they_were() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, pane: Details) -> None:
        codes = model.recording.name_codes(slice(None))
        for code in range(len(model.recording.event_names)):
            rows = np.flatnonzero(codes == code)
            if not len(rows):  # what carried BPF records only
                continue
            row = int(rows[0])
            found = await goes_to(pilot, model, pane, row)
            lines = text(pane)
            whole = "\n".join(lines)
            assert lines[0].startswith(found.event)
            for f in found.fields:
                named = [line for line in lines if line[2:].startswith(f.name[:20])]
                assert named, f
                if isinstance(f.value, int) and not isinstance(f.value, bool):
                    assert any(str(f.value) in line for line in named), f
            dump = [line for line in lines if line[4:6] == " │"]
            count = 8 if pane.size.width < 76 else 16
            hexed = ["".join(c for c in line[5 : 6 + 3 * count] if c in "0123456789abcdef")
                     for line in dump]  # fmt: skip
            assert bytes.fromhex("".join(hexed)) == found.payload
            place = found.place
            assert place is not None
            assert f"byte {place.offset:,}" in " ".join(whole.split())
            if place.address is not None:
                assert f"{place.address:#x}, physical" in whole
            assert str(found.stamp.raw) in whole
            assert f"{found.stamp.ns:,} ns from the jump" in " ".join(whole.split())

    detailed(script)


def test_bytes_are_marked_with_their_fields_letters() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, pane: Details) -> None:
        codes = model.recording.name_codes(slice(None))
        switch = model.recording.event_names.index("sched:sched_switch")
        await goes_to(pilot, model, pane, int(np.flatnonzero(codes == switch)[0]))
        lines = text(pane)
        first = next(line for line in lines if line.startswith("0000 "))
        assert first.split("│")[1:5] == ["01 01", "01", "02", "4c 00 00 00"]
        assert "aabcdddd" in first
        assert any(line.startswith("e prev_comm") for line in lines)
        second = next(line for line in lines if line.startswith("0008 "))
        assert "eeeeeeee" in second and "python3" in second
        state = next(line for line in lines if line.startswith("h prev_state"))
        assert state.split()[2:4] == ["2", "D"]

    detailed(script)


def test_a_text_that_lies_elsewhere_has_its_fields_letter(tmp_path: Path) -> None:
    ring = RingBuffer(10)
    for n in range(3):
        ring.write(1_000_000 + n, data_loc_string(n, b"elsewhere"))
    path = make_session(tmp_path, layout_615([ring]))

    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, pane: Details) -> None:
        found = await goes_to(pilot, model, pane, 1)
        lines = text(pane)
        letter = next(line for line in lines if line[2:].startswith("text "))[0]
        start, size = next(f.data for f in found.fields if f.name == "text") or (0, 0)
        letters = "".join(line[31:39] for line in lines if line[4:6] == " │")
        assert size == len("elsewhere") + 1
        assert letters[start : start + size] == letter * size

    detailed(script, path)


def test_it_waits_until_the_cursor_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(recording: Any, row: int) -> RecordLocation:
        asked.append(row)
        return locate_record(recording, row)

    monkeypatch.setattr(details, "locate_record", counted)
    monkeypatch.setattr(details, "_REST", 1.0)

    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, pane: Details) -> None:
        asked.clear()
        for row in range(1, 200):
            model.move_to(row)
        await until(pilot, lambda: asked != [], "the pane follows")
        assert asked == [199]

    detailed(script)


@pytest.mark.slow
def test_it_is_beside_the_table_or_below_it() -> None:
    for size, beside in (((60, 20), False), ((80, 24), False), ((120, 40), True)):

        async def script(
            app: TracekitApp, pilot: Pilot[Any], model: Model, pane: Details,
            beside: bool = beside,
        ) -> None:  # fmt: skip
            table = app.query_one("#events-table")
            assert (pane.region.x > table.region.x) == beside
            assert (pane.region.y > table.region.y) == (not beside)
            assert "▌" in screen_text(app)
            await pilot.press("i")
            await pilot.pause()
            assert not pane.display and table.has_focus
            assert table.size.width >= app.size.width - 1

        detailed(script, size=size)


def test_it_scrolls_by_keys() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any], model: Model, pane: Details) -> None:
        await pilot.press("tab")
        assert pane.has_focus
        height = pane.virtual_size.height - pane.scrollable_content_region.height
        assert height > 0
        steps = [("j", 1), ("down", 2), ("k", 1), ("up", 0), ("up", 0), ("G", height), ("home", 0)]
        for key, y in steps:
            await pilot.press(key)
            await pilot.pause()
            assert int(pane.scroll_offset.y) == y, key
        assert model.cursor == 0

    detailed(script, size=(80, 24))
