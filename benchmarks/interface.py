"""The terminal interface: how soon the first screen is there, what it holds in memory, how soon a
key is answered. `make bench`, or `python benchmarks/interface.py [--million FILE]`.

Everything is measured in fresh processes with Textual's own pilot, 80x24. The large session is
the region of function-1m.tar.zst (--million, or TRACEKIT_MILLION) 20 times over; without that
capture, tests/captures/same-boot-wide-7.2 so often that it has 20 million events too.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

SHIPPED = ROOT / "tracekit" / "demo" / "handover.tar.zst"
_RUNS = 3
_SIZE = (80, 24)
_THINKING = 0.1  # seconds before the next key is pressed
_PATIENCE = 2.0  # seconds after which a key counts as one without an answer
_WATCH = 0.02  # seconds between two looks at a process's memory
_KEYS = 40
#: What is looked for: nothing has it, so all rows are gone through.
_NOWHERE = "qzxwvq"
_PAGING = ["pagedown", "down", "pagedown", "up"] * (_KEYS // 4)
_AROUND = ["end", "pageup", "home", "pagedown"] * (_KEYS // 4)
_DIALOGS = ["ctrl+p", "escape", "question_mark", "escape"]
_Keys = list[float]
_MEMORY = {
    "opened": "after opening",
    "toured": "after visiting all views",
    "after": "after all jobs",
    "peak": "at most, ever",
}


def memory(pid: int | str = "self") -> dict[str, int]:
    """Bytes resident: `anon` is the process's own, `file` what it maps."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
    return {"anon": int(found.get("RssAnon", 0)) << 10, "file": int(found.get("RssFile", 0)) << 10}


def timed_app(path: Path) -> Any:
    """The application; `drawn` gets the time of every picture that a terminal would be sent."""
    from tui.app import TracekitApp
    from tui.tables.view import TablesView

    class Timed(TracekitApp):
        CSS_PATH = str(ROOT / "tui" / "style.tcss")

        def __init__(self, path: Path) -> None:
            super().__init__(path)
            self.drawn: list[float] = []
            self.before: Any = None
            self.answered = asyncio.Event()

        def state(self) -> tuple[object, ...]:
            """What a key changes: some of it."""
            at, model = self.focused, self.model
            of_model = model and (model.cursor, model.window)
            of_widget = at and (getattr(at, name, None) for name in ("value", "selected"))
            details = self.query("#events-details")
            open_ = bool(details) and details.first().display
            tables = [view.sheet.title for view in self.query(TablesView)]
            scrolled = at and at.scroll_offset
            return self.screen, open_, at, of_model, *(of_widget or ()), scrolled, tables

        def _display(self, screen: Any, renderable: Any) -> None:
            super()._display(screen, renderable)
            if hasattr(renderable, "render_segments") and screen is self.screen:
                renderable.render_segments(self.console)  # which a headless driver leaves out
                self.drawn.append(time.perf_counter())
                if self.state() != self.before:
                    self.answered.set()

    return Timed(path)


async def shown(app: Any) -> float:
    """Wait until the story has been drawn; when that was."""
    from tui.story.view import StoryView

    while app.model is None or not app.query(StoryView) or not app.query_one(StoryView).region:
        await asyncio.sleep(0.002)
    ready = time.perf_counter()
    while not app.drawn or app.drawn[-1] < ready:
        app.refresh()
        await asyncio.sleep(0.002)
    return next(when for when in app.drawn if when >= ready)


async def press(app: Any, key: str) -> _Keys:
    """Seconds from a key to the picture with what it changed; nothing if it changed nothing."""
    from textual import events
    from textual.keys import _character_to_key

    name, char = (_character_to_key(key), key) if len(key) == 1 else (key, None)
    app.before = app.state()
    app.answered.clear()
    begun = time.perf_counter()
    app._driver.send_message(events.Key(name, char))
    try:
        await asyncio.wait_for(app.answered.wait(), _PATIENCE)
    except TimeoutError:
        return []
    return [app.drawn[-1] - begun]


async def at_rest(app: Any, keys: Iterable[str]) -> _Keys:
    """Every key after a moment in which nothing is done."""
    found = []
    for key in keys:
        await settled(app)
        await asyncio.sleep(_THINKING / 2)
        found += await press(app, key)
    return found


def at_work(app: Any) -> bool:
    return any(worker.is_running for worker in app.workers)


async def settled(app: Any) -> None:
    while at_work(app):
        await asyncio.sleep(_THINKING)


async def while_working(
    app: Any, begin: Callable[[], Awaitable[None]], keys: Sequence[str] = _PAGING
) -> dict[str, Any]:
    """Keys in the table while a job runs, which is begun again when it is done."""
    found, during = [], 0
    await settled(app)
    for key in keys:
        if not at_work(app):
            await begin()
        await asyncio.sleep(_THINKING)
        during += at_work(app)
        found += await press(app, key)
    app.workers.cancel_all()
    await settled(app)
    return {"keys": found, "during": during}


async def typing(app: Any, opener: str, text: str) -> dict[str, Any]:
    """Type into the search or filter line; every key again while what is typed is looked for."""
    found, during = [], 0
    await press(app, opener)
    for key in [*text, *["backspace", text[-1]] * 12]:
        await asyncio.sleep(2 * _THINKING)
        during += at_work(app)
        found += await press(app, key)
    await press(app, "escape")
    await settled(app)
    return {"keys": found, "during": during}


def filters(app: Any) -> dict[str, str]:
    """A filter that asks for a column, one for an argument, one for the text of all."""
    recording = app.model.recording
    middle = np.arange(app.model.total // 2, min(app.model.total // 2 + 50, app.model.total))
    names = [n for f in recording.fields(middle) for n, v in f.items() if type(v) is int]
    return {
        "column filter": "pid != 0 or preempt > 1",
        "argument filter": f"args.{names[0]} != 1",
        "text filter": f"args !~ *{_NOWHERE}*",
    }


async def jobs(app: Any) -> dict[str, Any]:
    """Keys in the table of events while the interface works on something."""
    from tui.events.table import EventsTable

    table, found = app.query_one("#events-table", EventsTable), {}
    asked = filters(app)

    def filtering(where: str) -> Callable[[], Awaitable[None]]:
        async def begin() -> None:
            app.filter_by(where)

        return begin

    def sorting(*keys: str) -> Callable[[], Awaitable[None]]:
        turn = itertools.count()

        async def begin() -> None:
            n = next(turn)
            table.sort_by(keys[n % len(keys)], bool(n % 2))

        return begin

    async def searching() -> None:
        for key in ("slash", *_NOWHERE, "enter"):
            await press(app, key)

    for what, where in asked.items():
        found[f"while the {what} runs"] = await while_working(app, filtering(where))
        app.filter_by("")
    found["while the search runs"] = await while_working(app, searching)
    await press(app, "escape")
    argument = asked["argument filter"].split()[0]
    found["while it sorts by Δ"] = await while_working(app, sorting("delta"))
    found["while it sorts by an argument"] = await while_working(app, sorting(argument))
    table.sort_by("time", False)
    await press(app, "4")
    turns = itertools.count()

    async def selecting() -> None:
        app.filter_by(f"cpu = {next(turns) % 2}")

    every = ["right"] * (_KEYS // 2) + ["left"] * (_KEYS // 2)
    found["while the tables count"] = await while_working(app, selecting, every)
    app.filter_by("")
    await settled(app)
    await press(app, "3")
    found["typing a search"] = await typing(app, "slash", _NOWHERE)
    found["typing a filter"] = await typing(app, "f", asked["text filter"])
    return found


async def tour(app: Any) -> dict[str, Any]:
    """All views; every key with the seconds it took, by what it is for."""
    found = {}
    if app.focused is not None and app.focused.selected:  # else the story has no bars
        found["story"] = await at_rest(app, ["down", "up"] * (_KEYS // 2))
    found["views, at first"] = await at_rest(app, "23451")
    await at_rest(app, "2")
    found["timeline: zoom, pan"] = await at_rest(app, [*"wwdawsds"] * (_KEYS // 8))
    found["timeline: from event to event"] = await at_rest(app, ["right", "right", "left"] * 10)
    await at_rest(app, "3")
    found["events: down"] = await at_rest(app, ["down"] * _KEYS)
    found["events: page"] = await at_rest(app, _PAGING)
    found["events: end, home"] = await at_rest(app, _AROUND)
    found["details, at first"] = await at_rest(app, "i")
    found["events with details"] = await at_rest(app, _AROUND)
    await at_rest(app, "i")
    found["palette, help"] = await at_rest(app, _DIALOGS * 3)
    found["views, again"] = await at_rest(app, "12345123453")
    return {name: {"keys": keys} for name, keys in found.items()}


async def measure(path: Path, what: str) -> dict[str, Any]:
    begun = time.perf_counter()
    app = timed_app(path)
    async with app.run_test(size=_SIZE):
        opening = []
        while what == "opening" and app.model is None:
            for key in _DIALOGS:
                opening += await press(app, key)
                await asyncio.sleep(_THINKING)
        found: dict[str, Any] = {"first": await shown(app) - begun, "opened": memory()}
        found["events"] = app.model.total
        found["keys"] = {"palette, help while opening": {"keys": opening}} if opening else {}
        if what == "all":
            found["keys"] |= await tour(app)
            found["toured"] = memory()
            found["keys"] |= await jobs(app)
            found["keys"]["events: page, after all that"] = {"keys": await at_rest(app, _PAGING)}
            await asyncio.sleep(1)
            found["after"] = memory()
    return found


def child(path: Path, what: str) -> None:
    """Fresh process: prints what `measure` found; imports come before the clock starts."""
    import tui.app  # noqa: F401

    before = memory()
    found = asyncio.run(measure(path, what))
    print(json.dumps({**found, "before": before}))


def fresh(path: Path, what: str = "open") -> dict[str, Any]:
    """What a fresh process measured; `peak` is the most it ever held."""
    command = [sys.executable, __file__, "--child", what, str(path)]
    peak = {"anon": 0, "file": 0}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as done:
        assert done.stdout is not None
        while not select.select([done.stdout], [], [], _WATCH)[0]:
            now = memory(done.pid)
            peak = {name: max(peak[name], now[name]) for name in peak}
        result: dict[str, Any] = json.loads(done.stdout.read().splitlines()[-1])
    return {**result, "peak": peak}


def large(where: Path, million: str | None) -> Path:
    """A session of 20 million events."""
    from benchmarks.bench import capture
    from benchmarks.recovered import recovered
    from tests.support.repeated import repeat

    if million:
        os.environ["TRACEKIT_MILLION"] = million
    once = recovered(capture(where), where / "once")
    import tracekit

    return repeat(once, where / "large", -(-20_000_000 // len(tracekit.open(once))))


def line(what: str, value: str, aim: str = "") -> None:
    print(f"{what:<58} {value:>24}   {aim}", flush=True)


def megabytes(found: dict[str, int], before: dict[str, int]) -> str:
    return f"{found['anon'] / 1e6:.0f} MB (+{(found['anon'] - before['anon']) / 1e6:.0f}), " + (
        f"maps {found['file'] / 1e6:.0f} MB"
    )


def milliseconds(keys: _Keys) -> str:
    if not keys:
        return "nothing drawn"
    worst = sorted(keys)[max(0, len(keys) * 95 // 100 - 1)]
    middle = statistics.median(keys)
    return f"{middle * 1e3:.0f}, {worst * 1e3:.0f}, {max(keys) * 1e3:.0f} ms of {len(keys)}"


def show_keys(found: dict[str, Any]) -> None:
    for what, of in found["keys"].items():
        during = f" ({of['during']} while at work)" if "during" in of else ""
        line(f"  {what}{during}", milliseconds(of["keys"]), "50 ms")


def show(name: str, path: Path, aim: str) -> dict[str, Any]:
    """Measure a session whose index, if it is to have one, is there."""
    runs = [fresh(path) for _ in range(_RUNS)]
    best, worst = min(r["first"] for r in runs), max(r["first"] for r in runs)
    line(f"{name}: first screen, best and worst of {_RUNS}", f"{best:.2f} s, {worst:.2f} s", aim)
    found = fresh(path, "all")
    for what, when in _MEMORY.items():
        line(f"  own memory {when}", megabytes(found[what], found["before"]))
    line("  key to picture: median, 95 %, worst", "")
    show_keys(found)
    return {**found, "best": best}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--million", default=os.environ.get("TRACEKIT_MILLION"))
    parser.add_argument("--child", choices=("open", "opening", "all"))
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
        first = fresh(path, "opening")
        many = f"{first['events']:,} events"
        line(f"{many}: first screen, building the index", f"{first['first']:.1f} s")
        raw = sum(f.stat().st_blocks * 512 for f in index.iterdir())
        show_keys(first)
        line("  its index on disk", f"{raw / first['events']:.0f} bytes an event")
        found = show(f"{many}, index kept", path, "1.5 s")
        line("  building beside opening what was built", f"{first['first'] / found['best']:.0f}x")
        grown = found["toured"]["anon"] / small["toured"]["anon"]
        times = found["events"] / small["events"]
        line(f"  own memory beside the handover's, for {times:,.0f}x the events", f"{grown:.2f}x")
        shutil.rmtree(path)


if __name__ == "__main__":
    main()
