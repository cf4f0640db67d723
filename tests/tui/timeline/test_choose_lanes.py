"""Which lanes there are: spans by kind and states of tasks, on, off, moved, and kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.support.driver import until
from tests.support.views.timeline_view import Piloted, timeline
from tracekit.session.notes import Notes
from tracekit.session.reader import Session
from tui.app import TracekitApp
from tui.model import Model
from tui.timeline.choose_lanes import ChooseLanes
from tui.timeline.state import LaneState


def test_a_lane_of_spans_is_chosen_moved_and_kept(
    session: Callable[[str], Path], tmp_path: Path
) -> None:
    path = Path(shutil.copytree(session("handover-7.2-tsc"), tmp_path / "session"))

    async def choose(app: TracekitApp, pilot: Piloted, *keys: str) -> None:
        await pilot.press("v")
        await until(pilot, lambda: isinstance(app.screen, ChooseLanes), "it asks")
        await pilot.press(*keys)
        await pilot.pause()

    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        first = [lane.name for lane in state.lanes]
        await choose(app, pilot, *["down"] * len(first), "space", "P", "down", "space", "enter")
        await until(pilot, lambda: state.current and len(state.lanes) == len(first), "made")
        added = state.lanes[0].name
        assert added.startswith("spans ")
        assert [lane.name for lane in state.lanes][1:] == first[1:]  # the first one was turned off
        table = model.recording.analysis.spans().to_pylist()
        mine = [row for row in table if row["kind"] == added.removeprefix("spans ")]
        assert len(state.lanes[0].spans) == len([r for r in mine if r["start_ns"] is not None])
        assert json.loads((path / "notes.json").read_text())["lanes"][0] == added
        assert Notes.load(Session.open(path)).lanes[0] == added
        await choose(app, pilot, "a")
        await until(pilot, lambda: [lane.name for lane in state.lanes] == first, "as at first")
        assert "lanes" not in json.loads((path / "notes.json").read_text())

    timeline(script, path)


def test_a_task_has_a_lane_of_its_states() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.notes.lanes = ["CPU 0", "task 76@0", "nothing such", "task x@y"]
        state.take(state.make(model.selection, lambda: None))
        assert [lane.name for lane in state.lanes] == ["CPU 0", "task 76@0"]
        spans = state.lanes[1].spans
        assert {"running", "uninterruptible"} <= {span.label for span in spans}
        rows = model.recording.rows
        ran = [s for s in spans if s.label == "running" and s.end_ns > s.start_ns]
        for span in ran[:20]:  # while it ran, the events of its CPU are its own
            first, last = np.searchsorted(model.ts_ns, [span.start_ns + 1, span.end_ns])
            cpu = int(span.note.split()[1].strip(","))
            mine = np.arange(first, last)[rows.cpu[first:last] == cpu]
            assert set(rows.pid[mine].tolist()) <= {76}

    timeline(script)
