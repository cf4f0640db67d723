"""A crashed kernel's memory, as its crash kernel shows it in ``/proc/vmcore``."""

from __future__ import annotations

from collections.abc import Sequence

from tracekit.carriers.carrier import Arrival, Found, Promise, Source, Verdict
from tracekit.carriers.evidence import why_crash
from tracekit.carriers.machine import Machine
from tracekit.errors import NothingToRecover
from tracekit.parameters import RegionSpec

__all__ = ["Vmcore"]


class Vmcore:
    """The carrier."""

    name = "vmcore"
    promise = Promise(
        ("panic",),
        "complete",
        "a crash kernel (crashkernel=, loaded by kdump-tools or kexec -p) and a region of "
        "reserve_mem=; a carve-out is not in /proc/vmcore",
    )

    def describe(self, machine: Machine) -> Verdict:
        """By the crash kernel that is loaded."""
        loaded = machine.text("sys/kernel/kexec_crash_loaded").strip()
        if machine.crash_kernel:
            why = f"this is a crash kernel: {machine.crash_kernel}"
            return Verdict(self.name, "in use", why, self.promise)
        if loaded == "1":
            why = "a crash kernel is loaded: a panic is recorded, too"
            return Verdict(self.name, "ready", why, self.promise)
        if loaded == "0":
            why = "no crash kernel is loaded"
            remedy = "boot with crashkernel=256M and install kdump-tools (or Fedora's kdump-utils)"
            return Verdict(self.name, "possible", why, self.promise, remedy)
        return Verdict(self.name, "unknown", "sys/kernel/kexec_crash_loaded is not there",
                       self.promise)  # fmt: skip

    def find(self, arrival: Arrival) -> list[Found]:
        """The regions of the kernel that crashed, where the session says that they lay."""
        if not arrival.crash:
            raise NothingToRecover("")
        memories = [core.memory for core in arrival.cores if core.name == self.name]
        places = arrival.previous.places if arrival.previous else ()
        held = [
            p for p in dict.fromkeys(places) if any(m.holds(p.address, p.size) for m in memories)
        ]
        if not held:
            remarks = arrival.remarks.diagnostics
            raise NothingToRecover(why_crash(arrival.crash, arrival.previous, memories, remarks))
        newest = {place.name: place for place in reversed(held)}
        return [Found(place, self.name) for place in list(newest.values())[::-1]]

    def read(self, arrival: Arrival, regions: Sequence[RegionSpec]) -> Sequence[Source]:
        """``/proc/vmcore``."""
        return [core for core in arrival.cores if core.name == self.name] if regions else []
