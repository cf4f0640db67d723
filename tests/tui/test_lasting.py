"""What the interface takes of the process: what it loads where, keeps, and gives back."""

from __future__ import annotations

import gc
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widget import Widget

import tui.app
import tui.latency
from tests.support.driver import drive, until
from tracekit.browse.open import open_recording
from tracekit.session import Session
from tracekit.session.packing.symbols import BootSymbols
from tui.app import TracekitApp


async def _rests(app: TracekitApp, pilot: Pilot[Any]) -> None:
    await until(pilot, lambda: not any(w.is_running for w in app.workers), "no job runs")


@pytest.mark.slow
def test_symbols_are_not_read_while_keys_wait(
    session: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, where = Session.symbols, []
    path = Path(shutil.copytree(session("handover-7.2-tsc"), tmp_path / "session"))
    monkeypatch.setattr(tui.app, "open_recording", partial(open_recording, many=0))

    def noted(self: Session, boot: int) -> BootSymbols | None:
        where.append(threading.current_thread())
        return read(self, boot)

    monkeypatch.setattr(Session, "symbols", noted)
    # other tests may have left those of the same kernels
    monkeypatch.setattr("tracekit.timeline.saved.symbols._shared", lambda made: made.take())

    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        await _rests(app, pilot)
        await pilot.press("3", "pagedown", "end", "i", "home", "2", "right")
        await pilot.pause()

    drive(script, path)
    assert len(where) == 2  # one a boot
    assert threading.main_thread() not in where


def _widgets() -> Counter[str]:
    gc.collect()
    return Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, Widget))


@pytest.mark.slow
def test_going_to_and_fro_leaves_no_widgets_behind() -> None:
    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        async def tour() -> Counter[str]:
            await pilot.press(*"12345", "slash", "x", "escape", "f", "escape", "question_mark")
            await pilot.press("escape", "1")
            await _rests(app, pilot)
            await pilot.pause()
            return _widgets()

        gc.unfreeze()  # what is frozen is not looked through
        first = await tour()
        assert await tour() == first

    drive(script)


def test_the_interpreter_is_left_as_it_was() -> None:
    before = sys.getswitchinterval(), gc.get_threshold()

    async def script(app: TracekitApp, _: Pilot[Any]) -> None:
        assert sys.getswitchinterval() < before[0] and gc.get_threshold() > before[1]
        assert gc.get_freeze_count() > 0

    drive(script)
    assert (sys.getswitchinterval(), gc.get_threshold()) == before
    assert gc.get_freeze_count() == 0


def test_garbage_is_collected_once_when_nobody_types(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[float] = []
    monkeypatch.setattr(tui.latency, "_IDLE", 0.3)
    monkeypatch.setattr(tui.latency.gc, "collect", lambda: turns.append(time.monotonic()))

    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        await pilot.press("3", "down")
        turns.clear()
        await pilot.press("down")
        await until(pilot, lambda: bool(turns), "it was collected")
        assert turns[0] > app.busy_until + 0.3
        await pilot.pause(1)
        assert len(turns) == 1

    drive(script)
