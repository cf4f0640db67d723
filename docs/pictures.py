"""Draws the README's pictures from the handover that ships: `make pictures`."""

from __future__ import annotations

import asyncio
from importlib.resources import as_file, files
from pathlib import Path

from tui.app import TracekitApp

_HERE = Path(__file__).parent
_SIZE = (110, 32)
#: name -> the keys that lead there from the first screen
_PICTURES = {
    "story": (),
    "timeline": ("2", "0"),
    "events": ("3", "0", "i"),
}


async def draw(session: Path, name: str, keys: tuple[str, ...]) -> None:
    """Write docs/NAME.svg."""
    app = TracekitApp(session)
    async with app.run_test(size=_SIZE) as pilot:
        while app.model is None:
            await pilot.pause(0.02)
        await pilot.pause(0.2)
        await pilot.press(*keys)
        await pilot.pause(0.5)
        svg = app.export_screenshot(title=f"tracekit show: {name}")
        (_HERE / f"{name}.svg").write_text(svg)


def main() -> None:
    """Draw all of them."""
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as session:
        for name, keys in _PICTURES.items():
            asyncio.run(draw(session, name, keys))


if __name__ == "__main__":
    main()
