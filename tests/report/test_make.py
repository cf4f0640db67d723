"""The report: it adds up, and says of nothing that it is complete or known that is not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

import tracekit
from tests.support.session_trees import codes, make_session, stats, two_cpus
from tracekit.cli import main
from tracekit.recording import Recording


def claims(session: Path, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["report", str(session)]) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("  record"))
    assert f"  {tracekit.open(session).report().verdict}: " in line
    return line


def test_complete_is_only_said_of_what_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    per_cpu = "sys/kernel/tracing/instances/tk/per_cpu"
    counted = {f"{per_cpu}/cpu{cpu}/stats": stats(500, 0, 10**9) for cpu in (0, 1)}
    session = make_session(tmp_path / "counted", two_cpus(), counted)
    assert "  complete: 1,000 events, all that the kernel counted" in claims(session, capsys)
    more = {**counted, f"{per_cpu}/cpu1/stats": stats(520, 0, 10**9)}
    session = make_session(tmp_path / "more", two_cpus(), more)
    assert "  incomplete: 1,000 events, 20 lost" in claims(session, capsys)
    session = make_session(tmp_path / "whole", two_cpus())
    assert "  no loss seen: 1,000 events, and no counters" in claims(session, capsys)
    raw = next((session / "boots/0/regions").glob("tkA.raw.*"))
    region = tracekit.open(session).session.read("boots/0/regions/tkA.raw")
    raw.unlink()
    assert "incomplete" in claims(session, capsys)
    for damaged in (region[: len(region) * 6 // 10], b"", bytes(len(region))):
        raw.with_suffix("").write_bytes(damaged)
        assert "incomplete" in claims(session, capsys)


def test_a_session_with_a_snapshot_only_is_not_complete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.support.session_trees import make_tree

    tree = make_tree(tmp_path / "tree", two_cpus().data)
    session = tmp_path / "session"
    assert main(["-q", "snapshot", "--sysroot", str(tree), "-o", str(session)]) == 0
    assert "incomplete: 0 events, nothing of boot 0" in claims(session, capsys)


def test_a_cpu_that_is_not_in_the_region_is_missed(tmp_path: Path) -> None:
    stat = {"proc/stat": "cpu  1 2\ncpu0 1 2\ncpu1 1 2\ncpu2 1 2\n"}
    report = tracekit.open(make_session(tmp_path, two_cpus(), stat)).report()
    assert "cpus-missing" in codes(report)
    assert not report.complete


def test_no_time_is_claimed_where_no_clock_tells(
    session: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real handover, without samples and log, its clocks said to be local on both sides."""
    copy = tmp_path / "session"
    shutil.copytree(session("handover-7.2-tsc"), copy)
    recording = tracekit.open(copy)
    region = bytearray(recording.session.read("boots/0/regions/tkA.raw"))
    region[24:28] = bytes(4)  # clock id 0: local
    for path in copy.glob("boots/0/regions/tkA.raw.*"):
        path.unlink()
    (copy / "boots/0/regions/tkA.raw").write_bytes(region)
    for path in [*copy.glob("boots/*/clocks.json"), *copy.glob("boots/*/dmesg")]:
        path.unlink()
    (copy / "boots/1/tracefs/trace_clock").write_text("[local] global\n")
    report = tracekit.open(copy).report()
    (jump,) = report.handovers
    assert (jump.gap_ns, jump.gap_raw, jump.blackout_ns) == (None, None, None)
    dark = next(p for p in report.phases if p.name.startswith("dark"))
    assert dark.duration_ns is None
    assert all(c.first_ns is None for c in report.boots[1].cpus)
    assert not report.common_clock
    capsys.readouterr()
    assert main(["report", str(copy)]) == 0
    assert len([x for x in capsys.readouterr().out.splitlines() if "unknown" in x]) >= 2


def test_the_gap_of_the_reference_handover(session: Callable[[str], Path]) -> None:
    report = tracekit.open(session("handover-7.2-tsc")).report()
    (jump,) = report.handovers
    assert jump.gap_raw == 13_619_330_590
    # the TSC runs at 2.44543 GHz: mono_raw of both boots and both kernels' own calibration say so
    assert jump.gap_ns == pytest.approx(13_619_330_590 / 2.44543, abs=20_000)
    assert jump.gap_error_ns is not None
    assert 0 < jump.gap_error_ns < 100_000
    assert report.common_clock
    raw = tracekit.open(session("handover-7.2-tsc")).timeline["ts_raw"].to_pylist()
    assert {111_999_819_196, 125_619_149_786} <= set(raw)


def test_the_report_adds_up(recording: Recording) -> None:
    report = json.loads(json.dumps(recording.report().as_dict()))
    for boot in report["boots"]:
        assert boot["events"] == sum(c["events"] for c in boot["cpus"])
        assert boot["lost"] == sum(c["lost"] for c in boot["cpus"])
        assert {"index", "release", "clock", "clock_error_ns", "unreadable"} <= boot.keys()
        for cpu in boot["cpus"]:
            assert {"cpu", "events", "lost", "first_ns", "last_ns"} <= cpu.keys()
    assert sum(b["events"] for b in report["boots"]) == len(recording)
    phases = report["phases"]
    assert all({"name", "boot", "start_ns", "duration_ns", "observed"} <= p.keys() for p in phases)
    along = [p for p in phases if p["observed"] and p["in_blackout"]]
    for before, after in pairwise(along):
        assert before["start_ns"] + before["duration_ns"] == after["start_ns"]
    total = sum(p["duration_ns"] for p in along)
    assert total == pytest.approx(report["blackout_ns"], abs=10)
    names = [p["name"] for p in phases]
    assert names[:10] == [
        "kexec load", "reboot call", "kernel_kexec", "liveupdate", "notifiers", "device shutdown",
        "migrate", "syscore shutdown", "CPUs stopped", "machine_kexec",
    ]  # fmt: skip
    assert "initcalls: late" in names
    assert names[-1] == "first user process"


def test_the_last_events_of_every_cpu_are_those_before_the_jump(recording: Recording) -> None:
    last = recording.report().last_events
    for cpu in (0, 1):
        mine = [e.ts_ns for e in last if e.cpu == cpu]
        assert len(mine) == 10
        assert mine == sorted(mine)
        assert mine[-1] <= 0
    assert max(last, key=lambda e: e.ts_ns).event == "handover:machine_kexec"
