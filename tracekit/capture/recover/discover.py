"""Finds the physical ranges to fetch: those given, else those that carriers brought here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO

from tracekit.carriers.carrier import Arrival, Found, Source
from tracekit.carriers.choice import CARRIERS
from tracekit.carriers.dumps.dump_file import open_dump
from tracekit.carriers.evidence import Previous
from tracekit.carriers.files import open_memory, open_region
from tracekit.carriers.kho_regions import carried, metadata, read_kho
from tracekit.carriers.machine import VMCORE, Machine
from tracekit.errors import NothingToRecover, SourceError
from tracekit.kho.tree import KexecMetadata
from tracekit.parameters import FileRegion, MemoryFile, RegionSpec
from tracekit.remarks import Remarks
from tracekit.sysroot import Sysroot

__all__ = ["GIVEN", "MEMORY", "Discovery", "discover", "open_cores", "open_given", "places_of"]

GIVEN = "--region"  #: ``Found.how`` of the regions that the user named
MEMORY = "--memory"  #: of those that the session knows of, in the memory that the user named
_CORES = (VMCORE, "proc/kcore")  # a crash kernel's vmcore holds what its kcore does not


@dataclass(slots=True)
class Discovery:
    """The regions to fetch, what they can be copied from, and the KHO data that came.

    ``kho``: name in ``kho/in/`` -> bytes; ``metadata`` is None where KHO has none. ``crash`` is
    what shows that this is a crash kernel, '' where nothing does; ``carried`` are the regions that
    KHO says it brought, whatever is fetched; ``lacking`` says what every carrier lacks, where
    nothing was found.
    """

    found: list[Found]
    sources: list[Source]
    kho: Mapping[str, bytes] = field(default_factory=dict)
    metadata: KexecMetadata | None = None
    crash: str = ""
    carried: tuple[RegionSpec, ...] = ()
    lacking: str = ""

    @property
    def given(self) -> bool:
        """Whether the user named the regions."""
        return any(found.how in (GIVEN, MEMORY) for found in self.found)


def open_cores(root: Sysroot, remarks: Remarks, stack: ExitStack) -> list[Source]:
    """Open every ELF core the root has; one that cannot be used becomes a remark."""
    cores: list[Source] = []
    for rel in _CORES:
        stream: BinaryIO | None = None
        try:
            stream = root.open_binary(rel)
            if stream is not None:
                memory = stack.enter_context(open_dump(stream, root.where(rel)))
                cores.append(Source(rel.rpartition("/")[2], memory))
        except SourceError as error:
            if stream is not None:
                stream.close()
            remarks.add("core-unusable", "warning", rel, str(error))
    return cores


def discover(
    root: Sysroot,
    given: Sequence[RegionSpec | FileRegion],
    remarks: Remarks,
    stack: ExitStack,
    previous: Previous | None = None,
    memory: MemoryFile | None = None,
) -> Discovery:
    """The regions to fetch: those given, else those that the carriers find.

    ``previous`` is what the session knows of the kernel before this one; ``stack`` closes what is
    opened; ``memory`` is read in place of the machine's. Raises
    :class:`~tracekit.errors.NothingToRecover` where that holds none.
    """
    machine = Machine(root)
    cores = open_cores(root, remarks, stack)
    kho = read_kho(root, cores, remarks)
    crash = machine.crash_kernel
    if crash and VMCORE not in crash:
        kho = {}  # what a device tree still names was meant for another kernel
    arrival = Arrival(
        machine, remarks, previous, cores, kho, metadata(kho, remarks), "" if kho else crash
    )
    discovery = Discovery([], [], kho, arrival.metadata, arrival.crash, tuple(carried(kho)))
    reasons: list[str] = []
    if given or memory is not None:
        places = places_of(previous) if previous else []
        discovery.found, discovery.sources = open_given(given, memory, places, stack)
        physical = [f.region for f in discovery.found if f.file is None]
        for carrier in CARRIERS if memory is None else ():
            _open(discovery, stack, carrier.read(arrival, physical))
        return discovery
    for carrier in CARRIERS:
        try:
            found = carrier.find(arrival)
        except NothingToRecover as error:
            reasons.append(str(error))
            continue
        discovery.found += _new(discovery.found, found)
        _open(discovery, stack, carrier.read(arrival, [f.region for f in found]))
    if not discovery.found:
        discovery.lacking = "\n".join(filter(None, reasons))
    return discovery


def places_of(boot: Previous) -> list[RegionSpec]:
    """Where the regions of a boot lay, by what it said and by its command line."""
    named = [
        RegionSpec(i.region or i.name, i.address, i.size)
        for i in boot.command.instances
        if i.address is not None and i.size is not None
    ]
    return [*boot.places, *named]


def open_given(
    given: Sequence[RegionSpec | FileRegion],
    memory: MemoryFile | None,
    places: Iterable[RegionSpec],
    stack: ExitStack,
) -> tuple[list[Found], list[Source]]:
    """The regions that the user named, and what to read those from that are in no file.

    Of a whole machine's ``memory``, without a region, those of the ``places`` that it holds. Raises
    :class:`~tracekit.errors.SourceError`, and :class:`~tracekit.errors.NothingToRecover` where it
    holds none.
    """
    found: list[Found] = []
    sources: list[Source] = []
    for each in given:
        if isinstance(each, RegionSpec):
            found.append(Found(each, GIVEN))
        else:
            region, file = open_region(each)
            stack.enter_context(file.memory)
            found.append(Found(region, GIVEN, file))
    if memory is not None:
        sources = [open_memory(memory)]
        stack.enter_context(sources[0].memory)
        if not given:
            found = [Found(place, MEMORY) for place in _held(sources[0], places)]
    return found, sources


def _held(source: Source, places: Iterable[RegionSpec]) -> list[RegionSpec]:
    """The places that memory holds, the newest of each name. Raises as :func:`open_given`."""
    known = list(dict.fromkeys(places))
    newest = {p.name: p for p in reversed(known) if source.memory.holds(p.address, p.size)}
    if not newest:
        where = ", ".join(f"{p.name}@{p.address:#x}:{p.size:#x}" for p in known)
        lacking = (
            f"it holds none of the regions that the session knows of ({where})"
            if where
            else "the session does not know where the regions lay"
        )
        raise NothingToRecover(
            f"{source.memory.source}: {lacking}: name them, --region NAME@ADDRESS:SIZE. It holds "
            f"{source.memory.describe()}"
        )
    return list(newest.values())[::-1]


def _new(known: Sequence[Found], found: Sequence[Found]) -> list[Found]:
    """Those of ``found`` whose memory is not known yet."""
    ranges = [(f.region.address, f.region.size) for f in known]
    return [f for f in found if (f.region.address, f.region.size) not in ranges]


def _open(discovery: Discovery, stack: ExitStack, sources: Sequence[Source]) -> None:
    for source in sources:
        if source not in discovery.sources:
            discovery.sources.append(source)
            stack.enter_context(source.memory)
