"""Devices' shutdowns: the slowest, nested ones, and those that never returned."""

from __future__ import annotations

from pathlib import Path

import pytest

import tracekit
from tests.support.bpf_records import BootFiles, common, format_text, mark, region, write_session
from tests.support.sessions.live import (
    KALLSYMS,
    MS,
    PCI,
    PLATFORM,
    START,
    US,
    a_device,
    report_of,
    way_out,
)
from tracekit.cli import main
from tracekit.report import devices


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


def test_a_begin_that_was_written_late_is_put_where_the_probe_measured_it(tmp_path: Path) -> None:
    """An interrupt between the probe's clock and its event, as a busy guest had it."""
    (_, begin), end = a_device(0, START, 5 * MS, "dev", PCI)
    late = [(START + 4 * MS, begin), end]
    following = a_device(2, START + 6 * MS, MS, "next", PCI)
    report = report_of(tmp_path, [*late, *following, (START + 9 * MS, mark("end"))])
    found = {d.name: (d.start_ns, d.duration_ns) for d in report.devices}
    assert found == {"dev": (-9 * MS, 5 * MS), "next": (-3 * MS, MS)}


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
