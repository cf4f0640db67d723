"""Keys while a session is being opened, which takes a while where it is large."""

from __future__ import annotations

import asyncio
import threading
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import ContentSwitcher

import tui.app
from tests.support.driver import screen_text, until
from tests.support.waiting import HANG
from tui.app import TracekitApp
from tui.bars import Welcome
from tui.dialogs.help import HelpScreen

_SHIPPED = Path(str(files("tracekit") / "demo" / "handover.tar.zst"))


def test_keys_while_it_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    go, opening = threading.Event(), tui.app.open_recording

    def slow(*args: Any) -> Any:
        assert go.wait(HANG)
        return opening(*args)

    monkeypatch.setattr(tui.app, "open_recording", slow)

    async def run() -> None:
        app = TracekitApp(_SHIPPED)
        async with app.run_test(size=(80, 24)) as pilot:
            assert isinstance(app.focused, Welcome)
            await pilot.press("question_mark")
            assert isinstance(app.screen, HelpScreen)
            await pilot.press("escape")
            assert not isinstance(app.screen, HelpScreen)
            await pilot.press("escape", *"12435fFnNbBxg<>", "4", "slash", "down", "enter")
            assert app.model is None and _SHIPPED.name in screen_text(app)
            go.set()
            await until(pilot, lambda: app.model is not None, "the session is open")
            await until(pilot, lambda: not isinstance(app.focused, Welcome), "a view is shown")
            assert app.query_one(ContentSwitcher).current == "tables"

    asyncio.run(run())
