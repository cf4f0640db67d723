"""Which PCI devices could still do DMA when the old kernel left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.kho.kernel_writer import KhoKernel, pci_device
from tests.support.machine_trees import old_machine
from tracekit.capture.kho.evidence import Evidence
from tracekit.capture.kho.saved import from_session
from tracekit.capture.save.snapshot import snapshot
from tracekit.report.devices import CallEnd, Device
from tracekit.report.jump.left_running import LeftDevice, left_running
from tracekit.session import Session
from tracekit.sysroot import Sysroot

FIRST, SECOND = "0000:00:01.0", "0000:00:02.0"


def machine(
    path: Path, *devices: tuple[str, str, str, str, bool], groups: Mapping[int, int] | None = None
) -> Evidence:
    kernel = KhoKernel(outgoing={}, groups=groups or {})
    vfio = kernel.memory.alloc(b"\0\0\0\0\x10\0\0\0")  # 0000:00:02.0
    kernel.outgoing = {"vm": [("vfio-pci-v1", vfio, 1)]}
    root = replace(old_machine(), files=kernel.files()).write(path / "root")
    for address, driver, group, domain, master in devices:
        pci_device(root, address, driver, group, domain, master=master)
    snapshot(Sysroot(root), path / "S")
    session = Session.open(path / "S")
    return from_session(session, 0, session.kernel(0))


def end(name: str, at: int, returned: bool, master: bool | None) -> CallEnd:
    device = Device(name, "drv", "pci_device_shutdown", 0, at, None, None, returned)
    return CallEnd(at, 1, device, returned, master)


def of(found: list[LeftDevice]) -> dict[str, LeftDevice]:
    return {device.address: device for device in found}


def test_what_the_probes_saw(tmp_path: Path) -> None:
    old = machine(tmp_path, (FIRST, "virtio-pci", "1", "DMA", True),
                  (SECOND, "vfio-pci", "2", "identity", True), groups={1: 3, 2: 4})  # fmt: skip
    ends = [end(FIRST, 1, False, True), end(FIRST, 2, True, False),
            end(SECOND, 3, False, True), end(SECOND, 4, True, True),
            end("serio0", 5, True, None)]  # fmt: skip
    found = of(left_running(0, ends, old, None))
    assert set(found) == {FIRST, SECOND}
    first, second = found[FIRST], found[SECOND]
    assert (first.before, first.after, first.running) == (True, False, False)
    assert (second.before, second.after, second.running) == (True, True, True)
    assert (first.preserved, second.preserved) == (False, True)
    assert second.reach.startswith("anywhere") and "old kernel's page tables" in first.reach
    assert (second.group, second.domain, second.reset) == ("2", "identity", ("flr", "bus"))


@pytest.mark.parametrize(
    ("driver", "master", "running"), [("", True, True), ("", False, False), ("ahci", True, None)]
)
def test_what_the_next_kernel_found(
    tmp_path: Path, driver: str, master: bool, running: bool | None
) -> None:
    """A driver there may have switched it on itself."""
    old = machine(tmp_path / "old", (FIRST, "", "", "", False))
    new = machine(tmp_path / "new", (FIRST, driver, "", "", master))
    (device,) = left_running(0, [], old, new)
    assert (device.before, device.after, device.running) == (False, None, running)
    assert "no IOMMU" in device.reach


@pytest.mark.parametrize(
    ("kind", "attached", "reach"),
    [(1, "unmanaged", "where its program mapped memory for it, while the IOMMU keeps those page"),
     (4, "identity", "anywhere"), (0, "blocked", "nowhere"), (0x80, "type 0x80", "through"),
     (None, "", "where it is not known")],
)  # fmt: skip
def test_the_domain_of_a_device_that_vfio_drives(
    tmp_path: Path, kind: int | None, attached: str, reach: str
) -> None:
    """sysfs tells of the default domain alone: the kernel's memory tells of the other."""
    groups = {7: 3} if kind is None else {7: 3, 2: kind}
    old = machine(tmp_path, (SECOND, "vfio-pci", "2", "identity", True), groups=groups)
    (device,) = left_running(0, [], old, None)
    assert (device.domain, device.attached) == ("identity", attached)
    assert device.reach.startswith(reach)


def test_the_probe_and_the_next_kernel_disagree(tmp_path: Path) -> None:
    """Switched off at its shutdown, and on again after it: it was running."""
    old = machine(tmp_path / "old", (FIRST, "", "", "", True))
    new = machine(tmp_path / "new", (FIRST, "", "", "", True))
    (device,) = left_running(0, [end(FIRST, 2, True, False)], old, new)
    assert device.running is True


def test_a_session_without_sysfs() -> None:
    nothing = Evidence("", "", "", False, {}, {}, {}, None, b"", "", "", None)
    (device,) = left_running(0, [end(FIRST, 2, True, True)], nothing, nothing)
    assert device.running is True and device.preserved is None and device.group is None
    assert left_running(0, [], nothing, None) == []
