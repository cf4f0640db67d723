"""The ways down: stock kernels' real records of a kexec and a panic, and records made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import tracekit
from tests.support.bpf_records import (
    BootFiles,
    mark,
    printed,
    record,
    region,
    write_session,
)
from tests.support.sessions.live import MS, START, report_of, way_out
from tests.support.sessions.ways import CONSOLE, console, console_format, next_boot, way
from tracekit.cli import main
from tracekit.report.make import Report
from tracekit.report.ways import NOT_SEEN, way_down
from tracekit.timeline.started_by import StartedBy

CARVE_OUT, PANIC = "stock-6.12-carveout-tsc", "stock-6.12-panic-tsc"


def observed(report: Report) -> list[str]:
    return [p.name for p in report.phases if p.boot == 0 and p.observed]


def unobserved(report: Report) -> list[str]:
    return [p.name for p in report.phases if p.boot == 0 and not p.observed]


# -- the captures -----------------------------------------------------------------------------


def test_a_kexec_between_two_halves_of_a_carve_out(session: Callable[[str], Path]) -> None:
    recording = tracekit.open(session(CARVE_OUT))
    report = recording.report()
    assert [c.events for c in report.boots[0].cpus] == [57_639, 33_415]
    assert [b.clock for b in report.boots] == ["x86-tsc", "x86-tsc"]
    old = recording.rows.of_boot(0)
    assert int(recording.rows.ts_raw[old][-1]) == 104_410_883_408
    (jump,) = report.handovers
    assert (jump.way.name, jump.way.left, jump.way.started_by) == ("kexec", True, "kexec")
    assert jump.gap_raw == 9_433_763_274 and jump.unfinished == ()
    assert jump.gap_error_ns is not None and jump.gap_error_ns < 10_000
    load = next(p for p in report.phases if p.name == "kexec load")
    assert load.duration_ns == pytest.approx(2_354 * MS, abs=MS)
    assert unobserved(report) == ["liveupdate"]
    assert report.verdict == "no loss seen"


def test_a_panic_into_a_crash_kernel(session: Callable[[str], Path]) -> None:
    recording = tracekit.open(session(PANIC))
    report = recording.report()
    assert [c.events for c in report.boots[0].cpus] == [81_134, 27_460]
    assert int(recording.rows.ts_raw[-1]) == 230_026_795_440
    assert report.boots[0].clock == "x86-tsc" and report.verdict == "complete"
    (jump,) = report.handovers
    assert (jump.way.name, jump.way.left, jump.way.reason) == (
        "panic", True, "sysrq triggered crash",
    )  # fmt: skip
    assert (jump.way.started_by, jump.way.begin) == ("crash kernel", "panic")
    assert observed(report) == [
        "kexec load", "panic", "crash kexec", "crash shutdown", "machine_kexec",
    ]  # fmt: skip
    assert not unobserved(report)
    idle, died = jump.unfinished
    assert (idle.cpu, idle.pid, idle.open) == (0, 0, ())
    assert (died.cpu, died.comm, died.last_ns) == (1, "python3", 0)
    assert [(u.what, u.event) for u in died.open] == [
        ("last step of the way down", "ftrace:function")
    ]


def test_the_reports_say_so(
    session: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(session(PANIC))]) == 0
    text = capsys.readouterr().out
    assert "way down  panic: sysrq triggered crash; recorded up to machine_kexec" in text
    head, _, rest = text.partition("What each CPU had begun and not ended\n")
    assert rest.startswith("CPU 0  idle") and "Where the time went" not in head
    assert main(["report", "--json", str(session(PANIC))]) == 0
    (jump,) = json.loads(capsys.readouterr().out)["handovers"]
    assert jump["way"]["name"] == "panic" and len(jump["unfinished"]) == 2


# -- by hand ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "name", "phases"),
    [
        (
            ["reboot 1234567", "kernel_restart", "device_shutdown", "machine_restart",
             "machine_shutdown", "machine_emergency_restart"],
            "reboot",
            ["reboot call", "notifiers", "device shutdown", "machine_restart", "CPUs stopped",
             "reset"],
        ),
        (
            ["reboot 4321fedc", "kernel_power_off", "device_shutdown", "machine_power_off"],
            "power off",
            ["reboot call", "notifiers", "device shutdown", "machine_power_off"],
        ),
        (["reboot cdef0123", "kernel_halt", "machine_halt"], "halt",
         ["reboot call", "notifiers", "machine_halt"]),
        (["emergency_restart", "machine_emergency_restart"], "emergency restart",
         ["emergency restart", "reset"]),
        (["panic", "crash_kexec", "emergency_restart", "machine_emergency_restart"], "panic",
         ["panic", "crash kexec", "emergency restart", "reset"]),
        (["kernel_kexec", "panic", "crash_kexec", "machine_crash_shutdown", "machine_kexec"],
         "panic", ["panic", "crash kexec", "crash shutdown", "machine_kexec"]),
    ],
)  # fmt: skip
def test_each_way_has_its_name_and_its_phases(
    tmp_path: Path, steps: Sequence[str], name: str, phases: Sequence[str]
) -> None:
    report = report_of(tmp_path, way(steps))
    (jump,) = report.handovers
    assert (jump.way.name, jump.way.left, jump.jump_seen) == (name, True, True)
    assert observed(report) == phases
    others = {"migrate", "syscore shutdown", "device shutdown", "CPUs stopped"}
    assert set(unobserved(report)) <= (others if name in ("reboot", "power off", "halt") else set())
    assert bool(jump.unfinished) == (name == "panic")


def test_a_way_that_was_begun(tmp_path: Path) -> None:
    report = report_of(tmp_path, way(["reboot 1234567", "kernel_restart", "device_shutdown"]))
    (jump,) = report.handovers
    assert (jump.way.name, jump.way.left, jump.way.last) == ("reboot", False, "device_shutdown")
    assert jump.zero == "the old kernel's last recorded event"
    (cpu,) = jump.unfinished
    assert [u.event for u in cpu.open] == ["kexec:reboot", "kexec:device_shutdown"]
    assert "not seen to its end: the last step recorded is device_shutdown" in jump.way.text


def test_a_call_that_came_back_is_no_way_down(tmp_path: Path) -> None:
    events = way(["reboot 45584543", "kernel_kexec"])
    back = record("kexec:reboot", 90, START + 50 * MS, returned=True, duration=9 * MS)
    report = report_of(tmp_path, [*events, (back.ns, printed(back))])
    (jump,) = report.handovers
    assert jump.way.name == "not seen"
    assert "never seen to go down" in jump.way.text
    assert not observed(report) and not unobserved(report)


def test_a_power_cut(tmp_path: Path) -> None:
    boots = [BootFiles(region([(START, mark("still up"))])), next_boot(loader=0x72)]
    (jump,) = tracekit.open(write_session(tmp_path / "s", boots)).report().handovers
    assert (jump.way.name, jump.way.started_by) == ("not seen", "boot loader")
    assert "never seen to go down" in jump.way.text and "power loss" in jump.way.text
    assert "GRUB" in jump.way.text
    (cpu,) = jump.unfinished
    assert (cpu.pid, cpu.open) == (1, ())


@pytest.mark.parametrize(
    ("more", "name"),
    [({"loader": 0xD0}, "kexec"), ({"cmdline": "elfcorehdr=0x6000 ro"}, "panic"), ({}, "not seen")],
)
def test_how_the_next_kernel_came_up_tells(
    tmp_path: Path, more: dict[str, object], name: str
) -> None:
    boots = [BootFiles(region([(START, mark("still up"))])), next_boot(**more)]
    (jump,) = tracekit.open(write_session(tmp_path / "s", boots)).report().handovers
    assert (jump.way.name, jump.way.left) == (name, False)


def test_a_kernel_in_between_that_left_nothing(tmp_path: Path) -> None:
    boots = [BootFiles(region(way_out())), next_boot(loader=0x72)]
    (jump,) = tracekit.open(write_session(tmp_path / "s", boots)).report().handovers
    assert jump.way.name == "kexec" and jump.way.left
    assert "the one that kexec started left no record" in jump.way.text


def test_the_reason_of_a_panic(tmp_path: Path) -> None:
    """By the printk event; without one, by the log that was saved."""
    files: dict[str, str | bytes] = {CONSOLE: console_format()}
    events = [(START, console("Kernel panic - not syncing: Fatal exception in interrupt"))]
    old = BootFiles(region(events), files=files)
    boots = [old, next_boot(loader=0x72)]
    (jump,) = tracekit.open(write_session(tmp_path / "a", boots)).report().handovers
    assert (jump.way.name, jump.way.reason) == ("panic", "Fatal exception in interrupt")
    log = "[    9.1] x\n[   10.0] Kernel panic - not syncing: VFS: Unable to mount root fs\n"
    old = BootFiles(region(way(["panic"])), files={"dmesg": log})
    (jump,) = tracekit.open(write_session(tmp_path / "b", [old, next_boot()])).report().handovers
    assert jump.way.reason == "VFS: Unable to mount root fs"


def test_the_last_alarm_of_a_kernel_that_hung(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {CONSOLE: console_format()}
    lines = ["watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [x:1]", "Modules linked in:"]
    events = [(START + n * MS, console(line)) for n, line in enumerate(lines)]
    log = "[    0.1] x86/amd: Previous system reset reason [0x00080800]: software wrote 0x6\n"
    after = next_boot(loader=0x21)
    after.files["dmesg"] = log
    boots = [BootFiles(region(events), files=files), after]
    (jump,) = tracekit.open(write_session(tmp_path / "s", boots)).report().handovers
    assert jump.way.name == "not seen"
    assert f"it had printed '{lines[0]}'" in jump.way.text
    assert "Previous system reset reason [0x00080800]" in jump.way.text


def test_nothing_tells() -> None:
    down = way_down({}, StartedBy())
    assert (down.way, down.left, down.last) == (NOT_SEEN, False, "")
