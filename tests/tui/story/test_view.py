"""The first screen: it answers, its bars are where they belong, Enter goes there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.support.bpf_records import BootFiles, mark, printed, record, region, write_session
from tests.support.driver import drive, matches_snapshot, model_of, screen_text
from tests.support.sessions.live import MS, START, report_of, way_out
from tui.app import TracekitApp
from tui.story.spans import Bar, SpanList
from tui.story.view import StoryHead, StoryView

Piloted = Pilot[Any]


def bars_of(app: TracekitApp) -> list[Bar]:
    """All bars, one after the other, as they are selected from the first to the last."""
    bars: list[Bar] = []
    for found in app.query(SpanList):
        found.action_move(-100_000)
        seen = None
        while (bar := found.selected) is not None and bar is not seen:
            bars.append(bar)
            seen = bar
            found.action_move(1)
    return bars


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_snapshot(size: tuple[int, int]) -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        await matches_snapshot(pilot, f"story-{size[0]}x{size[1]}")

    drive(script, size=size)


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (250, 80)])
def test_the_answer_is_on_the_first_screen(size: tuple[int, int]) -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        assert app.model is not None
        text = screen_text(app)
        h = app.model.report.handovers[-1]
        assert h.blackout_ns is not None
        assert f"blackout {h.blackout_ns / 1e9:.3f} s" in text
        assert "record complete" in text
        phases = [p for p in app.model.report.phases if p.in_blackout and p.duration_ns]
        slowest = max(phases, key=lambda p: p.duration_ns or 0)
        line = next(line for line in text.splitlines() if line.strip("▌ ").startswith("▶"))
        assert slowest.name[:20] in line
        assert "░" in text

    drive(script, size=size)


def test_every_phase_and_the_slowest_are_bars() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        assert app.model is not None
        report, bars = app.model.report, bars_of(app)
        assert [b.name for b in bars[: len(report.phases)]] == [p.name for p in report.phases]
        names = {b.name for b in bars}
        assert {d.name for d in report.devices[:5]} <= names
        assert {c.function for c in report.initcalls[:5]} <= names

    drive(script)


def test_steps_of_a_live_update_are_below_their_phase(tmp_path: Path) -> None:
    at = START + 2 * MS
    steps = [
        (at + 1000 * n, printed(record(event, 200 + n, at + 1000 * n, returned=n > 1, duration=1000,
                                       values=[0] if n > 1 else [], pid=7)))
        for n, event in enumerate(["luo:serialize_sessions", "luo:freeze_files"] * 2)
    ]  # fmt: skip
    report_of(tmp_path, sorted([*way_out(), *steps]))

    async def script(app: TracekitApp, pilot: Piloted) -> None:
        bars = bars_of(app)
        names = [bar.name for bar in bars]
        place = names.index("liveupdate")
        assert names[place + 1 : place + 3] == ["  write down sessions", "  freeze files"]
        assert bars[place + 1].note.startswith("in liveupdate") and bars[place + 1].took_ns == 1000

    drive(script, tmp_path / "s")


def test_enter_shows_the_bar_in_the_timeline() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        assert app.model is not None
        bar = app.query_one(SpanList).selected
        assert bar is not None
        assert bar.start_ns is not None
        assert bar.took_ns is not None
        await pilot.press("enter")
        await pilot.pause()
        start, end = app.model.window
        assert start < bar.start_ns
        assert bar.start_ns + bar.took_ns < end
        assert end - start < bar.took_ns * 1.2
        assert app.query_one("#timeline").display
        assert app.model.cursor_ns >= bar.start_ns

    drive(script)


def test_moving_tells_what_a_bar_means() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        found = app.query_one(SpanList)
        for key in ("home", "j", "down", "k", "up", "pagedown", "pageup"):
            await pilot.press(key)
        assert found.selected is not None
        assert found.selected.name == "kexec load"
        assert "kexec_file_load(2)" in screen_text(app)
        await pilot.press("G")
        assert found.selected.name.startswith("boot 1 7.3.4")
        assert "clock x86-tsc" in screen_text(app)
        await pilot.press("enter")
        await pilot.pause()
        assert app.query_one("#tables").display

    drive(script)


def test_two_lists_where_there_is_room() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        left, right = app.query(SpanList)
        assert left.has_focus
        await pilot.press("l")
        assert right.has_focus
        await pilot.press("left")
        assert left.has_focus
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        (only,) = app.query(SpanList)
        assert only.has_focus

    drive(script, size=(160, 48))


def test_a_click_selects_and_a_double_click_goes() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        found = app.query_one(SpanList)
        await pilot.click(found, offset=(10, 3))
        first = found.selected
        assert first is not None
        await pilot.double_click(found, offset=(10, 3))
        await pilot.pause()
        assert app.query_one("#timeline").display

    drive(script)


def test_one_boot_says_that_there_is_no_handover(session: Callable[[str], Path]) -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        text = screen_text(app)
        assert "one boot only" in text
        assert "tracekit recover" in text

    drive(script, session("same-boot-7.2"))


@pytest.mark.slow
@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_every_part_of_the_blackout_is_labelled(width: int) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        labels = screen_text(app).splitlines()[5]
        assert [t for t in ("6.98 ms", "2.002 s", "1.091 s") if t in labels] == [
            "6.98 ms", "2.002 s", "1.091 s",
        ]  # fmt: skip
        assert ("nothing can record" in labels) is (width >= 100)

    drive(script, size=(width, 24))


def test_one_boot_only_says_what_to_do_in_whole_lines(session: Callable[[str], Path]) -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        assert "'tracekit recover' under the new kernel adds it." in screen_text(app)

    drive(script, session("same-boot-7.2"), (60, 20))


def test_what_no_phase_covers_of_the_blackout_is_unknown() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        report = model_of(app).report
        phases = [p for p in report.phases if not p.name.startswith("dark")]
        head = StoryHead(replace(report, phases=tuple(phases)), "without")
        await app.query_one(StoryView).mount(head)
        await pilot.pause()
        *_, bar, labels = str(head.render()).splitlines()
        assert set(bar) == set("█▓░≈") and bar.count("░") > 25
        assert "unknown 2.002 s" in labels and "dark" not in labels

    drive(script)


def test_a_panic_stands_at_the_top(session: Callable[[str], Path]) -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        text = screen_text(app)
        assert "way down  panic: sysrq triggered crash; recorded up to machine_kexec" in text
        assert "What each CPU had begun and not ended" in text
        assert "python3-179" in text
        assert any(b.name.startswith("last step of the way down") for b in bars_of(app))

    drive(script, session("stock-6.12-panic-tsc"), (160, 48))


def test_a_panic_out_of_a_dump(tmp_path: Path) -> None:
    """One boot, no jump: the head says how it ended, the list what was said and done."""
    log = "[    0.020000] BUG: bad thing\n[    0.021000] Kernel panic - not syncing: Fatal\n"
    crash = {"panic_cpu": 0, "printk_offset_ns": 0, "running": [{"cpu": 0, "pid": 7, "comm": "sh"}]}
    files: dict[str, str | bytes] = {"dmesg": log, "crash.json": json.dumps(crash)}
    boots = [BootFiles(region([(50_000_000, mark("last words"))]), files=files)]
    session = write_session(tmp_path / "s", boots)

    async def script(app: TracekitApp, pilot: Piloted) -> None:
        text = screen_text(app)
        assert "way down  panic: Fatal" in text
        assert "Boot 0 panicked on cpu 0, and events for 30.0 ms more" in text
        names = [bar.name for bar in bars_of(app)]
        assert names[:3] == [*log.splitlines(), "CPU 0 sh-7 panicked"]

    drive(script, session)
