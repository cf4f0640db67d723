"""A carve-out: memory that ``memmap=SIZE$ADDRESS`` keeps from every kernel that is told so (x86).

No kernel touches it, so it survives a kexec, a panic and, as far as the firmware leaves it alone, a
warm reboot. ``/proc/kcore`` and ``/proc/vmcore`` do not hold it, ``/dev/mem`` does: what is no
System RAM may be mapped in spite of STRICT_DEVMEM (``devmem_is_allowed()``,
``page_is_ram()``). ``memmap=`` is read in ``arch/x86/kernel/e820.c``.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from tracekit.carriers.carrier import Arrival, Found, Promise, Source, Verdict
from tracekit.carriers.device_memory import DeviceMemory
from tracekit.carriers.evidence import LOCKED
from tracekit.carriers.machine import Machine, lockdown_mode
from tracekit.errors import NothingToRecover, SourceError
from tracekit.parameters import CommandLine, RegionSpec

__all__ = ["DEVICE", "NAMED", "CarveOut", "covering", "halves", "region_name"]

NAMED = "command line"  #: ``Found.how``
DEVICE = "dev/mem"
_IOMEM = re.compile(r"^( *)([0-9a-f]{1,16})-([0-9a-f]{1,16}) : (.+)$", re.M)
_FREE = ("Reserved", "System RAM")


def region_name(address: int) -> str:
    """What a carve-out's region is called in a session: it has no name of its own."""
    return f"carveout-{address:x}"


def covering(iomem: str, address: int, size: int) -> list[str]:
    """The names of ``/proc/iomem`` for a range, outermost first; none where nothing is listed.

    All of them where the range lies in several. Without root the addresses are zeros: none then.
    """
    names = []
    for match in _IOMEM.finditer(iomem):
        first, last = int(match[2], 16), int(match[3], 16)
        if last and first < address + size and address <= last:
            names.append(match[4].strip())
    return list(dict.fromkeys(names))


def halves(command: CommandLine) -> Iterator[tuple[int, int]]:
    """(address, size) of the regions in the carve-outs of a command line, in order of address.

    A carve-out in which a trace instance lies is cut into pieces of that instance's size.
    """
    instances = sorted((i.address, i.size) for i in command.instances if i.address and i.size)
    for start, size in sorted(_joined(command)):
        first, last = (bisect_left(instances, (at, 0)) for at in (start, start + size))
        inside = [i for i in instances[first:last] if sum(i) <= start + size]
        at = start
        for address, length in inside:
            yield from _cut(at, address, length)
            yield address, length
            at = address + length
        if inside:
            yield from _cut(at, start + size, inside[-1][1])


def _joined(command: CommandLine) -> list[tuple[int, int]]:
    """The carve-outs, those that touch each other as one."""
    joined: list[tuple[int, int]] = []
    for start, size in sorted(command.carved):
        if joined and start <= sum(joined[-1]):
            joined[-1] = (joined[-1][0], max(sum(joined[-1]), start + size) - joined[-1][0])
        else:
            joined.append((start, size))
    return joined


def _cut(start: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """Pieces of ``size`` from ``start`` to ``end``, the last one short; at most some."""
    for _ in range(_MOST):
        if start >= end:
            return
        yield start, min(size, end - start)
        start += size


_MOST = 64  # pieces of one carve-out that are looked into


class CarveOut:
    """The carrier."""

    name = "carveout"
    promise = Promise(
        ("kexec", "reboot", "panic"),
        "complete after a kexec between two halves and after a panic; after a warm reboot the same "
        "half is attached again, and kernels from 6.15 on then reset the CPU that boots unless the "
        "trace clock is 'local'",
        "x86, a kernel of 6.12 or later, memmap=SIZE$ADDRESS on every kernel's command line; a "
        "warm reboot also needs firmware that leaves memory alone",
    )

    def describe(self, machine: Machine) -> Verdict:
        """By this kernel's command line and ``/proc/iomem``."""
        command = machine.command
        mine = next((i for i in command.instances if i.address is not None), None)
        if mine is not None and mine.address is not None:
            return self._present(machine, mine.name, mine.address, mine.size or 0)
        why = self._impossible(machine)
        if why:
            return Verdict(self.name, "no", why, self.promise)
        if command.carved:
            listed = ", ".join(f"{size >> 10} KiB at {start:#x}" for start, size in command.carved)
            why = f"memmap= takes out {listed}, but no trace instance is on it"
        else:
            why = "no memmap=SIZE$ADDRESS on the command line"
        remedy = "tracekit setup --carrier carveout"
        return Verdict(self.name, "possible", why, self.promise, remedy)

    @staticmethod
    def _impossible(machine: Machine) -> str:
        """Why this kernel cannot have one, '' where it can, as far as is seen."""
        if machine.architecture not in ("x86_64", ""):
            return f"{machine.architecture} has no memmap= parameter that takes memory out"
        if machine.option("TRACING") == "n":
            return "this kernel cannot trace"
        if machine.has_symbol("__ring_buffer_alloc_range") is False:  # kernel/trace/ring_buffer.c
            return (
                f"this kernel ({machine.release}) cannot keep a trace buffer in given memory "
                "(6.12 and later can)"
            )
        return ""

    def _present(self, machine: Machine, instance: str, address: int, size: int) -> Verdict:
        where = f"{instance} is on {address:#x}, {size >> 10} KiB"
        names = covering(machine.text("proc/iomem"), address, size)
        wrong = [name for name in names if name != "Reserved"]
        if "Crash kernel" in wrong:
            why = f"{where}, inside the memory of the crash kernel, which is loaded over it"
            remedy = (
                "tracekit setup --carrier carveout, which chooses an address outside of what "
                "/proc/iomem calls Crash kernel"
            )
            return Verdict(self.name, "possible", why, self.promise, remedy)
        if wrong:
            remedy = (
                f"put memmap= back on the command line, with the $ that reaches the kernel: "
                f"memmap={size >> 10}K${address:#x}"
            )
            why = f"{where}, which /proc/iomem calls {', '.join(wrong)}: nothing keeps it"
            return Verdict(self.name, "possible", why, self.promise, remedy)
        mode = lockdown_mode(machine.root)
        if mode not in (None, "none"):
            why = f"{where}; the kernel is locked down ({mode}): {LOCKED}"
            return Verdict(self.name, "in use", why, self.promise, "boot without lockdown=")
        return Verdict(self.name, "in use", where, self.promise)

    def find(self, arrival: Arrival) -> list[Found]:
        """The pieces of the carve-outs that this kernel's or the one before's command line names.

        Those that ``/proc/iomem`` calls anything else than Reserved or System RAM are somebody's
        and are left alone, with a remark.
        """
        before = arrival.previous.command if arrival.previous else None
        named: dict[int, int] = {}
        for command in (before, arrival.machine.command):
            for address, size in self._named(command) if command else ():
                named.setdefault(address, size)
        if not named:
            raise NothingToRecover(
                "no carve-out: neither this kernel's command line nor that of a kernel in the "
                "session has memmap=SIZE$ADDRESS with a trace_instance=NAME@ADDRESS:SIZE on it"
            )
        found = []
        for address, size in sorted(named.items()):
            if self._left_alone(arrival, address, size):
                continue
            found.append(Found(RegionSpec(region_name(address), address, size), NAMED))
        if not found:
            raise NothingToRecover("the carve-outs of the command lines belong to somebody else")
        return found

    @staticmethod
    def _left_alone(arrival: Arrival, address: int, size: int) -> bool:
        """Whether a carve-out is not read, for it is somebody's; remarks on what it has become."""
        machine, where = arrival.machine, f"carve-out at {address:#x}"
        names = covering(machine.text("proc/iomem"), address, size)
        others = [name for name in names if name not in _FREE]
        if others and "System RAM" not in names:
            message = f"/proc/iomem calls it {', '.join(others)}; not read"
            arrival.remarks.add("carve-out-taken", "warning", where, message)
            return True
        if "System RAM" not in names:
            return False
        own = [start for start, _ in machine.command.carved]
        why = "this kernel's command line has no memmap= that keeps it"
        if "Crash kernel" in others:
            why = "it lies inside the memory of the crash kernel"
        elif own:
            listed = ", ".join(map(hex, own))
            why = f"the address changed between the kernels: this one's memmap= keeps {listed}"
        arrival.remarks.add(
            "carve-out-lost", "warning", where,
            f"{why}: it is System RAM again and has been used freely since; what is left is read "
            "from kcore. Next time give every kernel the same memmap= ('tracekit handover' does)",
        )  # fmt: skip
        return False

    @staticmethod
    def _named(command: CommandLine) -> list[tuple[int, int]]:
        """The instances with addresses first: also of a kernel whose memmap= was lost."""
        own = [(i.address, i.size) for i in command.instances if i.address and i.size]
        return [*own, *halves(command)]

    def read(self, arrival: Arrival, regions: Sequence[RegionSpec]) -> Sequence[Source]:
        """``/dev/mem`` for what is Reserved, kcore for what is System RAM again."""
        machine = arrival.machine
        iomem = machine.text("proc/iomem")
        ram = [r for r in regions if "System RAM" in covering(iomem, r.address, r.size)]
        sources = list(arrival.cores) if ram else []
        kept = [r for r in regions if r not in ram]
        try:
            stream = machine.root.open_memory(DEVICE) if kept else None
        except SourceError as error:
            arrival.remarks.add("core-unusable", "warning", DEVICE, str(error))
            return sources
        if stream is not None:
            sources.append(Source("mem", DeviceMemory(stream, machine.root.where(DEVICE), kept)))
        return sources
