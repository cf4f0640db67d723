"""What live recordings add to the report: the probes' phases, devices, systemd, what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

import tracekit
from tests.support.bpf_records import (
    FORMATS,
    BootFiles,
    common,
    executed,
    format_text,
    kind_of,
    mark,
    packed,
    printed,
    record,
    region,
    write_session,
)
from tests.support.ring.region_writer import TEXT_ADDR
from tracekit.cli import main
from tracekit.probes.records import KINDS
from tracekit.report import devices
from tracekit.report.make import Report

US = 1000
MS = 1000 * US
KALLSYMS = (
    f"{TEXT_ADDR:x} T _text\n{TEXT_ADDR:x} T _stext\n{TEXT_ADDR + 0x1000:x} t pci_device_shutdown\n"
    f"{TEXT_ADDR + 0x2000:x} t platform_shutdown\n{TEXT_ADDR + 0x3000:x} T _etext\n"
)
PCI, PLATFORM = TEXT_ADDR + 0x1000, TEXT_ADDR + 0x2000

#: (event, ms after the reboot call, at its return) on the way out
WAY_OUT = (
    ("kexec:reboot", 0, False),
    ("kexec:kernel_kexec", 1, False),
    ("kexec:liveupdate_reboot", 2, False),
    ("kexec:liveupdate_reboot", 4, True),
    ("kexec:kernel_restart_prepare", 5, False),
    ("kexec:device_shutdown", 8, False),
    ("kexec:device_shutdown", 80, True),
    ("kexec:migrate_to_reboot_cpu", 82, False),
    ("kexec:syscore_shutdown", 90, False),
    ("kexec:machine_shutdown", 95, False),
    ("kexec:machine_kexec", 99, False),
)
START = 50 * MS


def way_out() -> list[tuple[int, bytes]]:
    """The printed records of the way out, from START on."""
    events = []
    for n, (event, ms, returned) in enumerate(WAY_OUT):
        one = record(
            event, n, START + ms * MS, returned=returned, duration=MS if returned else 0,
            values=[0x45584543] if event == "kexec:reboot" else [],
        )  # fmt: skip
        events.append((one.ns, printed(one)))
    return events


def a_device(
    number: int, at: int, took: int, name: str, function: int, master: int = -1,
    driver: str = "drv", pid: int = 7,
) -> list[tuple[int, bytes]]:  # fmt: skip
    """Begin and end of a device's shutdown; it never ends when it takes less than nothing."""
    kind = KINDS[kind_of("device:shutdown")]
    of = {"function": function, "bus_master": master}
    begin = record(
        "device:shutdown", 100 + number, at, values=[of[v.label] for v in kind.values],
        name=name, driver=driver, pid=pid,
    )  # fmt: skip
    end = record(
        "device:shutdown", 101 + number, at + took, returned=True, duration=took,
        values=[of[v.label] for v in kind.returned], name=name, driver=driver, pid=pid,
    )  # fmt: skip
    return [(one.ns, printed(one)) for one in ([begin] if took < 0 else [begin, end])]


def report_of(where: Path, events: Sequence[tuple[int, bytes]], **more: object) -> Report:
    json = {name.replace("_", "."): document for name, document in more.items()}
    boot = BootFiles(region(events), files={"kallsyms": KALLSYMS}, json=json)
    return tracekit.open(write_session(where / "s", [boot, BootFiles(clock="x86-tsc")])).report()


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


def test_devices_slowest_first_and_those_that_never_returned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [
        *way_out(),
        *a_device(0, START + 10 * MS, 2 * MS, "0000:00:02.0", PCI, master=1, driver="virtio-pci"),
        *a_device(2, START + 20 * MS, 9 * MS, "0000:00:03.0", PCI, master=0, driver="e1000e"),
        *a_device(4, START + 30 * MS, 100 * US, "serial8250", PLATFORM),
        *a_device(6, START + 40 * MS, -1, "0000:00:04.0", PCI, driver="nvme"),
    ]
    report = report_of(tmp_path, events)
    assert [(d.name, d.function, d.bus_master, d.finished) for d in report.devices] == [
        ("0000:00:04.0", "pci_device_shutdown", None, False),
        ("0000:00:03.0", "pci_device_shutdown", False, True),
        ("0000:00:02.0", "pci_device_shutdown", True, True),
        ("serial8250", "platform_shutdown", None, True),
    ]
    assert [d.duration_ns for d in report.devices] == [None, 9 * MS, 2 * MS, 100 * US]
    jump = START + 99 * MS
    assert report.devices[1].start_ns == START + 20 * MS - jump
    assert main(["report", str(tmp_path / "s")]) == 0
    out = capsys.readouterr().out
    assert "could still do DMA after their shutdown: 0000:00:02.0 (virtio-pci)" in out
    lines = out.splitlines()
    begin = next(i for i, line in enumerate(lines) if line == "Slowest device shutdowns")
    assert "0000:00:04.0" in lines[begin + 2]
    assert "never returned" in lines[begin + 2]


def test_recorded_names_are_no_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report_of(tmp_path, [*way_out(), *a_device(0, START + 9 * MS, MS, "[/x]:bug:\x1b[1m", PCI)])
    assert main(["report", str(tmp_path / "s")]) == 0
    assert "[/x]:bug:\\x1b[1m" in capsys.readouterr().out


def test_many_calls_that_never_end_take_no_quadratic_time(tmp_path: Path) -> None:
    """Each return looks at so many open calls, not at all of them."""
    looked = 0

    class Counting(str):
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal looked
            looked += 1
            return str.__eq__(self, other)

    def end(at: int, returned: bool) -> devices.CallEnd:
        name = Counting("end" if returned else "begin")
        device = devices.Device(name, "", "f", 0, at, None, None, returned)
        return devices.CallEnd(at, 1, device, returned)

    count = 2000
    ends = [end(n, n >= count) for n in range(2 * count)]
    assert len(devices.device_shutdowns(ends, timed=True)) == 2 * count
    assert looked <= 2 * count * 300


def test_nested_calls_of_a_device_are_told_apart(tmp_path: Path) -> None:
    """A bus calls into another with the same device; and another task does so at the same time."""
    outer = a_device(0, START, 10 * MS, "dev", PLATFORM)
    inner = a_device(2, START + MS, 2 * MS, "dev", PCI, master=0)
    other = a_device(4, START + 2 * MS, 5 * MS, "dev", PCI, pid=9)
    report = report_of(tmp_path, [*outer, *inner, *other, (START + 20 * MS, mark("end"))])
    assert sorted((d.function, d.duration_ns) for d in report.devices) == [
        ("pci_device_shutdown", 2 * MS), ("pci_device_shutdown", 5 * MS),
        ("platform_shutdown", 10 * MS),
    ]  # fmt: skip
    assert all(d.finished for d in report.devices)


def test_a_return_whose_begin_is_lost_still_counts(tmp_path: Path) -> None:
    _, end = a_device(0, START, 3 * MS, "dev", PCI)
    (device,) = report_of(tmp_path, [end]).devices
    assert (device.duration_ns, device.start_ns, device.finished) == (3 * MS, -3 * MS, True)


def kprobe_files() -> dict[str, str | bytes]:
    fields = [
        "unsigned long __probe_ip;\toffset:8;\tsize:8;\tsigned:0;",
        "__data_loc char[] device;\toffset:16;\tsize:4;\tsigned:1;",
        "__data_loc char[] driver;\toffset:20;\tsize:4;\tsigned:1;",
    ]
    name = "shutdown_pci_device_shutdown"
    returned = [
        "unsigned long __probe_func;\toffset:8;\tsize:8;\tsigned:0;",
        "unsigned long __probe_ret_ip;\toffset:16;\tsize:8;\tsigned:0;",
    ]
    return {
        "kallsyms": KALLSYMS,
        "tracefs/kprobe_events": f"p:tracekit/{name} pci_device_shutdown device=+0(+80($arg1))"
        f":string driver=+0(+0(+104($arg1))):string\nr0:tracekit/{name}_return"
        " pci_device_shutdown\np:tracekit/machine_kexec machine_kexec\n",
        f"tracefs/events/tracekit/{name}/format": format_text(name, 900, fields, '"x"'),
        f"tracefs/events/tracekit/{name}_return/format": format_text(
            f"{name}_return", 901, returned, '"x"'
        ),
        "tracefs/events/tracekit/machine_kexec/format": format_text(
            "machine_kexec", 902, fields[:1], '"x"'
        ),
    }


def test_kprobe_events_tell_of_devices_and_phases_too(tmp_path: Path) -> None:
    names = b"0000:00:02.0\0e1000\0"
    begin = common(900) + PCI.to_bytes(8, "little")
    begin += (13 << 16 | 24).to_bytes(4, "little") + (6 << 16 | 37).to_bytes(4, "little") + names
    end = common(901) + bytes(16)
    events = [(START, begin), (START + 4 * MS, end), (START + 5 * MS, begin)]
    events += [(START + 9 * MS, common(902) + bytes(8))]
    boot = BootFiles(region(events), files=kprobe_files())
    report = tracekit.open(write_session(tmp_path / "s", [boot, BootFiles()])).report()
    stuck, device = report.devices
    assert (device.name, device.driver, device.function) == (
        "0000:00:02.0", "e1000", "pci_device_shutdown",
    )  # fmt: skip
    assert (device.duration_ns, device.start_ns, device.bus_master) == (4 * MS, -9 * MS, None)
    assert not stuck.finished
    assert [p.name for p in report.phases if p.observed] == ["machine_kexec"]


def test_missing_probes_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    probes = {
        "version": 1, "mode": "kprobes", "reason": "--no-bpf", "lost": 0,
        "probes": [{"event": "kexec:reboot", "function": "__x64_sys_reboot"}],
        "missing": [{"event": "ring_buffer:counters", "functions": [], "reason": "BPF only"}],
    }  # fmt: skip
    report = report_of(tmp_path, way_out(), bpf_json=probes)
    (said,) = report.probes
    assert (said.mode, said.loaded, said.missing[0].event) == ("kprobes", 1, "ring_buffer:counters")
    assert main(["report", str(tmp_path / "s")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "kprobe events instead of BPF (--no-bpf), 1 attached; not recorded: ring_buf" in out


@pytest.mark.parametrize(
    "document", [[], {"probes": 7, "missing": [1, {"event": []}], "lost": "x"}, {"mode": None}]
)
def test_absurd_descriptions_of_probes(document: object, tmp_path: Path) -> None:
    assert report_of(tmp_path, way_out(), bpf_json=document).boots[0].events == len(WAY_OUT)


@pytest.mark.parametrize("text", ["[/x]", "\x1b[2J\a", "\ud800"])
def test_texts_of_descriptions_cannot_steer_or_stop_the_terminal(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = [{"event": text, "functions": [text], "reason": text}]
    report_of(tmp_path, way_out(), bpf_json={"mode": text, "reason": text, "missing": missing})
    assert main(["report", str(tmp_path / "s")]) == 0
    assert not set(capsys.readouterr().out) & {"\x1b", "\a", "\ud800"}
    assert main(["report", str(tmp_path / "s"), "--json"]) == 0


def test_a_full_bpf_ring_is_remarked_on(tmp_path: Path) -> None:
    report = report_of(tmp_path, way_out(), bpf_json={"mode": "bpf", "lost": 12})
    (note,) = [d for d in report.diagnostics if d.code == "bpf-ring-full"]
    assert note.message.startswith("12 records")
    assert not report.complete


def systemd_boots(
    shutdown: bool = True, marked: bool = True, exec_: bool = True
) -> list[BootFiles]:
    """Two boots on CLOCK_MONOTONIC, with systemd in both."""
    old = way_out()
    if exec_:
        old.append((20 * MS, executed("/usr/bin/systemctl", 300)))
    if marked:
        old.append((21 * MS, mark("tracekit: handover")))
    old.append((45 * MS, executed("/usr/lib/systemd/systemd-shutdown", 1)))
    manager = {"ShutdownStartTimestampMonotonic": 22_000} if shutdown else {}
    units = [
        {"id": "slow.service", "inactive_exit": 30_000, "active_enter": 70_000},
        {"id": "quick.service", "inactive_exit": 30_000, "active_enter": 31_000},
        {"id": "never.service", "inactive_exit": 30_000},
        {"id": "odd.service", "inactive_exit": 9, "active_enter": 3},
        7,
    ]
    new = [(10 * MS, executed("/sbin/init", 1)), (95 * MS, executed("/bin/sh", 400))]
    started = {"manager": {"FinishTimestampMonotonic": 90_000}, "units": units}
    return [
        BootFiles(region(old, clock_id=5), json={"systemd.json": {"manager": manager}}),
        BootFiles(region(new, clock_id=5), json={"systemd.json": started}),
    ]


@pytest.mark.parametrize(
    ("evidence", "begin"),
    [((True, True, True), 22 * MS), ((False, True, True), 21 * MS), ((False, False, True), 20 * MS),
     ((False, False, False), None)],
)  # fmt: skip
def test_systemds_part_of_the_shutdown(
    evidence: tuple[bool, bool, bool], begin: int | None, tmp_path: Path
) -> None:
    report = tracekit.open(write_session(tmp_path / "s", systemd_boots(*evidence))).report()
    named = {p.name: p for p in report.phases}
    stopping, final = named["systemd: stopping units"], named["systemd-shutdown"]
    assert (stopping.observed, final.duration_ns) == (begin is not None, START - 45 * MS)
    if begin is not None:
        assert stopping.duration_ns == 45 * MS - begin
        assert stopping.start_ns + stopping.duration_ns == final.start_ns
    reboot = named["reboot call"]
    assert final.start_ns + final.duration_ns == reboot.start_ns
    assert not stopping.in_blackout and not final.in_blackout and reboot.in_blackout


def test_systemds_part_of_the_boot_and_its_slowest_units(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_session(tmp_path / "s", systemd_boots())
    report = tracekit.open(path).report()
    assert [(u.name, u.duration_ns) for u in report.units] == [
        ("slow.service", 40 * MS), ("quick.service", MS),
    ]  # fmt: skip
    starting = next(p for p in report.phases if p.name == "systemd: starting units")
    # no clock relates the two boots, so only durations within one are known
    assert (starting.boot, starting.duration_ns) == (1, 80 * MS)
    assert main(["report", str(path)]) == 0
    out = capsys.readouterr().out
    assert "Slowest systemd units" in out
    assert "slow.service" in out


@pytest.mark.parametrize("name", ["ts_ns", "pid", "common_ts_ns"])
def test_arguments_may_be_called_as_columns_are(name: str, tmp_path: Path) -> None:
    boots = systemd_boots(shutdown=False, marked=False)
    rel = "events/sched/sched_process_exec/format"
    text = FORMATS[f"sys/kernel/tracing/{rel}"].replace("pid_t pid;", f"__data_loc char[] {name};")
    boots[0].files[f"tracefs/{rel}"] = text
    report = tracekit.open(write_session(tmp_path / "s", boots)).report()
    phase = next(p for p in report.phases if p.name == "systemd: stopping units")
    assert phase.duration_ns == 25 * MS


def test_an_argument_whose_type_the_next_kernel_changed_is_text(tmp_path: Path) -> None:
    boots = systemd_boots(shutdown=False, marked=False)
    rel = "events/sched/sched_process_exec/format"
    text = FORMATS[f"sys/kernel/tracing/{rel}"]
    boots[1].files[f"tracefs/{rel}"] = text.replace("pid_t old_pid;", "__data_loc char[] old_pid;")
    table = tracekit.open(write_session(tmp_path / "s", boots)).event("sched:sched_process_exec")
    assert table["boot"].to_pylist() == [0, 0, 1, 1]
    assert table["old_pid"].to_pylist()[:2] == ["300", "1"]
    assert table["pid"].to_pylist() == [300, 1, 1, 400]


def test_without_systemd_there_are_no_phases_of_it(tmp_path: Path) -> None:
    report = report_of(tmp_path, way_out(), systemd_json={"manager": 7, "units": {"a": 1}})
    assert not [p for p in report.phases if "systemd" in p.name]
    assert report.units == ()


def test_units_without_a_related_clock_have_no_start(tmp_path: Path) -> None:
    units = [{"id": "a.service", "inactive_exit": 1, "active_enter": 2}]
    (unit,) = report_of(tmp_path, [(START, mark("x"))], systemd_json={"units": units}).units
    assert (unit.start_ns, unit.duration_ns) == (None, 1000)


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
