"""The terminal interface: how soon the first screen is there, what it holds in memory, how soon a
key is answered. `make bench`, or `python benchmarks/interface.py [--million FILE]`.

Everything is measured in fresh processes with Textual's own pilot, 80x24. The large session is
the region of function-1m.tar.zst (--million, or TRACEKIT_MILLION) 20 times over; without that
capture, tests/captures/same-boot-wide-7.2 so often that it has 20 million events too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

SHIPPED = ROOT / "tracekit" / "demo" / "handover.tar.zst"
_RUNS = 5
_SIZE = (80, 24)
_THINKING = 0.15  # seconds before the next key is pressed
_TURN = 0.002  # seconds between two looks at whether it is there
_VIEWS = ("2", "3", "4", "5", "1")
_ABOUT = {
    "2": ["w", "w", "d", "d", "a", "s", "right", "down", "end", "home"],
    "3": ["pagedown"] * 10 + ["end", "pageup", "home", "down"],
    "4": ["down", "pagedown"],
    "5": ["down"],
    "1": ["down"],
}
#: What is typed while it is looked for: nothing has it, so all rows are gone through.
_NOWHERE = "qzxwvq"


def memory() -> dict[str, int]:
    """Bytes resident: `anon` is this process's own, `file` what it maps."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
    return {"anon": int(found["RssAnon"]) << 10, "file": int(found["RssFile"]) << 10}


def timed_app(path: Path) -> Any:
    """The application; `drawn` gets the time of every picture that a terminal would be sent."""
    from tui.app import TracekitApp

    class Timed(TracekitApp):
        CSS_PATH = str(ROOT / "tui" / "style.tcss")

        def __init__(self, path: Path) -> None:
            super().__init__(path)
            self.drawn: list[float] = []

        def _display(self, screen: Any, renderable: Any) -> None:
            super()._display(screen, renderable)
            if hasattr(renderable, "render_segments") and screen is self.screen:
                renderable.render_segments(self.console)  # which a headless driver leaves out
                self.drawn.append(time.perf_counter())

    return Timed(path)


async def shown(app: Any) -> float:
    """Wait until the story has been drawn; when that was."""
    from tui.story import StoryView

    while app.model is None or not app.query(StoryView) or not app.query_one(StoryView).region:
        await asyncio.sleep(_TURN)
    ready = time.perf_counter()
    while not app.drawn or app.drawn[-1] < ready:
        app.refresh()
        await asyncio.sleep(_TURN)
    return next(when for when in app.drawn if when >= ready)


async def press(app: Any, pilot: Any, keys: Iterable[str]) -> list[float]:
    """Seconds from each key to the picture that follows it; keys that draw nothing have none."""
    found = []
    for key in keys:
        begun = time.perf_counter()
        await pilot.press(key)
        later = [when for when in app.drawn if when > begun]
        if later:
            found.append(later[0] - begun)
    return found


def at_work(app: Any) -> bool:
    return any(worker.is_running for worker in app.workers)


async def tour(app: Any, pilot: Any) -> None:
    """Visit all views and page around in them."""
    for view in _VIEWS:
        await pilot.press(view)
        await pilot.pause(0.2)
        await press(app, pilot, _ABOUT[view])


async def busy_keys(app: Any, pilot: Any, opener: str, text: str) -> dict[str, Any]:
    """Type into the search or filter line; every key again while what is typed is looked for."""
    await pilot.press("3", opener)
    found, during = [], 0
    for key in [*text, *["backspace", text[-1]] * 12]:
        await asyncio.sleep(_THINKING)
        during += at_work(app)
        found += await press(app, pilot, [key])
    await pilot.press("escape")
    return {"keys": found, "during": during}


async def measure(path: Path, what: str) -> dict[str, Any]:
    begun = time.perf_counter()
    app = timed_app(path)
    async with app.run_test(size=_SIZE) as pilot:
        found: dict[str, Any] = {"first": await shown(app) - begun, "opened": memory()}
        found["events"] = app.model.total
        if what == "all":
            await tour(app, pilot)
            found["toured"] = memory()
            await pilot.press("3")
            found["events_keys"] = await press(app, pilot, ["down"] * 40)
            await pilot.press("2")
            found["timeline_keys"] = await press(app, pilot, ["d", "a", "w", "s"] * 10)
            found["search"] = await busy_keys(app, pilot, "slash", _NOWHERE)
            found["filter"] = await busy_keys(app, pilot, "f", f"args ~ *{_NOWHERE}*")
    return found


def child(path: Path, what: str) -> None:
    """Fresh process: prints what `measure` found; imports come before the clock starts."""
    import tui.app  # noqa: F401

    before = memory()
    found = asyncio.run(measure(path, what))
    print(json.dumps({**found, "before": before}))


def fresh(path: Path, what: str = "open") -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", what, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def large(where: Path, million: str | None) -> Path:
    """A session of 20 million events."""
    from benchmarks.bench import capture, session_of
    from tests.repeated import repeat

    if million:
        os.environ["TRACEKIT_MILLION"] = million
    once = session_of(capture(where), where / "once")
    import tracekit

    return repeat(once, where / "large", -(-20_000_000 // len(tracekit.open(once))))


def line(what: str, value: str, aim: str = "") -> None:
    print(f"{what:<58} {value:>24}   {aim}", flush=True)


def megabytes(found: dict[str, int], before: dict[str, int]) -> str:
    return f"{found['anon'] / 1e6:.0f} MB (+{(found['anon'] - before['anon']) / 1e6:.0f}), " + (
        f"maps {found['file'] / 1e6:.0f} MB"
    )


def milliseconds(keys: list[float]) -> str:
    if not keys:
        return "nothing drawn"
    worst = sorted(keys)[max(0, len(keys) * 95 // 100 - 1)]
    middle = statistics.median(keys)
    return f"{middle * 1e3:.0f}, {worst * 1e3:.0f}, {max(keys) * 1e3:.0f} ms of {len(keys)}"


def show(name: str, path: Path, aim: str) -> dict[str, Any]:
    """Measure a session whose index, if it is to have one, is there."""
    runs = [fresh(path) for _ in range(_RUNS)]
    best, worst = min(r["first"] for r in runs), max(r["first"] for r in runs)
    line(f"{name}: first screen, best and worst of {_RUNS}", f"{best:.2f} s, {worst:.2f} s", aim)
    found = fresh(path, "all")
    line("  own memory after opening", megabytes(found["opened"], found["before"]))
    line("  after visiting all views", megabytes(found["toured"], found["before"]))
    line("  key to picture, events: median, 95 %, worst", milliseconds(found["events_keys"]))
    line("  key to picture, timeline", milliseconds(found["timeline_keys"]))
    for what in ("search", "filter"):
        keys, during = found[what]["keys"], found[what]["during"]
        line(f"  key to picture, while a {what} runs", milliseconds(keys), "50 ms")
        line("    it was at work when so many of these were pressed", str(during))
    return {**found, "best": best}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--million", default=os.environ.get("TRACEKIT_MILLION"))
    parser.add_argument("--child", choices=("open", "all"))
    parser.add_argument("path", nargs="?", type=Path)
    given = parser.parse_args()
    if given.child:
        child(given.path, given.child)
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as directory:
        scratch = Path(directory)
        if not given.million:
            print("no --million FILE: the large session is a small capture's, many times over")
        print(f"{'':<58} {'measured':>24}   aim")
        small = show("shipped handover", SHIPPED, "0.5 s")
        path = large(scratch, given.million)
        index = path / "index"
        first = fresh(path)
        many = f"{first['events']:,} events"
        line(f"{many}: first screen, building the index", f"{first['first']:.1f} s")
        raw = sum(f.stat().st_blocks * 512 for f in index.iterdir())
        line("  its index on disk", f"{raw / first['events']:.0f} bytes an event")
        found = show(f"{many}, index kept", path, "1.5 s")
        line("  building beside opening what was built", f"{first['first'] / found['best']:.0f}x")
        grown = found["toured"]["anon"] / small["toured"]["anon"]
        times = found["events"] / small["events"]
        line(f"  own memory beside the handover's, for {times:,.0f}x the events", f"{grown:.2f}x")
        shutil.rmtree(path)


if __name__ == "__main__":
    main()
