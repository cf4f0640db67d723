"""The pictures: well-formed, to scale, with nothing left out in silence."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from importlib.resources import as_file, files
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tracekit
from tracekit.cli import main
from tracekit.drawing.axis import Scale
from tracekit.drawing.plot import standalone
from tracekit.drawing.story import story
from tracekit.report.critical.blame import blame

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [node.text or "" for node in ET.fromstring(svg).iter(f"{SVG}text")]


def of_the_demo(*, every: bool) -> str:
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        recording = tracekit.open(path)
        report = recording.report()
        return standalone(report, blame(recording, report), every=every)


def test_the_plot_has_what_took_longest() -> None:
    found = texts(of_the_demo(every=False))
    assert "Linux 7.2.13 → 7.3.4: blackout 3.099 s ± 26.3 µs" in found
    assert "acpi_init (148 ms)" in found and "0000:00:1f.2 (518 µs)" in found
    assert "411 shorter ones are not drawn" in found
    assert "device shutdown (4.15 ms)" in found


def test_the_plot_of_all() -> None:
    found = texts(of_the_demo(every=True))
    assert sum("_init (" in text for text in found) > 200
    assert not any("not drawn" in text for text in found)


def test_the_story_is_to_scale() -> None:
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as path:
        report = tracekit.open(path).report()
    boxes = [
        node for node in ET.fromstring(story(report, 0)).iter(f"{SVG}rect") if node.get("y") == "24"
    ]
    phases = [p for p in report.phases if p.in_blackout]
    assert len(boxes) == len(phases)
    widths = {p.name: float(b.get("width", 0)) for p, b in zip(phases, boxes, strict=True)}
    took = {p.name: p.duration_ns or 0 for p in phases}
    dark, device = "dark: until the new kernel runs", "initcalls: device"
    assert widths[dark] / widths[device] == pytest.approx(took[dark] / took[device], rel=0.01)


@given(st.integers(-(10**15), 10**15), st.integers(1, 10**15), st.integers(2, 40))
def test_ticks_are_round_and_few(start: int, span: int, most: int) -> None:
    scale = Scale(start, start + span, 0, 100)
    ticks = scale.ticks(most)
    assert len(ticks) <= most + 1
    assert all(start <= t <= start + span for t in ticks)
    assert len({b - a for a, b in pairwise(ticks)}) <= 1


@pytest.mark.parametrize("name", ["stock-6.12-panic-tsc", "handover-7.2-tsc"])
def test_other_sessions(name: str, session: Callable[[str], Path], tmp_path: Path) -> None:
    target = tmp_path / "x.svg"
    assert main(["-q", "plot", str(session(name)), "-o", str(target)]) == 0
    assert len(texts(target.read_text())) > 5


def test_one_boot_has_nothing_to_plot(session: Callable[[str], Path], tmp_path: Path) -> None:
    assert main(["-q", "plot", str(session("same-boot-7.2")), "-o", str(tmp_path / "x.svg")]) == 2
    assert list(tmp_path.iterdir()) == []
