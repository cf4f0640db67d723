"""What time it was: from the clock samples, else from the kernel's btime, else unknown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import tracekit
from tracekit.timeline.when.wall_clock import Wall


@pytest.fixture
def copy(session: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(session("handover-7.2-to-7.3-tsc"), tmp_path / "session"))


def found(path: Path) -> dict[int, Wall]:
    return tracekit.open(path).walls


def samples(path: Path, boot: int) -> list[dict[str, int]]:
    document = json.loads((path / f"boots/{boot}/clocks.json").read_text())
    return list(document["samples"])


def write(path: Path, boot: int, kept: list[dict[str, int]]) -> None:
    file = path / f"boots/{boot}/clocks.json"
    document = json.loads(file.read_text())
    file.write_text(json.dumps({**document, "samples": kept}))


def test_a_reading_of_the_clock_is_where_the_tsc_says(copy: Path) -> None:
    recording = tracekit.open(copy)
    for boot, wall in recording.walls.items():
        model = recording.axis.clocks[boot]
        assert (model.unit, wall.basis) == ("cycles", "a reading of CLOCK_REALTIME")
        real = [s for s in samples(copy, boot) if s["clock"] == "realtime"]
        newest = max(real, key=lambda s: s["tsc_before"])
        low, high = (model.ns(newest[key]) + wall.offset_ns for key in ("tsc_before", "tsc_after"))
        assert low - wall.error_ns <= newest["ns"] <= high + wall.error_ns
        assert wall.error_ns < 10_000_000


def test_without_such_readings_the_second_of_the_boot_has_to_do(copy: Path) -> None:
    exact = found(copy)
    for boot in exact:
        write(copy, boot, [s for s in samples(copy, boot) if s["clock"] != "realtime"])
    for boot, wall in found(copy).items():
        assert wall.basis == "btime of /proc/stat"
        assert abs(wall.offset_ns - exact[boot].offset_ns) <= wall.error_ns + exact[boot].error_ns
        assert 10**9 <= wall.error_ns < 2 * 10**9


def test_where_nothing_tells_it_is_unknown(copy: Path) -> None:
    for boot in found(copy):
        write(copy, boot, [s for s in samples(copy, boot) if s["clock"] != "realtime"])
        kernel = copy / f"boots/{boot}/kernel.json"
        kernel.write_text(json.dumps({**json.loads(kernel.read_text()), "btime_s": None}))
    assert found(copy) == {}


def test_a_boot_without_evidence_has_the_clock_of_the_other(copy: Path) -> None:
    own = found(copy)
    write(copy, 1, [s for s in samples(copy, 1) if s["clock"] != "realtime"])
    kernel = copy / "boots/1/kernel.json"
    kernel.write_text(json.dumps({**json.loads(kernel.read_text()), "btime_s": None}))
    walls = found(copy)
    assert walls[0] == own[0]
    assert walls[1].offset_ns == own[0].offset_ns
    assert walls[1].basis == "a reading of CLOCK_REALTIME in boot 0"
    assert walls[1].error_ns > walls[0].error_ns


@pytest.mark.slow
@pytest.mark.parametrize("ns", [-1, 1 << 70, "now", None, 1.5])
def test_readings_that_make_no_sense_are_not_used(copy: Path, ns: object) -> None:
    for boot in found(copy):
        every = samples(copy, boot)
        write(copy, boot, [{**s, "ns": ns} if s["clock"] == "realtime" else s for s in every])  # type: ignore[dict-item]
    assert {wall.basis for wall in found(copy).values()} == {"btime of /proc/stat"}
