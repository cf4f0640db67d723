"""The doctor's checks on preserved memory: KHO, the regions, the instance, kcore.

Parameters and messages: ``kernel/liveupdate/kexec_handover.c``, ``reserve_mem()`` in
``mm/memblock.c``, ``enable_instances()`` in ``kernel/trace/trace.c``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tracekit.capture.doctor.check import Check
from tracekit.capture.kho.cost import LARGE, cost_of, cost_sentence
from tracekit.capture.kho.evidence import from_machine
from tracekit.carriers.dumps.elf_core import ElfCore
from tracekit.carriers.machine import Machine, lockdown_mode, mapped_instances
from tracekit.errors import SourceError

if TYPE_CHECKING:
    from tracekit.parameters import RegionSpec

__all__ = ["CHECKS", "instance", "lockdown"]

_SETUP = "'tracekit setup' shows the kernel command line that is needed"
_AS_ROOT = "run 'tracekit doctor' as root to see"


def kho(m: Machine) -> Check:
    """KHO built in, enabled and working."""
    option, on = m.option("KEXEC_HANDOVER"), m.kho_enabled
    switch = {True: "kho=on", False: "kho=off", None: "no kho="}[m.command.kho]
    summary = f"CONFIG_KEXEC_HANDOVER={option or 'unknown'}, {switch} on the command line"
    if m.command.kho is None and on:
        summary += ", on by default (CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT=y)"
    if m.crash_kernel:
        return Check("kho", "failed", f"this is a crash kernel: {m.crash_kernel}",
                     "'tracekit recover' reads the dead kernel's memory here; examine the kernel "
                     "that is to be recorded, after the next boot")  # fmt: skip
    if option == "n":
        return Check(
            "kho",
            "failed",
            f"{summary}: this kernel ({m.release}) has no kexec handover",
            "boot a kernel of 6.16 or later that is built with CONFIG_KEXEC_HANDOVER=y and "
            "CONFIG_KEXEC_HANDOVER_DEBUGFS=y; 'tracekit lab' shows all of it in a virtual machine",
        )
    if m.command.kho is False:
        return Check("kho", "failed", f"{summary}: it hands nothing on",
                     f"boot with kho=on instead: {_SETUP}")  # fmt: skip
    if m.kho is not None:
        return Check("kho", "ok", f"{summary}, {m.root.where(m.kho)}/out is there")
    if m.gave_up_kho:
        return Check(
            "kho", "failed", f"{summary}; the log says: {m.gave_up_kho}",
            "reserve less for its scratch areas (kho_scratch=), or give the machine more memory",
        )  # fmt: skip
    seen = not m.blind and _debugfs(m)
    if on is False:
        return Check("kho", "failed", f"{summary}, no {m.root.where('sys/kernel/debug/kho')}",
                     f"boot with kho=on: {_SETUP}")  # fmt: skip
    if on is None and seen:
        return Check("kho", "unknown", f"{summary}, no {m.root.where('sys/kernel/debug/kho')}, "
                     "which a kernel without CONFIG_KEXEC_HANDOVER_DEBUGFS lacks anyway",
                     f"boot with kho=on, then nothing is left to chance: {_SETUP}")  # fmt: skip
    if on is None:
        return Check("kho", "unknown", f"{summary}; debugfs cannot be looked into", _AS_ROOT)
    if not seen:
        return Check("kho", "unknown", f"{summary}; debugfs cannot be looked into",
                     _AS_ROOT if m.blind else "mount debugfs")  # fmt: skip
    return Check(
        "kho", "warning", f"{summary}, but debugfs does not show it",
        "it may have been given up at boot: look for 'KHO' in the kernel's log"
        if m.option("KEXEC_HANDOVER_DEBUGFS") == "y" else
        "build the kernel with CONFIG_KEXEC_HANDOVER_DEBUGFS=y; recover then needs less guessing",
    )  # fmt: skip


def kho_cost(m: Machine) -> Check:
    """The memory that KHO's scratch areas take."""
    with ExitStack() as stack:
        cost = cost_of(from_machine(m.root, stack, deep=False))
    if cost is None:
        off = m.kho_enabled is False or m.option("KEXEC_HANDOVER") == "n" or m.gave_up_kho
        if off:
            return Check("kho-cost", "ok", "none: KHO is off")
        return Check("kho-cost", "unknown", "debugfs does not show the scratch areas",
                     _AS_ROOT if m.blind else "mount debugfs")  # fmt: skip
    found = cost_sentence(cost)
    if (cost.share or 0) < LARGE:
        return Check("kho-cost", "ok", found)
    return Check("kho-cost", "warning", found,
                 "kho_scratch=LOW,GLOBAL,PERNODE sets the sizes: 'tracekit kho' tells what "
                 "follows")  # fmt: skip


def _debugfs(m: Machine) -> bool:
    return "debugfs" in m.mounts if m.mounts is not None else m.root.exists("sys/kernel/debug")


def _place(region: RegionSpec) -> str:
    return f"{region.name} at {region.address:#x}, {region.size >> 10} KiB"


def regions(m: Machine) -> Check:
    """Two regions reserved, so that two kernels can take turns."""
    uses = {memory.name: m.memory.use_of(memory.name) for memory in m.command.reserve_mem}
    wanted = [memory for memory in m.command.reserve_mem if not uses[memory.name].foreign]
    if lines := m.log_lines("reserve_mem: "):
        return Check("regions", "failed", f"the log says: {'; '.join(lines)}", _SETUP)
    names = {memory.name for memory in wanted}
    places = ", ".join(_place(r) for r in m.regions if r.name in names)
    summary = places or ", ".join(f"{r.name}, {r.size >> 10} KiB" for r in wanted)
    if not wanted:
        taken = ", ".join(f"{name} is used by {use.who}" for name, use in uses.items())
        summary = f"no reserve_mem= for tracing: {taken}" if taken else "no reserve_mem="
        return Check("regions", "failed", f"{summary} on the command line", _SETUP)
    missing = names - {r.name for r in m.regions}
    if m.regions and missing:
        return Check(
            "regions", "failed", f"KHO hands on {places}, but not {', '.join(sorted(missing))}",
            "look into the kernel's log for reserve_mem and KHO",
        )  # fmt: skip
    if len(wanted) == 1:
        return Check(
            "regions", "warning", f"only one: {summary}",
            f"reserve a second one, so that the next kernel's way out can be recorded: {_SETUP}",
        )  # fmt: skip
    return Check("regions", "ok", summary)


def instance(m: Machine) -> Check:
    """A trace instance on one of the regions."""
    wanted = m.instance
    if wanted is None:
        return Check(
            "instance", "failed", "no trace_instance= on a reserved region on the command line",
            _SETUP,
        )  # fmt: skip
    place = wanted.region or f"{wanted.address:#x}"
    use = m.memory.use_of(place, wanted.address, wanted.size or 0)
    if use.foreign or len(use.instances) > 1:
        return Check("instance", "failed", f"{wanted.name} is on {place}, but so is {use.who}",
                     f"give it a region of its own: {_SETUP}")  # fmt: skip
    if lines := m.log_lines("Failed to map boot instance", "Invalid boot instance"):
        return Check("instance", "failed", f"the log says: {'; '.join(lines)}",
                     "name memory that reserve_mem= or memmap= keeps")  # fmt: skip
    if m.tracefs is None:
        return Check(
            "instance", "unknown",
            f"{wanted.name} on {place} on the command line; tracefs cannot be looked into",
            _AS_ROOT if m.blind else "mount tracefs",
        )  # fmt: skip
    if not m.root.exists(f"{m.tracefs}/instances/{wanted.name}"):
        return Check(
            "instance", "failed",
            f"{wanted.name} on {place} on the command line, but tracefs has no such instance",
            "look into the kernel's log for 'Tracing:'",
        )  # fmt: skip
    mapped = mapped_instances(m.log).get(wanted.name)
    where = f"{wanted.name} on {place}" + (
        f" at {mapped[0]:#x}, {mapped[1] >> 10} KiB" if mapped else ""
    )
    if "traceoff" not in wanted.flags:
        return Check(
            "instance", "warning", f"{where}, without ^traceoff: it records from the boot on",
            f"a kernel that re-attaches a region must not touch it: {_SETUP}",
        )  # fmt: skip
    return Check("instance", "ok", where)


def ping_pong(m: Machine) -> Check:
    """A region that this kernel leaves alone, for the next one."""
    uses = {memory.name: m.memory.use_of(memory.name) for memory in m.command.reserve_mem}
    free = [name for name, use in uses.items() if use.kind == "free"]
    taken = "; ".join(f"{name}: {use.who}" for name, use in uses.items() if use.who)
    if free:
        return Check("other-region", "ok", f"{', '.join(free)} is free for the next kernel")
    return Check(
        "other-region", "warning",
        "no region is free for the next kernel's trace instance" + (f" ({taken})" if taken else ""),
        f"reserve a second region that nobody uses: {_SETUP}",
    )  # fmt: skip


def kcore(m: Machine) -> Check:
    """Physical memory that can be read, with the regions in it."""
    rel = "proc/kcore"
    with ExitStack() as stack:
        try:
            stream = m.root.open_binary(rel)
            if stream is None:
                return Check(
                    "kcore", "failed", f"no {m.root.where(rel)}",
                    "build the kernel with CONFIG_PROC_KCORE=y",
                )  # fmt: skip
            memory = ElfCore(stack.enter_context(stream), m.root.where(rel))
        except SourceError as error:
            if m.blind:
                return Check("kcore", "unknown", "only root may read it", _AS_ROOT)
            return Check("kcore", "failed", str(error), "see the line on lockdown; be root")
        outside = [_place(r) for r in m.regions if not memory.holds(r.address, r.size)]
        if outside:
            return Check(
                "kcore", "failed", f"it does not hold {', '.join(outside)}: {memory.describe()}",
                "the kernel's direct map lacks the memory: is it poisoned, or taken by a guest?",
            )  # fmt: skip
        held = "holds every region" if m.regions else "is readable"
        return Check("kcore", "ok", f"{m.root.where(rel)} {held}")


def lockdown(m: Machine) -> Check:
    """Kernel lockdown, which forbids reading memory, tracing or kexec."""
    mode = lockdown_mode(m.root)
    if mode is None and m.option("SECURITY_LOCKDOWN_LSM") == "y":
        return Check(
            "lockdown", "unknown", "built in, but its state cannot be read",
            "mount -t securityfs nodev /sys/kernel/security",
        )  # fmt: skip
    if mode in (None, "none"):
        state = "not locked down" if mode else "this kernel shows no lockdown"
        return Check("lockdown", "ok", state)
    remedy = "boot without lockdown=, which also follows from Secure Boot"
    if mode == "confidentiality":
        return Check("lockdown", "failed", f"{mode}: neither kcore nor tracefs can be read", remedy)
    return Check(
        "lockdown", "warning",
        f"{mode}: only signed kernels can be loaded, and BPF cannot write", remedy,
    )  # fmt: skip


CHECKS: tuple[Callable[[Machine], Check], ...] = (
    kho,
    kho_cost,
    regions,
    instance,
    ping_pong,
    kcore,
    lockdown,
)
