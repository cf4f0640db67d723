"""The ruler: exact ticks, and the lines of marks and bookmarks."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.support.driver import screen_text
from tests.support.views.timeline_view import OLD, Piloted, lane_lines, ruler, timeline
from tracekit.timeline.filter import parse_time
from tui.app import TracekitApp
from tui.model import Model
from tui.timeline.ruler import instant, ticks
from tui.timeline.state import GUTTER, LaneState


def test_marks_and_bookmarks_are_lines_and_the_distance_is_stated() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        model.look_at(-OLD, 0)
        model.go(-6_984_409)
        model.set_bookmark(model.cursor, "here it begins")
        await pilot.press("m")
        model.go(-1_195_762)
        await pilot.press("m")
        model.go(-4_000_000)
        await pilot.pause()
        scale = state.scale(80)
        assert ruler(app)[GUTTER + scale.cell(-6_984_409)] == "A"
        assert ruler(app)[GUTTER + scale.cell(-1_195_762)] == "B"
        assert lane_lines(app, "markers")[0][scale.cell(-6_984_409)] == "┆"
        ns, error = model.recording.axis.interval(
            model.recording.rows,
            *(int(np.searchsorted(model.ts_ns, t)) for t in (-6_984_409, -1_195_762)),
        )
        assert ns == 5_788_647 and error is not None
        assert "A→B 5.79 ms ± " in screen_text(app)
        await pilot.press("m")
        assert model.marks == (None, None)
        await pilot.pause()
        assert ruler(app)[GUTTER + scale.cell(-6_984_409)] == "◆"
        assert lane_lines(app, "markers")[0][scale.cell(-6_984_409)] == "┊"
        assert "A→B" not in screen_text(app)

    timeline(script)


def told(label: str) -> int:
    return 0 if label in ("0", "+0") else parse_time(label.removeprefix("+").replace(" ", ""))


@given(st.integers(-(10**12), 10**12), st.integers(40, 10**12), st.integers(30, 240))
def test_ticks_tell_instants_exactly(start: int, length: int, cells: int) -> None:
    end = start + length
    found = ticks(start, end, cells)
    assert all(start <= at < end for at in found.at)
    steps = set(np.diff(found.at).tolist())
    assert len(steps) <= 1
    for step in steps:
        assert str(step).rstrip("0") in ("1", "2", "5")
        assert step * cells >= 10 * length  # far enough apart
    assert len(found.at) >= cells // 26 - 1
    base = told(found.origin) if found.origin else 0
    assert base == found.base
    assert [base + told(label) for label in found.labels] == list(found.at)
    room = min(steps, default=length) * cells // length
    assert len(found.at) < 2 or max(map(len, found.labels)) < room


@given(st.integers(-(10**15), 10**15))
def test_an_instant_is_told_to_the_nanosecond(ns: int) -> None:
    assert told(instant(ns)) == ns


def test_a_label_is_whole_or_not_there() -> None:
    async def script(app: TracekitApp, pilot: Piloted, model: Model, state: LaneState) -> None:
        for shift in range(40):
            model.look_at(-8_000_000 + shift * 100_000, 8_000_000 + shift * 100_000)
            model.set_mark(0, -3_000_000 + shift * 37_000)
            line = ruler(app)[GUTTER:]
            shown = ticks(*model.window, app.size.width - GUTTER)
            rest = line.replace("A", " ")
            for label in sorted(shown.labels, key=len, reverse=True):
                rest = rest.replace(label, "", 1)
            assert re.fullmatch(r"[┃jump │▸◂▼◆.0-]*", rest.strip()), line
            for number in re.findall(r"[\d.]+ (?:ms|µs|s)", line):
                assert any(label.lstrip("-").endswith(number) for label in shown.labels), line

    timeline(script)
