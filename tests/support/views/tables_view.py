"""The tables under test: going to one."""

from __future__ import annotations

from typing import Any

from textual.pilot import Pilot

from tests.support.driver import until
from tui.sorted_table import Sheet
from tui.tables.view import TablesView

__all__ = ["to"]


async def to(pilot: Pilot[Any], view: TablesView, title: str, key: str = "right") -> None:
    """Go to the table with that title; those on the way are counted too, as their titles show."""
    seen: list[Sheet] = []
    await until(pilot, lambda: view.complete, "the tables are complete")
    while view.sheet.title != title:
        assert view.sheet not in seen, f"there is no table {title}"
        seen.append(view.sheet)
        await pilot.press(key)
        await until(pilot, lambda: view.sheet is not seen[-1], "another table")
        await until(pilot, lambda: view.complete, f"{view.sheet.title} is counted")
