"""``tracekit show --web`` in a real browser."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.browser import chromium, open_page
from tests.support.waiting import HANG, Standstill

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="Chromium is not installed: --web is not tried in a browser"
)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


async def _listening(port: int, server: subprocess.Popen[str]) -> None:
    standstill = Standstill()
    while True:
        try:
            _, writer = await asyncio.open_connection("localhost", port)
        except OSError:
            assert server.poll() is None, "the server ended"
            assert not standstill.lasts(None), "it does not listen"
            await asyncio.sleep(0.1)
            continue
        writer.close()
        return


async def _look(port: int, profile: Path, server: subprocess.Popen[str]) -> None:
    await _listening(port, server)
    async with open_page(f"http://localhost:{port}/", profile) as page:
        await page.shows("record ", "complete", "blackout ")
        story = await page.picture()
        await page.key("3")
        await page.shows("sched_switch")
        assert await page.picture() != story
        await page.key("q")
        await page.until("document.body.classList.contains('-closed')")


def test_a_browser_shows_it_and_takes_keys(tmp_path: Path) -> None:
    port = _free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "tracekit", "show", "--web", "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        asyncio.run(_look(port, tmp_path / "profile", server))
    finally:
        server.terminate()
        _, said = server.communicate(timeout=HANG)
    assert "Traceback" not in said
    assert server.returncode == 0
