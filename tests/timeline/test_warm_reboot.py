"""A warm reboot of a stock 6.12: the same half of the carve-out, attached again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import tracekit
from tests.support.sessions.warm_reboot import rebooted
from tracekit.capture.recover.recover import recover
from tracekit.capture.save.snapshot import snapshot
from tracekit.recording import Recording
from tracekit.sysroot import Sysroot

CAPTURE = "stock-6.12-carveout-tsc"
LAST_OLD, NEW_BEGAN = 104_410_883_408, 113_844_646_682
LATER = NEW_BEGAN + 40_000_000_000


@pytest.fixture
def trees(capture: Callable[[str], Path]) -> Path:
    return capture(CAPTURE)


def opened(trees: Path, new: Path, where: Path) -> Recording:
    snapshot(Sysroot(trees / "old"), where)
    recover(Sysroot(new), where)
    return tracekit.open(where)


def test_nothing_was_recorded_on_top(trees: Path, tmp_path: Path) -> None:
    recording = opened(trees, rebooted(trees, tmp_path / "new"), tmp_path / "s")
    report = recording.report()
    assert [(b.events, b.clock) for b in report.boots] == [(91_054, "x86-tsc"), (1_548, "x86-tsc")]
    (jump,) = report.handovers
    assert jump.way.started_by == "boot loader" and jump.gap_raw == NEW_BEGAN - LAST_OLD
    codes = {d.code for d in report.diagnostics}
    assert not codes & {"region-rewritten", "region-recorded-on", "region-not-kept"}


def test_the_next_kernel_recorded_on(trees: Path, tmp_path: Path) -> None:
    """On the clock that went on: its stamps are from after its own begin."""
    new = rebooted(trees, tmp_path / "new", on=(1, LATER))
    instance = new / "sys/kernel/tracing/instances/tk"
    (instance / "trace_clock").write_text("local [x86-tsc]\n")
    for stats in instance.glob("per_cpu/*/stats"):
        stats.unlink()
    recording = opened(trees, new, tmp_path / "s")
    old, on = recording.report().boots
    assert 91_054 - 120 < old.events < 91_054 and on.events == 1_549
    assert old.lost_at_least and old.lost
    table = recording.event("ftrace:print")
    texts = [
        a for b, a in zip(table["boot"].to_pylist(), table["buf"].to_pylist(), strict=True) if b
    ]
    assert texts == ["the next kernel\n"]


def test_on_a_clock_that_began_anew(trees: Path, tmp_path: Path) -> None:
    """6.12 does not restore the clock: the next kernel's stamps are small."""
    new = rebooted(trees, tmp_path / "new", on=(1, 9_000_000_000))
    recording = opened(trees, new, tmp_path / "s")
    assert [b.clock for b in recording.report().boots] == ["x86-tsc", "x86-tsc"]
    assert recording.report().boots[0].events < 91_054
    writers = recording.session.json("boots/0/regions/carveout-70000000.json")["writers"]
    assert len(writers) == 2


def test_firmware_set_the_counter_back(trees: Path, tmp_path: Path) -> None:
    """The wall clock tells, even where the stamps are in order."""
    new = rebooted(trees, tmp_path / "new")
    samples = json.loads((new / "clocks.json").read_text())
    for sample in samples:
        if sample["clock"] == "realtime":
            sample["ns"] += 100_000_000_000
    (new / "clocks.json").write_text(json.dumps(samples))
    report = opened(trees, new, tmp_path / "s").report()
    assert "clock-counter-reset" in {d.code for d in report.diagnostics}
    (jump,) = report.handovers
    assert jump.gap_raw is None or not report.common_clock
    assert not report.common_clock
