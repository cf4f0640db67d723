"""The axis of pieces, the rows of CPUs, and the story of a session without a jump."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.geometry import Size
from textual.pilot import Pilot

from tests.support.driver import drive, matches_snapshot, model_of, screen_text, until
from tests.support.sessions.made_events import graph, made
from tui.app import TracekitApp
from tui.story.around import CpuRows
from tui.story.microscope import cell_of, pieces
from tui.story.spans import SpanList

Piloted = Pilot[Any]


class _Phase:
    """As much of a phase as the axis asks for."""

    def __init__(self, name: str, boot: int, start: int, took: int) -> None:
        self.name, self.boot, self.start_ns, self.duration_ns = name, boot, start, took


@given(st.integers(40, 250), st.lists(st.integers(1, 10**11), min_size=3, max_size=3))
def test_every_piece_is_legible_and_in_its_place(width: int, lengths: list[int]) -> None:
    old, dark, new = lengths
    phases: Any = [_Phase("shutdown", 0, -old, old), _Phase("dark: x", 0, 0, dark),
                   _Phase("initcalls", 1, dark, new)]  # fmt: skip
    axis = pieces(phases, 0, width)
    assert [piece.kind for piece in axis] == ["old", "dark", "new"]
    assert axis[-1].at + axis[-1].cells == width
    assert all(b.at == a.at + a.cells + 1 for a, b in pairwise(axis))  # a cell for the break
    assert all(piece.cells >= 8 for piece in axis)
    assert cell_of(axis, -old) == 0 and cell_of(axis, dark + new) == width - 1
    assert cell_of(axis, 0) == axis[1].at
    cells = [cell_of(axis, ns) for ns in sorted([-old, -old // 2, 0, dark // 2, dark, dark + 1])]
    assert cells == sorted(cells)


async def _looked(app: TracekitApp, pilot: Piloted) -> None:
    await until(pilot, lambda: app.query_one(CpuRows).around is not None, "the CPUs are there")
    await pilot.pause()


def test_breaks_scales_and_cpus_are_printed() -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        await _looked(app, pilot)
        text = screen_text(app)
        bar, labels, first, second = text.splitlines()[4:8]
        assert bar.count("≈") == 2 and "░" * 20 in bar
        assert "old 6.98 ms" in labels and "dark: nothing can record 2.002 s" in labels
        assert labels.count(" a cell") >= 2
        assert " CPU 0 python3-76 since -4.37 ms" in first
        assert " CPU 1 idle since -2.96 ms" in second
        rows = app.query_one(CpuRows)  # its height is asked for before its width is known
        rows._size = Size(0, 0)
        assert rows.get_content_height(Size(), Size(), 120) == 2

    drive(script, size=(120, 40))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(60, 20), (120, 40), (200, 60)])
def test_it_looks_as_it_did(size: tuple[int, int]) -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        await _looked(app, pilot)
        await matches_snapshot(pilot, f"story-{size[0]}x{size[1]}")

    drive(script, size=size)


def test_a_session_without_a_jump_has_a_story(session: Callable[[str], Path]) -> None:
    async def script(app: TracekitApp, pilot: Piloted) -> None:
        assert not model_of(app).report.handovers
        await until(pilot, lambda: "Tasks that ran longest" in screen_text(app), "its figures")
        text = screen_text(app)
        assert " a second, at most " in text and "Most frequent events" in text
        await pilot.press("home", "enter")
        await pilot.pause()
        assert app.query_one("#timeline").display

    drive(script, session("same-boot-7.2"), size=(100, 50))


def test_its_functions_are_there_too(tmp_path: Path) -> None:
    events = [graph(0, "outer", 0), graph(10, "middle", 1), graph(40, "middle", 1, 30),
              graph(100, "outer", 0, 100)]  # fmt: skip

    async def script(app: TracekitApp, pilot: Piloted) -> None:
        await until(pilot, lambda: "Functions that took longest" in screen_text(app), "they are")
        lines = [line.lstrip("▌▶ ") for line in screen_text(app).splitlines()]
        names = [line.split()[0] for line in lines if " µs " in f"{line} "]
        assert [name for name in names if name in ("outer", "middle")] == ["outer", "middle"]
        assert app.query(SpanList)

    drive(script, made(tmp_path / "s", events), size=(100, 40))
