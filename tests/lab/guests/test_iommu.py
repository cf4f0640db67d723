"""Devices behind an IOMMU at a kexec, on Debian's kernel: one that a program drives by VFIO."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tracekit
from tests.support.guest import (
    BASE_CMDLINE,
    STOCK,
    found_marks,
    guest_run,
    knows_the_way,
    marks_on_cpus,
    need_kernel,
    record,
)
from tests.support.guests import vfio_in_guest
from tracekit.lab.machine import Plan
from tracekit.lab.ways import carve_out, carved
from tracekit.report.jump.left_running import LeftDevice

pytestmark = pytest.mark.lab

#: Driven by VFIO until the jump; bound to VFIO and not opened; one of the guest's disks.
DRIVEN, BOUND, DISK = "0000:00:1e.0", "0000:00:1d.0", "0000:00:01.0"
IOMMU = f"{BASE_CMDLINE} intel_iommu=on iommu=pt"
CMDLINE = f"{IOMMU} {carved()} trace_instance=tk^traceoff@{carve_out():#x}:8M"
LEAVING = f"""
cat > /tmp/vfio_in_guest.py <<'EOF'
{Path(vfio_in_guest.__file__).read_text()}
EOF
echo DMA > /sys/bus/pci/devices/{BOUND}/iommu_group/type  # iommu=pt: the others are identity
modprobe vfio_iommu_type1
modprobe vfio-pci
for device in {DRIVEN} {BOUND}; do
    echo vfio-pci > /sys/bus/pci/devices/$device/driver_override
    echo $device > /sys/bus/pci/drivers_probe
done
python3 -P /tmp/vfio_in_guest.py hold {DRIVEN} /tmp/held & holder=$!
until [ -e /tmp/held ]; do kill -0 $holder || fail "the device was not opened"; sleep 0.2; done
cat /sys/bus/pci/devices/{DRIVEN}/iommu_group/type > /var/lib/tracekit/type
tracekit kho --json > /var/lib/tracekit/kho.json
{record()}
{marks_on_cpus(23)}
tracekit handover --kernel /boot/vmlinuz-$(uname -r) --initrd /boot/initrd -o $S --append '{IOMMU}'
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_kernel(STOCK)
    plan = Plan(
        STOCK, (LEAVING, "tracekit recover"), cmdline=CMDLINE,
        timeout=800, devices=("intel-iommu", "e1000e,addr=1e.0", "e1000e,addr=1d.0"),
    )  # fmt: skip
    return guest_run(plan, tmp_path_factory.mktemp("iommu")).output


def test_a_kexec_to_the_same_stock_kernel_is_recorded_whole(output: Path) -> None:
    knows_the_way(tracekit.open(output / "session"), "kexec")
    assert found_marks(output / "session") == {cpu: list(range(1, 24)) for cpu in (0, 1)}


@pytest.fixture(scope="module")
def left(output: Path) -> dict[str, LeftDevice]:
    report = tracekit.open(output / "session").report()
    return {device.address: device for device in report.left_running}


def test_who_could_still_do_dma(left: dict[str, LeftDevice]) -> None:
    """The kernel takes bus mastering from every device; a program gives it back to its own."""
    driven, bound, disk = left[DRIVEN], left[BOUND], left[DISK]
    assert (driven.before, driven.after, driven.next_found) == (True, False, True)
    assert driven.running is True
    assert (bound.before, bound.running) == (False, False)
    assert (disk.driver, disk.before, disk.after) == ("virtio-pci", True, False)


def test_where_their_domains_pointed(left: dict[str, LeftDevice], output: Path) -> None:
    driven, bound, disk = left[DRIVEN], left[BOUND], left[DISK]
    assert driven.driver == bound.driver == "vfio-pci"
    assert (output / "type").read_text() == "identity\n"  # what sysfs says, and is not so
    assert (driven.domain, driven.attached) == ("identity", "unmanaged")
    assert driven.reach.startswith("where its program mapped memory")
    assert (bound.domain, bound.attached) == ("DMA", "DMA")
    assert "old kernel's page tables" in bound.reach
    assert (disk.domain, disk.attached) == ("identity", "identity")
    assert disk.reach.startswith("anywhere")
    assert len({device.group for device in (driven, bound, disk)} - {""}) == 3
    assert driven.reset


def test_the_live_view_says_the_same(output: Path) -> None:
    document: dict[str, Any] = json.loads((output / "kho.json").read_text())
    devices = {device["address"]: device for device in document["devices"]}
    assert devices[DRIVEN]["bus_master"] is True
    assert (devices[DRIVEN]["attached"], devices[BOUND]["attached"]) == ("unmanaged", "DMA")
