"""The timeline under test: opening it, and reading what it has drawn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from tests.support.driver import drive, until
from tests.support.ring.event_payloads import function
from tests.support.ring.region_writer import TEXT_ADDR, RingBuffer
from tui.app import TracekitApp
from tui.model import Model
from tui.timeline.lanes import Lanes
from tui.timeline.ruler import Ruler
from tui.timeline.state import GUTTER, LaneState
from tui.timeline.view import TimelineView

Piloted = Pilot[Any]
Script = Callable[[TracekitApp, Piloted, Model, LaneState], Awaitable[None]]
OLD = 8_000_000  # ns before the jump, in which the old kernel shuts down


def timeline(script: Script, path: Path | None = None, size: tuple[int, int] = (80, 24)) -> None:
    """Run ``script`` in the timeline, once its lanes are there."""

    async def run(app: TracekitApp, pilot: Piloted) -> None:
        assert app.model is not None
        state = app.query_one(TimelineView).state
        await until(pilot, lambda: state.ready and state.current, "there are lanes")
        await script(app, pilot, app.model, state)

    drive(run, path, size, view="timeline")


def ring_of(events: int, step: int = 1000) -> RingBuffer:
    ring = RingBuffer(4)
    for i in range(events):
        ring.write(10**6 + i * step, function(TEXT_ADDR + 0x1000, TEXT_ADDR))
    return ring


def lane_lines(app: TracekitApp, name: str) -> list[str]:
    """What is drawn of a lane, without its name."""
    lanes = app.query_one(Lanes)
    state = app.query_one(TimelineView).state
    number = next(i for i, lane in enumerate(state.lanes) if lane.name == name)
    drawn = [lanes.render_line(y).text for y in range(lanes.size.height)]
    (top,) = (y for y, line in enumerate(drawn) if line[1:GUTTER].startswith(f"{name} "))
    return [line[GUTTER:] for line in drawn[top : top + lanes.places[number].rows]]


def first_cpu(app: TracekitApp) -> int:
    """The CPU whose lane is the first that is seen."""
    _, number, *_ = app.query_one(Lanes).render_line(0).text[1:GUTTER].split()
    return int(number)


def ruler(app: TracekitApp) -> str:
    return app.query_one(Ruler).render_line(0).text


def choose(state: LaneState, name: str) -> None:
    state.chosen = next(i for i, lane in enumerate(state.shown) if lane.name == name)


async def wheel(app: TracekitApp, pilot: Piloted, kind: str, x: int, **options: bool) -> None:
    from textual import events

    lanes = app.query_one(Lanes)
    cls: type[events.MouseEvent] = getattr(events, kind)
    lanes.post_message(
        cls(lanes, x, 5, 0, 0, 0, options.get("shift", False), False, False, x, 9, None)
    )
    await pilot.pause()
