"""Blank is quiet, and nothing else: how everything looks that is not known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.support.driver import drive, matches_snapshot, screen_text
from tests.support.sessions import missing
from tests.support.textual_state import messages
from tests.support.views.timeline_view import Piloted, choose, lane_lines, timeline
from tracekit.analysis.stretches import KINDS
from tui.app import TracekitApp
from tui.dialogs.help import HelpScreen
from tui.model import Model
from tui.signs import GLYPHS, MEANINGS, MISSING
from tui.timeline.lane_details import LaneDetails
from tui.timeline.lanes import Lanes
from tui.timeline.minimap import Minimap
from tui.timeline.state import GUTTER, LaneState
from tui.timeline.view import TimelineView

SIZES = [(80, 24), (120, 40)]
MADE: dict[str, Callable[[Path], Path]] = {
    "wrapped": missing.wrapped,
    "damaged": missing.damaged,
    "offline": missing.offline,
    "no-jump": missing.short,
}


def legend(app: TracekitApp) -> str:
    """The line below the lanes."""
    return str(app.query_one(LaneDetails).render()).splitlines()[0]


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", MADE)
def test_it_looks_as_it_did(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        await matches_snapshot(pilot, f"missing-{name}-{size[0]}x{size[1]}")

    timeline(script, MADE[name](tmp_path), size)


@pytest.mark.parametrize("size", SIZES)
def test_the_handover_that_ships_looks_as_it_did(size: tuple[int, int]) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.look_at(-1_000_000, 200_000)
        model.go(-900_000)
        await pilot.pause()
        await matches_snapshot(pilot, f"missing-stopped-{size[0]}x{size[1]}")
        model.look_at(-2 * 10**9, 5 * 10**9)
        await pilot.pause()
        await matches_snapshot(pilot, f"missing-around-{size[0]}x{size[1]}")

    timeline(script, size=size)


def test_every_kind_has_a_sign_of_its_own() -> None:
    kinds = [sign.kind for sign in MISSING]
    assert {*kinds, "quiet", "stopping"} == set(KINDS)
    glyphs = {sign.kind: sign.glyph for sign in MISSING}
    assert glyphs.pop("ended") == glyphs["stopped"]  # one look, as their words tell them apart
    assert len(set(glyphs.values())) == len(glyphs) and " " not in glyphs.values()
    assert len({sign.word for sign in MISSING}) == len(MISSING)
    assert set(GLYPHS) <= {glyph for glyph, _ in MEANINGS}


def test_signs_differ_without_colours_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        cpu = lane_lines(app, "CPU 0")
        assert all("╳" in line for line in cpu) and " unreadable " in cpu[0]
        colours = {
            part
            for strip in app.screen._compositor.render_strips()
            for segment in strip if segment.style
            for part in (segment.style.color, segment.style.bgcolor) if part and part.triplet
        }  # fmt: skip
        assert all(len(set(colour.triplet or ())) == 1 for colour in colours)  # grey

    timeline(script, missing.damaged(tmp_path))


@pytest.mark.parametrize(
    ("name", "lane", "sign", "word"),
    [
        ("wrapped", "CPU 0", "╱", "overwritten"),
        ("damaged", "CPU 0", "╳", "unreadable"),
        ("offline", "CPU 1", "·", "stopped"),
        ("no-jump", "CPU 0", "·", "record ends"),
    ],
)
def test_the_sign_is_on_its_cpu_and_in_the_legend(
    tmp_path: Path, name: str, lane: str, sign: str, word: str
) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.move_to(model.total - 1)
        await pilot.pause()
        for other in ("CPU 0", "CPU 1"):
            events = lane_lines(app, other)[:-1]
            assert all(sign in line for line in events) == (other == lane), events
        assert f" {word} " in lane_lines(app, lane)[0]
        assert legend(app).startswith(f" {sign} {word}")
        rest = set("".join(lane_lines(app, lane)[:-1])) & (set(GLYPHS) - {sign})
        assert not rest
        model.look_at(model.extent[0] + 10_000_000, model.extent[0] + 30_000_000)
        await pilot.pause()
        assert legend(app).startswith(f" {sign} {word}") == (name == "wrapped")

    timeline(script, MADE[name](tmp_path))


def test_what_is_too_short_for_a_cell_is_seen(tmp_path: Path) -> None:
    """Two pages of 500: a fraction of a cell, over bars of events."""
    from tests.support.ring.region_writer import RingBuffer, layout_615

    ring = RingBuffer(600)
    for n in range(20_000):
        ring.write(missing.START + n * 100_000, missing.switch(n))
    region = layout_615([ring])
    data = bytearray(region.data)
    at = region.places[0].subbufs + 200 * 4096
    data[at + 8 : at + 4096] = b"\xa5" * 4088

    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        top, *others = lane_lines(app, "CPU 0")
        assert top.count("╳") == 1
        assert not any("╳" in line for line in others)
        assert app.query_one(Minimap).render_line(0).text[GUTTER:].count("╳") == 1
        assert legend(app).startswith(" ╳ unreadable ")

    timeline(script, missing.session(tmp_path, bytes(data)))


def test_outside_the_record_nothing_is_quiet(tmp_path: Path) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        await pilot.press("s")  # as far out as it goes: with margins
        await pilot.pause()
        for lane in ("CPU 0", "CPU 1"):
            for line in lane_lines(app, lane):
                assert line.rstrip()[-1] == line.lstrip()[0] == "░", line

    timeline(script, missing.whole(tmp_path))


def test_an_empty_cell_of_a_recorded_cpu_is_blank(tmp_path: Path) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.look_at(-500_000_000, -100_000_000)
        model.go(-450_000_000)
        await pilot.pause()
        for lane in ("CPU 0", "CPU 1"):
            *events, tasks = lane_lines(app, lane)
            assert not set("".join(events)) & set(GLYPHS)
            assert "░" not in tasks

    timeline(script, missing.whole(tmp_path))


def test_a_click_says_what_it_is(tmp_path: Path) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        line = lane_lines(app, "CPU 0")[0]
        await pilot.click(Lanes, offset=(GUTTER + line.index("╳") + 2, 0))
        await pilot.pause()
        assert messages(app) == ["CPU 0: 2 sub-buffers of tkA unreadable"]
        await pilot.click(Lanes, offset=(GUTTER + 3, 0))  # among events
        await pilot.pause()
        assert len(messages(app)) == 1

    timeline(script, missing.damaged(tmp_path))


def test_the_last_event_says_what_follows_it(tmp_path: Path) -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        choose(state, "CPU 1")
        before = next(s for s in state.lane.stretches if s.kind == "stopped").start_ns
        row = next(r for r in state.lane.rows[::-1].tolist() if model.ts_ns[r] < before)
        model.move_to(row)
        await pilot.pause()
        assert "then being stopped: it was taken offline" in screen_text(app)
        await pilot.press("left")
        await pilot.pause()
        assert "next in 50.0 ms" in screen_text(app)

    timeline(script, missing.offline(tmp_path), size=(120, 40))


def test_help_explains_every_sign() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        text = screen_text(app)
        for sign, meaning in MEANINGS:
            assert any(sign in line and meaning in line for line in text.splitlines()), sign

    drive(script, size=(100, 140))


def test_lanes_of_all_cpus_show_what_is_missing_of_any(tmp_path: Path) -> None:
    """The minimap, and the log: a message of the CPU that is damaged may be missing."""

    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        assert app.query_one(TimelineView).state is state
        (log,) = lane_lines(app, "kernel log")
        assert log.count("╳") > 15
        assert "╳" in app.query_one(Minimap).render_line(0).text

    from tests.support.ring.region_writer import layout_615

    rings = missing.rings()
    rings[1].write(missing.END + 1, missing.console(b"hello"))
    region = layout_615(rings)
    data = bytearray(region.data)
    at = region.places[0].subbufs + 2 * 4096
    data[at + 8 : at + 4096] = b"\xa5" * 4088
    timeline(script, missing.session(tmp_path, bytes(data)))
