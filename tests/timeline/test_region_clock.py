"""Which clock stamped a region that does not say so: that of the instance on it, or unknown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import tracekit

CAPTURE = "stock-6.12-carveout-tsc"


@pytest.fixture
def copy(session: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(session(CAPTURE), tmp_path / "s"))


def change(path: Path, **facts: object) -> None:
    """Change what is known of boot 0."""
    kernel = json.loads((path / "boots/0/kernel.json").read_text())
    (path / "boots/0/kernel.json").write_text(json.dumps(kernel | facts))


@pytest.mark.parametrize("lost", ["file", "instance"])
def test_all_others_are_excluded(copy: Path, lost: str) -> None:
    """104 s in ns of a boot that lasted 43 s at most."""
    if lost == "file":
        (copy / "boots/0/tracefs/instances/tk/trace_clock").unlink()
    else:
        change(copy, trace_instances=[])
    report = tracekit.open(copy).report()
    assert report.boots[0].clock == "x86-tsc" and report.common_clock
    (note,) = [d for d in report.diagnostics if d.code == "clock-by-exclusion"]
    assert "would be 104 s in ns, but the boot lasted at most 48 s" in note.message


def test_the_instance_is_found_by_address(copy: Path) -> None:
    """The global buffer of that kernel is on another clock."""
    assert "[local]" in (copy / "boots/0/tracefs/trace_clock").read_text()
    buffer = next(b for b in tracekit.open(copy).buffers if b.layout is not None)
    assert (buffer.name, buffer.instance, buffer.clock) == ("carveout-70000000", "tk", "x86-tsc")
    assert set(buffer.counters) == {0, 1}


@pytest.mark.parametrize("lost", ["file", "instance"])
def test_nothing_tells(copy: Path, lost: str) -> None:
    if lost == "file":
        (copy / "boots/0/tracefs/instances/tk/trace_clock").unlink()
    else:
        change(copy, trace_instances=[])
    change(copy, btime_s=1795842040 - 90)  # then it may have been 104 s
    report = tracekit.open(copy).report()
    old = report.boots[0]
    assert (old.clock, old.events, old.clock_error_ns) == ("unknown", 91_054, None)
    assert {e.ts_ns for e in report.last_events} == {None}
    (jump,) = report.handovers
    assert (jump.gap_ns, jump.blackout_ns, jump.way.name) == (None, None, "kexec")
    assert all(p.duration_ns is None for p in report.phases if p.boot == 0)
    assert "clock-unknown" in {d.code for d in report.diagnostics}
    assert old.counted == (lost == "file" and old.counted)


def test_zeros_are_no_lost_half(session: Callable[[str], Path], tmp_path: Path) -> None:
    """The other half of a carve-out is empty; one that an instance was on should not be."""
    path = Path(shutil.copytree(session("stock-6.12-panic-tsc"), tmp_path / "s"))
    codes = {d.code: d.severity for d in tracekit.open(path).report().diagnostics}
    assert codes["region-blank"] == "info" and "region-unusable" not in codes
    kernel = json.loads((path / "boots/0/kernel.json").read_text())
    kernel["trace_instances"][0]["address"] = 0x70800000
    (path / "boots/0/kernel.json").write_text(json.dumps(kernel))
    report = tracekit.open(path).report()
    assert "region-unusable" in {d.code for d in report.diagnostics}
    assert report.verdict == "incomplete"
