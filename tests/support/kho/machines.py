"""Two kernels in a row with KHO and LUO in use, as trees that can be saved into a session."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.support.kho.kernel_writer import KhoKernel, pci_device
from tests.support.kho.luo_writer import Sessions, memfd
from tests.support.machine_trees import REGION, TKA, TKB, kho_files, new_machine, old_machine

REGIONS = {"tkA": (TKA, REGION), "tkB": (TKB, REGION)}
OUTGOING: Sessions = {
    "vm": [("memfd-v2", 0, 1), ("memfd-v2", 0, 2)],
    "orphan": [("memfd-v2", 0, 9)],
}


def old(path: Path, outgoing: Sessions) -> Path:
    kernel = KhoKernel(regions=REGIONS)
    kernel.outgoing = {
        name: [(handler, memfd(kernel.memory, b"x" * 5000), token) for handler, _, token in files]
        for name, files in outgoing.items()
    }
    machine = replace(old_machine(), files=kernel.files())
    machine = replace(machine, cmdline=f"{machine.cmdline} liveupdate=on")
    root = machine.write(path)
    pci_device(root, "0000:00:01.0", "virtio-pci", master=True)
    return root


def new(path: Path, kernel: KhoKernel) -> Path:
    files = {n: d for n, d in kho_files(REGIONS).items() if "/in/" in n}
    machine = replace(new_machine(), kho=None, files=kernel.files() | files)
    return machine.write(path)
