"""The doctor's checks on preserved memory where a carve-out keeps it: no KHO, and /dev/mem.

What ``/dev/mem`` gives: ``devmem_is_allowed()`` in ``arch/x86/mm/init.c``; what lockdown forbids:
``include/linux/security.h``.
"""

from __future__ import annotations

from collections.abc import Callable

from tracekit.capture.doctor.check import Check
from tracekit.capture.doctor.memory_checks import instance, lockdown
from tracekit.carriers.carve_out import DEVICE, CarveOut, halves, region_name
from tracekit.carriers.device_memory import DeviceMemory
from tracekit.carriers.evidence import LOCKED
from tracekit.carriers.machine import Machine, lockdown_mode
from tracekit.errors import SourceError
from tracekit.parameters import RegionSpec

__all__ = ["CHECKS", "on_carve_out"]

_SETUP = "'tracekit setup --carrier carveout' shows the kernel command line that is needed"
_AS_ROOT = "run 'tracekit doctor' as root to see"


def on_carve_out(m: Machine) -> bool:
    """Whether the record is kept by a carve-out, or can be by nothing else."""
    if m.instance is not None:
        return m.instance.address is not None
    return not m.crash_kernel and m.kho_built is False and CarveOut().describe(m).state != "no"


def kho(m: Machine) -> Check:
    """KHO, which is not needed."""
    has = {True: "this kernel has it", False: "this kernel has none", None: "not known"}
    return Check("kho", "ok", f"not needed: a carve-out keeps the record ({has[m.kho_built]})")


def regions(m: Machine) -> Check:
    """Two halves, kept from every kernel."""
    verdict = CarveOut().describe(m)
    if verdict.state != "in use":
        return Check("regions", "failed", verdict.why, verdict.remedy or _SETUP)
    pieces = list(halves(m.command))
    places = ", ".join(f"{size >> 10} KiB at {start:#x}" for start, size in pieces)
    if not pieces:
        return Check(
            "regions", "warning",
            f"{verdict.why}; no memmap= on the command line keeps it, other than its reservation "
            "by the firmware", _SETUP,
        )  # fmt: skip
    if len(pieces) == 1:
        return Check(
            "regions", "warning", f"only one: {places}",
            f"make the carve-out twice as large, so that two kernels can take turns: {_SETUP}",
        )  # fmt: skip
    return Check("regions", "ok", f"{places}, a carve-out")


def other_half(m: Machine) -> Check:
    """A half that this kernel leaves alone, for the next one."""
    uses = {
        start: m.memory.use_of(region_name(start), start, size)
        for start, size in halves(m.command)
        if m.instance is None or start != m.instance.address
    }
    free = ", ".join(f"{start:#x}" for start, use in uses.items() if use.kind == "free")
    if free:
        return Check("other-region", "ok", f"{free} is free for the next kernel")
    taken = "; ".join(f"{start:#x}: {use.who}" for start, use in uses.items() if use.who)
    return Check(
        "other-region", "warning",
        "no half is free for the next kernel's trace instance" + (f" ({taken})" if taken else ""),
        _SETUP,
    )  # fmt: skip


def device_memory(m: Machine) -> Check:
    """The carve-out, as ``/dev/mem`` gives it."""
    name, where = "dev-mem", m.root.where(DEVICE)
    mine = m.instance
    if mine is None or mine.address is None:
        if m.root.exists(DEVICE):
            return Check(name, "ok", f"{where} is there")
        return Check(name, "unknown", f"no {where}", "boot a kernel with CONFIG_DEVMEM=y")
    spec = RegionSpec(region_name(mine.address), mine.address, mine.size or 0)
    try:
        stream = m.root.open_memory(DEVICE)
        if stream is None:
            return Check(
                name, "failed" if m.root.live else "unknown", f"no {where}",
                "boot a kernel with CONFIG_DEVMEM=y: /dev/mem alone gives a carve-out",
            )  # fmt: skip
        with DeviceMemory(stream, where, [spec]) as memory:
            memory.read(spec.address, min(spec.size, 8))
    except SourceError as error:
        if m.blind:
            return Check(name, "unknown", "only root may read it", _AS_ROOT)
        locked = lockdown_mode(m.root) not in (None, "none")
        return Check(name, "warning" if locked else "failed", str(error),
                     LOCKED if locked else "be root; see the line on lockdown")  # fmt: skip
    return Check(name, "ok", f"{where} gives {spec.size >> 10} KiB at {spec.address:#x}")


def locked(m: Machine) -> Check:
    """Kernel lockdown, and what is left of a carve-out then."""
    mode = lockdown_mode(m.root)
    if mode != "integrity":
        return lockdown(m)
    return Check(
        "lockdown", "warning",
        f"{mode}: only signed kernels can be loaded, BPF cannot write, and {LOCKED}",
        "boot without lockdown=, which also follows from Secure Boot",
    )  # fmt: skip


CHECKS: tuple[Callable[[Machine], Check], ...] = (
    kho,
    regions,
    instance,
    other_half,
    device_memory,
    locked,
)
