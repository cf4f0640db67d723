"""Sessions of live recordings, as the probes and systemd leave them, and the reports on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tracekit
from tests.support.bpf_records import (
    BootFiles,
    executed,
    kind_of,
    mark,
    printed,
    record,
    region,
    write_session,
)
from tests.support.ring.region_writer import TEXT_ADDR
from tracekit.probes.records import KINDS
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


def systemd_boots(
    shutdown: bool = True,
    marked: bool = True,
    exec_: bool = True,
    extra: Sequence[tuple[int, bytes]] = (),
) -> list[BootFiles]:
    """Two boots on CLOCK_MONOTONIC, with systemd in both."""
    old = [*way_out(), *extra]
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
