"""The interface shows a session's texts, it does not obey them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.support.driver import drive, model_of, screen_text
from tests.support.sessions.hostile_texts import EVIL, leaks, make_hostile
from tui.app import TracekitApp


@pytest.fixture(scope="module")
def hostile(session: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("hostile") / "session"
    return make_hostile(shutil.copytree(session("handover-7.2-to-7.3-tsc"), copy))


WALK = (
    "1", "down", "down", "enter", "2", "right", "enter", "tab", "3", "down", "enter", "d", "j",
    "4", "right", "down", "right", "down", "5", "down", "right", "down", "down", "enter", "f",
    "escape", "slash", "P", "W", "N", "enter", "escape", "b", "escape", "B", "escape", "t",
    "escape", "s", "escape", "x", "escape", "question_mark", "escape", "F", "escape", "c", "escape",
)  # fmt: skip


@pytest.mark.slow
def test_no_view_leaks(hostile: Path) -> None:
    seen = ""

    async def script(app: TracekitApp, pilot: Pilot[Any]) -> None:
        nonlocal seen
        for key in WALK:
            await pilot.press(key)
            await pilot.pause()
            shown = screen_text(app)
            assert not leaks(shown), (key, shown)
            seen += shown
        for view in ("story", "timeline", "events", "tables", "kho"):
            app.show_view(view)
            await pilot.pause()
            assert not leaks(screen_text(app)), view
        app.notify(f"told {EVIL}", markup=False)
        app.filter_by(f"comm = '{EVIL}' or {EVIL}")
        await pilot.pause()
        assert not leaks(screen_text(app))
        assert model_of(app).notes.filters.keys() == {EVIL}

    drive(script, hostile, size=(160, 60))
    assert r"\x1b]0;PWN" in seen
