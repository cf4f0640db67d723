"""``tracekit show --web`` in a real browser."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.browser import chromium, open_page, serving

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="Chromium is not installed: --web is not tried in a browser"
)


async def _look(address: str, profile: Path) -> None:
    async with open_page(address, profile) as page:
        await page.shows("record ", "complete", "blackout ")
        story = await page.picture()
        await page.key("3")
        await page.shows("sched_switch")
        assert await page.picture() != story
        await page.key("q")
        await page.until("document.body.classList.contains('-closed')")


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("localhost", marks=pytest.mark.slow)])
def test_a_browser_shows_it_and_takes_keys(tmp_path: Path, host: str) -> None:
    with serving(cwd=tmp_path) as (address, _):
        asyncio.run(_look(address.replace("127.0.0.1", host), tmp_path / "profile"))
