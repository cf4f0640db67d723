"""How a kernel came up: by kexec, as a crash kernel, or from firmware through a boot loader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tracekit.frozen import dataclass

__all__ = ["StartedBy", "started_by"]

_KEXEC = 0xD  # the high digit of type_of_loader, Documentation/arch/x86/boot.rst
_LOADERS = {
    0x0: "LILO", 0x1: "Loadlin", 0x2: "EFI stub", 0x3: "Syslinux", 0x4: "Etherboot", 0x5: "ELILO",
    0x7: "GRUB", 0x8: "U-Boot", 0x9: "Xen", 0xA: "Gujin", 0xB: "QEMU",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StartedBy:
    """``kind``, and in words what tells it: '' where nothing does."""

    kind: Literal["kexec", "crash kernel", "boot loader", "unknown"] = "unknown"
    evidence: str = ""


def started_by(kernel: Mapping[str, Any], *, kho: bool) -> StartedBy:
    """How the boot of a ``kernel.json`` came up; ``kho``: whether KHO data came with it."""
    for word in str(kernel.get("cmdline") or "").split():
        if word.startswith("elfcorehdr="):  # crash_setup_memmap_entries() and its kin add it
            return StartedBy("crash kernel", f"{word} is on its command line")
    loader = kernel.get("boot_loader")
    if isinstance(loader, int) and 0 < loader <= 0xFF:
        if loader >> 4 == _KEXEC:
            return StartedBy("kexec", f"its boot parameters name kexec as the loader ({loader:#x})")
        name = _LOADERS.get(loader >> 4, "one that is not known")
        what = f"its boot parameters name a boot loader: {name} ({loader:#x})"
        return StartedBy("boot loader", what)
    if kho or kernel.get("kexec_metadata"):
        return StartedBy("kexec", "KHO data came with it")
    return StartedBy()
