"""A fleet in the terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.support.driver import matches_snapshot, screen_text
from tests.support.fleets.small import dataset_of
from tests.support.sessions.figures import figure, run
from tracekit.fleet.answers import make_report
from tracekit.fleet.ask import Fleet
from tracekit.fleet.dataset import Bad
from tracekit.fleet.questions import outliers
from tui.runs.fleet import FleetApp, Outliers


def drive(
    folder: Path, script: Callable[[FleetApp, Pilot[Any]], Awaitable[None]],
    size: tuple[int, int] = (80, 24), count: int = 40,
) -> FleetApp:  # fmt: skip
    runs = [
        run(figure("total", "blackout", 10**9 + n * n * 10**6), figure("phase", "dark", 10**8 + n),
            session=f"/sessions/s{n}" if n < count - 2 else str(folder),
            fingerprint=f"s{n}", kernel=f"7.{n % 2}", host=f"h{n % 3}") for n in range(count)
    ]  # fmt: skip
    dataset = dataset_of(folder / "d", runs)
    dataset.add([], [Bad("x", "damaged")])
    fleet = Fleet(dataset)
    app = FleetApp(make_report(fleet), Outliers(*outliers(fleet)), "Fleet here")

    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await pilot.pause()
            await script(app, pilot)

    asyncio.run(go())
    return app


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_snapshot(tmp_path: Path, size: tuple[int, int]) -> None:
    async def script(app: FleetApp, pilot: Pilot[Any]) -> None:
        assert "40 handovers" in screen_text(app)
        for row in app.sheet.rows:
            row["path"] = "/sessions/" + row["host"]  # the folder is another one each time
        app.action_other(0)
        await pilot.pause()
        await matches_snapshot(pilot, f"fleet-{size[0]}x{size[1]}")

    drive(tmp_path, script, size)


def test_enter_opens_the_farthest_out(tmp_path: Path) -> None:
    async def script(app: FleetApp, pilot: Pilot[Any]) -> None:
        assert app.sheet.title == "Outliers" and app.sheet.selected["path"] == str(tmp_path)
        await pilot.press("enter")

    assert drive(tmp_path, script).chosen == tmp_path


def test_every_table_is_shown(tmp_path: Path) -> None:
    async def script(app: FleetApp, pilot: Pilot[Any]) -> None:
        titles = []
        for _ in range(9):
            titles.append(app.sheet.title)
            assert f"▸{app.sheet.title}" in screen_text(app)
            await pilot.press("right")
            await pilot.pause()
        assert titles[0] == app.sheet.title and len(set(titles)) == 9
        await pilot.press("left")
        await pilot.pause()
        assert "damaged" in screen_text(app)
        await pilot.press("enter")
        await pilot.pause()
        assert app.chosen is None

    drive(tmp_path, script)
