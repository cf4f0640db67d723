"""Two handovers beside each other in the terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.support.driver import matches_snapshot, screen_styles, screen_text
from tests.support.sessions.figures import figure, run
from tracekit.runs.pair import Pair, compare
from tracekit.runs.run import open_runs
from tui.runs.compare import CompareApp, PairLines

Script = Callable[[CompareApp, Pilot[Any]], Awaitable[None]]


@pytest.fixture(scope="module")
def pair(session: Callable[[str], Path]) -> Pair:
    from dataclasses import replace

    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as shipped:
        a = replace(open_runs(shipped)[0], session="before")
    (b,) = open_runs(session("handover-7.2-to-7.3-tsc"))
    return compare(a, replace(b, session="after"))


def drive(pair: Pair, script: Script, size: tuple[int, int] = (80, 24)) -> CompareApp:
    app = CompareApp(pair)

    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await script(app, pilot)

    asyncio.run(go())
    return app


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40), (200, 60)])
def test_snapshot(pair: Pair, size: tuple[int, int]) -> None:
    async def script(app: CompareApp, pilot: Pilot[Any]) -> None:
        assert "+2.217 s" in screen_text(app) and "dark" in screen_text(app)
        await matches_snapshot(pilot, f"compare-{size[0]}x{size[1]}")

    drive(pair, script, size)


def test_keys_move_and_the_line_below_tells_more(pair: Pair) -> None:
    async def script(app: CompareApp, pilot: Pilot[Any]) -> None:
        lines = app.query_one(PairLines)
        await pilot.press("j")
        assert lines.selected is not None and lines.selected.name == "blackout"
        await pilot.pause()
        assert "blackout, more, +2.217 s ± 36.6 µs" in screen_text(app)
        await pilot.press("G")
        assert lines.selected is not None and lines.selected.kind == "initcall"
        await pilot.press("pageup", "up", "g")
        assert lines.selected is None and lines.cursor == 0

    drive(pair, script)


def test_only_what_differs(pair: Pair) -> None:
    a = run(figure("device", "same", 100), figure("device", "slow", 100))
    b = run(figure("device", "same", 101), figure("device", "slow", 900))

    async def script(app: CompareApp, pilot: Pilot[Any]) -> None:
        assert "same" in screen_text(app)
        await pilot.press("d")
        await pilot.pause()
        text = screen_text(app)
        assert "same" not in text and "slow" in text and "Devices 2, 1 not shown" in text

    drive(compare(a, b), script)


def test_a_and_b_open_their_sessions(tmp_path: Path) -> None:
    pair = compare(run(session=str(tmp_path)), run(session=str(tmp_path / "gone")))

    async def script(app: CompareApp, pilot: Pilot[Any]) -> None:
        await pilot.press("b")
        await pilot.pause()
        assert app.chosen is None
        await pilot.press("a")

    assert drive(pair, script).chosen == tmp_path


def test_names_steer_no_terminal() -> None:
    evil = run(figure("device", "a\x1b[31m\nb", 5), session="s\x1b]0;x\x07", kernel="7\x1b[2J")

    async def script(app: CompareApp, pilot: Pilot[Any]) -> None:
        await pilot.press("G")
        await pilot.pause()
        assert "\x1b" not in screen_text(app)

    drive(compare(evil, evil), script)


def test_without_colours_none_is_sent(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def script(app: CompareApp, pilot: Pilot[Any]) -> None:
        styles = screen_styles(app)
        assert styles and all(style.color is None and style.bgcolor is None for style in styles)

    drive(pair, script)


def test_the_keys_are_told(pair: Pair) -> None:
    async def script(app: CompareApp, pilot: Pilot[Any]) -> None:
        await pilot.press("question_mark")
        await pilot.pause()
        text = screen_text(app)
        assert "only what differs by more than the clocks' errors" in text and "suspend" in text
        await pilot.press("escape")
        await pilot.pause()
        assert "suspend" not in screen_text(app) and app.is_running

    drive(pair, script)
