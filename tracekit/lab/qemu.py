"""QEMU: its arguments for a run, and whether KVM works on this machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tracekit.lab import images
from tracekit.lab.kernels import Kernel
from tracekit.lab.store import cached
from tracekit.lab.tools import ENVIRONMENT, need

__all__ = ["Direct", "Disks", "guarded", "kvm_works", "qemu_argv"]

_PROBE_SECONDS = 15  # a guest under KVM has said "no disk" within one
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Direct(NamedTuple):
    """What QEMU boots without a boot loader."""

    kernel: Path
    initrd: Path
    cmdline: str


_CPU = "max,la57=off"  # the fifth level of page tables costs a sixth of the speed
# One thread for all CPUs: with one each, a CPU may run code that another has just patched, and the
# kernel oopses on a breakpoint. 128 MiB of translated code: with QEMU's own choice, a gigabyte, all
# that ever ran is kept, each page of it that is written again costs a flush of every jump cache,
# and the dark of a kexec took minutes.
_TCG = "tcg,thread=single,tb-size=128"


class Disks(NamedTuple):
    """The images a guest runs from; their order makes them /dev/vda, vdb and vdc."""

    root: Path
    data: Path
    results: Path


def _drive(name: str, path: Path, options: str) -> list[str]:
    file = str(path).replace(",", ",,")
    return [
        "-drive", f"if=none,id={name},format=raw,file={file},{options}",
        "-device", f"virtio-blk-pci,drive={name},serial={name}",
    ]  # fmt: skip


def qemu_argv(
    boot: Direct | Path,
    disks: Disks | None = None,
    *,
    cpus: int = 2,
    memory: int = 2048,
    kvm: bool = False,
    restarts: bool = False,
    devices: Sequence[str] = (),
) -> list[str]:
    """QEMU's arguments, but for the console; ``memory`` in MiB.

    ``boot`` is a kernel, or a disk that the firmware boots from, which comes after the other ones.
    ``devices`` come first: an IOMMU must be there before what is behind it. Those that begin with
    ``driver=`` are what disks are on, as ``-blockdev`` takes them.
    """
    options = ("-blockdev" if d.startswith("driver=") else "-device" for d in devices)
    drives = [word for pair in zip(options, devices, strict=True) for word in pair]
    if disks is not None:
        drives += _drive("root", disks.root, "readonly=on")
        drives += _drive("data", disks.data, "cache=unsafe")
        drives += _drive("results", disks.results, "cache=unsafe")
    if isinstance(boot, Path):
        drives += _drive("boot", boot, "cache=unsafe,snapshot=on")
        drives[-1] += ",bootindex=0"
        chosen = []
    else:
        chosen = ["-kernel", str(boot.kernel), "-initrd", str(boot.initrd)]
        chosen += ["-append", boot.cmdline]
    return [
        "qemu-system-x86_64", "-accel", "kvm" if kvm else _TCG,
        "-cpu", _CPU, "-machine", "q35", "-smp", str(cpus), "-m", f"{memory}M",
        *([] if restarts else ["-no-reboot"]), "-nodefaults", "-display", "none",
        *chosen, *drives, "-device", "virtio-rng-pci",
    ]  # fmt: skip


def guarded(argv: list[str]) -> list[str]:
    """``argv`` such that it ends when this process does, however that ends."""
    tools = need("the lab", [argv[0], "setpriv"])
    return [tools["setpriv"], "--pdeathsig", "KILL", tools[argv[0]], *argv[1:]]


def kvm_works(lab: Path, kernel: Kernel) -> bool:
    """Whether a kernel of the lab boots under KVM; tried once per boot of this machine.

    A /dev/kvm that can be opened is not enough: on some machines that are themselves virtual,
    QEMU then fails on the first register, or the guest never runs.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False

    def probe(path: Path) -> None:
        path.write_text("works\n" if _boots_under_kvm(path.parent, kernel) else "fails\n")

    answer = cached(lab / f"kvm-{_BOOT_ID.read_text().strip()}", probe)
    return answer.read_text() == "works\n"


def _boots_under_kvm(place: Path, kernel: Kernel) -> bool:
    initrd = place / "initrd"
    initrd.write_bytes(images.initramfs([kernel]))
    direct = Direct(kernel.image, initrd, "console=ttyS0 panic=-1")
    argv = qemu_argv(direct, memory=512, kvm=True)
    try:
        done = subprocess.run(
            [*guarded(argv), "-serial", "stdio"], env=ENVIRONMENT, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=_PROBE_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and b"@lab broken" in done.stdout
