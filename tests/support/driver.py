"""Runs the application without a terminal: Textual's own pilot."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from difflib import unified_diff
from importlib.resources import as_file, files
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from rich.style import Style
from textual.app import App
from textual.pilot import Pilot

from tests.support.waiting import HANG, Standstill
from tracekit.query.match import Names, matches, read
from tui.app import TracekitApp
from tui.model import Model

__all__ = ["drive", "matches_snapshot", "model_of", "rows_meeting", "screen_styles"]
__all__ += ["screen_text", "until"]

_SNAPSHOTS = Path(__file__).parents[1] / "tui" / "snapshots"
_TURN = 0.01  # seconds
_LOOK = 100  # turns between two looks at whether anything still happens


_IDLE = 60.0  # seconds without a job and without a change: nothing will happen any more


def _hangs(app: App[Any], standstill: Standstill) -> bool:
    """Whether a job, or the application without one, has come to a standstill."""
    jobs = [(worker.name, worker.state) for worker in app.workers if not worker.is_finished]
    return standstill.lasts((jobs, screen_text(app)), HANG if jobs else _IDLE)


async def until(pilot: Pilot[Any], true: Callable[[], bool], what: str = "") -> None:
    """Wait for something to become true, however long the work for it takes."""
    standstill = Standstill()
    for turn in count(1):
        if true():
            break
        if not turn % _LOOK and _hangs(pilot.app, standstill):
            raise AssertionError(f"never happened: {what or true}\n{screen_text(pilot.app)}")
        await pilot.pause(_TURN)
    await pilot.pause()


def drive(
    script: Callable[[TracekitApp, Pilot[Any]], Awaitable[None]],
    path: Path | None = None,
    size: tuple[int, int] = (80, 24),
    **options: Any,
) -> None:
    """Open ``path`` (None: the handover that ships), wait until it is there, run ``script``."""

    async def run(session: Path) -> None:
        app = TracekitApp(session, **options)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: app.model is not None, "the session is open")
            await pilot.pause()
            await script(app, pilot)

    if path is not None:
        asyncio.run(run(path))
        return
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as shipped:
        asyncio.run(run(shipped))


def model_of(app: TracekitApp) -> Model:
    """What its views share, once the session is open."""
    assert app.model is not None
    return app.model


def rows_meeting(app: TracekitApp, text: str) -> list[int]:
    """The rows that an expression describes, by another way than the interface's."""
    recording = model_of(app).recording
    expr = read(text, Names.of(recording))
    return np.flatnonzero(matches(recording, expr, np.arange(len(recording)))).tolist()


def screen_styles(app: App[Any]) -> list[Style]:
    """The styles of everything on the screen, as they reach the terminal."""
    strips = app.screen._compositor.render_strips()
    return [segment.style for strip in strips for segment in strip if segment.style]


def screen_text(app: App[Any]) -> str:
    """What the screen shows, a line a row, without colours."""
    lines = []
    for strip in app.screen._compositor.render_strips():
        lines.append("".join(segment.text for segment in strip).rstrip())
    return "\n".join(lines) + "\n"


async def matches_snapshot(pilot: Pilot[Any], name: str) -> None:
    """Wait until the screen is as in ``snapshots/NAME.txt``: a busy machine may still draw it.

    TRACEKIT_SNAPSHOTS=write writes it anew.
    """
    path, app = _SNAPSHOTS / f"{name}.txt", pilot.app
    if os.environ.get("TRACEKIT_SNAPSHOTS") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(screen_text(app))
    expected = path.read_text()
    try:
        await until(pilot, lambda: screen_text(app) == expected, f"the screen is as in {path}")
    except AssertionError as error:
        lines = [text.splitlines() for text in (expected, screen_text(app))]
        diff = "\n".join(unified_diff(*lines, "expected", "shown", n=0, lineterm=""))
        hint = "TRACEKIT_SNAPSHOTS=write takes it as it is"
        raise AssertionError(f"not as in {path}; {hint}\n{diff}") from error
