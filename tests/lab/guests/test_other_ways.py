"""``tracekit lab run``: without BPF, on the local clock, from four CPUs to two."""

from __future__ import annotations

from pathlib import Path

import pytest

import tracekit
from tests.support.guest import NEW, OLD, need_guests
from tracekit.cli import main
from tracekit.report.make import Report

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_guests()
    target = tmp_path_factory.mktemp("local") / "session"
    command = ["--kernel-old", OLD, "--kernel-new", NEW, "--cpus", "4", "--new-cpus", "2"]
    command += ["--clock", "local", "--no-bpf", "--events", "handover", "--events", "timer:*"]
    assert main(["lab", "run", *command, "--region-size", "8M", "-o", str(target)]) == 0
    return target


@pytest.fixture(scope="module")
def report(session: Path) -> Report:
    return tracekit.open(session).report()


def test_all_four_cpus_are_there(session: Path, report: Report) -> None:
    assert [boot.release for boot in report.boots] == [OLD, NEW]
    assert [cpu.cpu for cpu in report.boots[0].cpus] == [0, 1, 2, 3]
    assert report.boots[0].lost == 0
    assert [cpu.cpu for cpu in report.boots[1].cpus] == [0, 1]
    assert tracekit.open(session).has_event("timer:timer_start", 0)


def test_the_local_clocks_are_related(report: Report) -> None:
    """Where the guest found its TSC late, the new clock's first stamps only bound the gap."""
    assert [boot.clock for boot in report.boots] == ["local", "local"]
    jump = report.handovers[0]
    assert jump.gap_earliest_ns is not None and jump.gap_latest_ns is not None
    assert 0 <= jump.gap_earliest_ns < jump.gap_latest_ns < 60e9
    if any(note.code == "clock-loose" for note in report.diagnostics):
        assert jump.gap_earliest_ns == 0
        assert "before the clock had a real source" in jump.gap_method
    else:
        assert jump.gap_latest_ns - jump.gap_earliest_ns < 100_000_000
    assert jump.gap_latest_ns > 100_000_000


def test_kprobe_events_cover_the_phases(report: Report) -> None:
    seen = {p.name for p in report.phases if p.observed}
    for name in ("kexec load", "device shutdown", "CPUs stopped", "machine_kexec"):
        assert name in seen
    assert report.devices
    last = [e for e in report.last_events if e.cpu == 0][-1]
    assert last.event == "tracekit:machine_kexec"
