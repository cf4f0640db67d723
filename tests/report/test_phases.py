"""The phases that the probes mark."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import tracekit
from tests.support.bpf_records import (
    BootFiles,
    mark,
    packed,
    printed,
    record,
    region,
    write_session,
)
from tests.support.sessions.live import MS, START, US, report_of, way_out


def test_the_probes_mark_the_phases_and_they_add_up(tmp_path: Path) -> None:
    report = report_of(tmp_path, way_out())
    phases = [p for p in report.phases if p.observed]
    assert [(p.name, p.duration_ns) for p in phases] == [
        ("reboot call", MS), ("kernel_kexec", MS), ("liveupdate", 3 * MS), ("notifiers", 3 * MS),
        ("device shutdown", 74 * MS), ("migrate", 8 * MS), ("syscore shutdown", 5 * MS),
        ("CPUs stopped", 4 * MS), ("machine_kexec", 0),
    ]  # fmt: skip
    for before, after in pairwise(phases):
        assert before.start_ns + before.duration_ns == after.start_ns


def test_only_the_reboot_call_for_kexec_begins_the_blackout(tmp_path: Path) -> None:
    """As systemd-shutdown turns Ctrl-Alt-Del off by another one."""
    other = record("kexec:reboot", 50, START - 9 * MS, values=[0], pid=1)
    later = record("kexec:reboot", 51, START + 300 * US, values=[0x89ABCDEF], pid=1)
    events = [*way_out(), *((one.ns, printed(one)) for one in (other, later))]
    (phase,) = [p for p in report_of(tmp_path, events).phases if p.name == "reboot call"]
    assert (phase.start_ns, phase.duration_ns) == (-99 * MS, MS)
    assert not [
        p
        for p in report_of(tmp_path / "b", [(other.ns, printed(other))]).phases
        if p.name == "reboot call" and p.observed
    ]


def test_without_the_inner_probes_the_notifiers_begin_with_kernel_kexec(tmp_path: Path) -> None:
    inner = (b"tk1 a ", b"tk1 800a ", b"tk1 b ")
    events = [(ts, raw) for ts, raw in way_out() if not any(text in raw for text in inner)]
    names = {p.name: p.duration_ns for p in report_of(tmp_path, events).phases}
    assert names["notifiers"] == 7 * MS
    assert "kernel_kexec" not in names


def test_records_only_in_the_file_mark_phases_as_well(tmp_path: Path) -> None:
    """All on CLOCK_MONOTONIC: nothing has to be related."""
    one = record("kexec:reboot", 0, START, values=[0x45584543])
    boot = BootFiles(
        region([(START + 9 * MS, mark("end"))], clock_id=5), files={"bpf.bin": packed(one)}
    )
    report = tracekit.open(write_session(tmp_path / "s", [boot, BootFiles()])).report()
    (phase,) = [p for p in report.phases if p.observed]
    assert (phase.name, phase.start_ns, phase.duration_ns) == ("reboot call", -9 * MS, 9 * MS)
    assert [e.ts_ns for e in report.last_events] == [-9 * MS, 0]
