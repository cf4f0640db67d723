"""7.2 to 7.3 on the TSC, with BPF probes: what the session of a real handover holds."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

import tracekit
from tests.support.guest import NEW, OLD, guest_run, handover, record
from tracekit.lab.machine import Plan, Result
from tracekit.recording import Recording
from tracekit.report.make import Report
from tracekit.timeline.filter import Filter

pytestmark = pytest.mark.lab

BOOT0 = f"""
{record()}
marks before $TK/trace_marker
echo SYNC-OLD > $TK/trace_marker; echo SYNC-OLD
{handover(NEW)}
"""
BOOT1 = """
marks after /sys/kernel/tracing/trace_marker
echo SYNC-NEW > /sys/kernel/tracing/trace_marker; echo SYNC-NEW
tracekit recover
"""
#: Seconds by which the console may be behind: serial line, QEMU and the reading thread.
CONSOLE_SLACK = 1.0


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return guest_run(Plan(OLD, (BOOT0, BOOT1)), tmp_path_factory.mktemp("tsc"))


@pytest.fixture(scope="module")
def recording(result: Result) -> Recording:
    return tracekit.open(result.output / "session")


@pytest.fixture(scope="module")
def report(recording: Recording) -> Report:
    return recording.report()


def rows(recording: Recording, event: str, boot: int) -> list[tuple[int, str]]:
    """(ts_ns, args) of every such event."""
    wanted = Filter(events=(event,), boots=frozenset({boot}))
    table = recording.table(recording.select(wanted))
    return list(zip(table["ts_ns"].to_pylist(), table["args"].to_pylist(), strict=True))


def test_exactly_the_markers_that_were_written(recording: Recording) -> None:
    for boot, word in enumerate(("before", "after")):
        texts = [text for _, text in rows(recording, "ftrace:print", boot)]
        found = [m for m in (re.search(rf"\b{word} (\d+)", text) for text in texts) if m]
        assert [int(m[1]) for m in found] == list(range(1, 24))


def test_cpu_0_is_complete_to_machine_kexec(recording: Recording, report: Report) -> None:
    assert report.complete, report.diagnostics
    old = report.boots[0]
    assert (old.lost, old.lost_at_least, old.unreadable) == (0, False, 0)
    assert [cpu.cpu for cpu in old.cpus] == [0, 1]
    last = [e for e in report.last_events if e.cpu == 0][-1]
    assert (last.event, last.ts_ns) == ("kexec:machine_kexec", 0)
    table = recording.table(recording.select(Filter(events=("kexec:machine_kexec",))))
    assert table["source"].to_pylist() == ["bpf"]


def test_every_phase_of_the_way_out_is_observed(report: Report) -> None:
    unobserved = [p for p in report.phases if not p.observed]
    assert not unobserved
    names = [p.name for p in report.phases]
    for name in ("kexec load", "device shutdown", "CPUs stopped", "first user process"):
        assert name in names
    along = [p for p in report.phases if p.in_blackout]
    for before, after in pairwise(along):
        assert before.start_ns is not None and before.duration_ns is not None
        assert before.start_ns + before.duration_ns == after.start_ns
    total = sum(p.duration_ns or 0 for p in along)
    assert total == pytest.approx(report.handovers[0].blackout_ns, abs=1)  # rounded apart


def test_devices_and_their_shutdown_times(report: Report) -> None:
    phase = next(p for p in report.phases if p.name == "device shutdown")
    devices = {(d.name, d.driver): d for d in report.devices}
    pci = [d for (_, driver), d in devices.items() if driver == "virtio-pci"]
    assert len(pci) == 4  # three disks and a random number generator
    assert all(d.finished and d.bus_master is False for d in pci)
    assert len([1 for _, driver in devices if driver == "virtio_blk"]) == 3
    assert phase.start_ns is not None and phase.duration_ns is not None
    for device in devices.values():
        assert device.finished and device.duration_ns is not None
        assert phase.start_ns <= device.start_ns
        assert device.start_ns + device.duration_ns <= phase.start_ns + phase.duration_ns


def test_the_times_are_those_the_host_saw(
    result: Result, recording: Recording, report: Report
) -> None:
    def seen(text: str) -> float:
        return next(line.ns for line in result.console if line.text.strip() == text) / 1e9

    def recorded(event: str, boot: int, text: str) -> float:
        return next(ts for ts, args in rows(recording, event, boot) if text in args) / 1e9

    on_host = seen("SYNC-NEW") - seen("SYNC-OLD")
    in_record = recorded("ftrace:print", 1, "SYNC-NEW") - recorded("ftrace:print", 0, "SYNC-OLD")
    assert in_record == pytest.approx(on_host, abs=CONSOLE_SLACK)
    jump = report.handovers[0]
    assert jump.gap_ns and jump.blackout_ns and jump.gap_error_ns is not None
    assert jump.gap_error_ns < 1_000_000
    began = next(line.ns for line in result.console if line.text.startswith("jumping")) / 1e9
    in_user_space = next(line.ns for line in result.console if line.text == "@lab begin 1") / 1e9
    assert jump.gap_ns < jump.blackout_ns < (in_user_space - began + CONSOLE_SLACK) * 1e9


def test_the_probes_say_what_they_are(report: Report, recording: Recording) -> None:
    probes = recording.session.json("boots/0/bpf.json")
    assert probes["mode"] == "bpf" and probes["lost"] == 0
    attached = {p["event"] for p in probes["probes"]}
    assert {"kexec:machine_kexec", "kexec:load", "device:shutdown"} <= attached
    assert all(m["reason"] for m in probes["missing"])
    load = recording.event("kexec:load_return")
    assert load["ret"].to_pylist() == [0]
    assert load["duration_ns"].to_pylist()[0] > 0
