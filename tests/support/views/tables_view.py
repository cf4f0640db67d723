"""The tables under test: going to one."""

from __future__ import annotations

from typing import Any

from textual.pilot import Pilot

from tests.support.driver import until
from tui.sorted_table import Sheet
from tui.tables.view import TablesView

__all__ = ["to"]


async def to(pilot: Pilot[Any], view: TablesView, title: str) -> None:
    """Go to the table with that title."""
    seen: list[Sheet] = []
    while view.sheet.title != title:
        assert view.sheet not in seen, f"there is no table {title}"
        seen.append(view.sheet)
        await pilot.press("right")
        await until(pilot, lambda: view.sheet is not seen[-1], "another table")
