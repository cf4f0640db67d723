"""Draws the README's pictures from the handover that ships: `make pictures`."""

from __future__ import annotations

import asyncio
from importlib.resources import as_file, files
from pathlib import Path

import tracekit
from tracekit.drawing.plot import standalone
from tracekit.report.critical.blame import blame
from tui.app import TracekitApp

_HERE = Path(__file__).parent
#: name -> (size, the keys that lead there from the first screen)
_PICTURES = {
    "story": ((100, 26), ()),
    "timeline": ((120, 42), ("2", "0", "w", "a")),
    "events": ((120, 30), ("3", "0", *["up"] * 7, "i")),
}


async def draw(session: Path, name: str, size: tuple[int, int], keys: tuple[str, ...]) -> None:
    """Write docs/NAME.svg."""
    app = TracekitApp(session)
    async with app.run_test(size=size) as pilot:
        while app.model is None:
            await pilot.pause(0.02)
        for key in keys:
            await pilot.pause(0.2)
            await pilot.press(key)
        await pilot.pause(1)
        svg = app.export_screenshot(title=f"tracekit show: {name}")
        (_HERE / f"{name}.svg").write_text(svg)


def main() -> None:
    """Draw all of them."""
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as session:
        for name, (size, keys) in _PICTURES.items():
            asyncio.run(draw(session, name, size, keys))
        recording = tracekit.open(session)
        report = recording.report()
        (_HERE / "plot.svg").write_text(standalone(report, blame(recording, report)))


if __name__ == "__main__":
    main()
