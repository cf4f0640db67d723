"""Finds the physical ranges to fetch: those given, else those that carriers brought here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO

from tracekit.carriers.carrier import Arrival, Found, Source
from tracekit.carriers.choice import CARRIERS
from tracekit.carriers.elf_core import ElfCore
from tracekit.carriers.evidence import Previous
from tracekit.carriers.kho_regions import carried, metadata, read_kho
from tracekit.carriers.machine import VMCORE, Machine
from tracekit.errors import NothingToRecover, SourceError
from tracekit.kho.tree import KexecMetadata
from tracekit.parameters import RegionSpec
from tracekit.remarks import Remarks
from tracekit.sysroot import Sysroot

__all__ = ["GIVEN", "Discovery", "discover", "open_cores"]

GIVEN = "--region"  #: ``Found.how`` of the regions that the user named
_CORES = (VMCORE, "proc/kcore")  # a crash kernel's vmcore holds what its kcore does not


@dataclass(slots=True)
class Discovery:
    """The regions to fetch, what they can be copied from, and the KHO data that came.

    ``kho``: name in ``kho/in/`` -> bytes; ``metadata`` is None where KHO has none. ``crash`` is
    what shows that this is a crash kernel, '' where nothing does; ``carried`` are the regions that
    KHO says it brought, whatever is fetched.
    """

    found: list[Found]
    sources: list[Source]
    kho: Mapping[str, bytes] = field(default_factory=dict)
    metadata: KexecMetadata | None = None
    crash: str = ""
    carried: tuple[RegionSpec, ...] = ()

    @property
    def given(self) -> bool:
        """Whether the user named the regions."""
        return any(found.how == GIVEN for found in self.found)

    def how(self, region: RegionSpec) -> str:
        """How a region became known."""
        return next((f.how for f in self.found if f.region == region), GIVEN)


def open_cores(root: Sysroot, remarks: Remarks, stack: ExitStack) -> list[Source]:
    """Open every ELF core the root has; one that cannot be used becomes a remark."""
    cores: list[Source] = []
    for rel in _CORES:
        stream: BinaryIO | None = None
        try:
            stream = root.open_binary(rel)
            if stream is not None:
                memory = stack.enter_context(ElfCore(stream, root.where(rel)))
                cores.append(Source(rel.rpartition("/")[2], memory))
        except SourceError as error:
            if stream is not None:
                stream.close()
            remarks.add("core-unusable", "warning", rel, str(error))
    return cores


def discover(
    root: Sysroot,
    given: Sequence[RegionSpec],
    remarks: Remarks,
    stack: ExitStack,
    previous: Previous | None = None,
) -> Discovery:
    """The regions to fetch: those given, else those that the carriers find.

    ``previous`` is what the session knows of the kernel before this one; ``stack`` closes what is
    opened. Raises :class:`~tracekit.errors.NothingToRecover`, which says what every carrier lacks.
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
    if given:
        discovery.found = [Found(spec, GIVEN) for spec in given]
        for carrier in CARRIERS:
            _open(discovery, stack, carrier.read(arrival, given))
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
        raise NothingToRecover("\n".join(filter(None, reasons)))
    return discovery


def _new(known: Sequence[Found], found: Sequence[Found]) -> list[Found]:
    """Those of ``found`` whose memory is not known yet."""
    ranges = [(f.region.address, f.region.size) for f in known]
    return [f for f in found if (f.region.address, f.region.size) not in ranges]


def _open(discovery: Discovery, stack: ExitStack, sources: Sequence[Source]) -> None:
    for source in sources:
        if source not in discovery.sources:
            discovery.sources.append(source)
            stack.enter_context(source.memory)
