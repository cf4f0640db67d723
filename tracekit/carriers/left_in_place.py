"""Memory that nothing kept, and that is as the old kernel left it all the same.

A ``reserve_mem`` region without KHO lies wherever the next kernel's memory is free; with the same
command line and firmware that can be the same place, and who takes it then takes it whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from tracekit.carriers.carrier import Arrival, Found, Promise, Source, Verdict
from tracekit.carriers.evidence import still_there
from tracekit.carriers.kho_regions import KhoRegions
from tracekit.carriers.machine import Machine
from tracekit.errors import NothingToRecover
from tracekit.parameters import RegionSpec

__all__ = ["LeftInPlace"]


class LeftInPlace:
    """The carrier of those who have none: luck."""

    name = "luck"
    promise = Promise((), "not known", "that nobody wrote there; never to be counted on")

    def describe(self, machine: Machine) -> Verdict:
        """A region in memory that nothing keeps."""
        command = machine.command
        reserved = {m.name for m in command.reserve_mem}
        mine = next((i for i in command.instances if i.region in reserved), None)
        if mine is None or KhoRegions().describe(machine).state in ("in use", "unknown"):
            return Verdict(self.name, "no", "there is no need for it", self.promise)
        why = f"{mine.name} is on {mine.region}, which no KHO hands on: the next kernel takes it"
        return Verdict(self.name, "in use", why, self.promise, "tracekit setup")

    def find(self, arrival: Arrival) -> list[Found]:
        """The previous kernel's regions whose header is still where that kernel had it."""
        if arrival.crash or arrival.kho:
            raise NothingToRecover("")
        memories = [core.memory for core in arrival.cores]
        kept = still_there(arrival.previous, memories)
        if not kept:
            raise NothingToRecover("")
        return [Found(region, "its header, in place") for region in kept]

    def read(self, arrival: Arrival, regions: Sequence[RegionSpec]) -> Sequence[Source]:
        """``/proc/kcore``."""
        return arrival.cores if regions else ()
