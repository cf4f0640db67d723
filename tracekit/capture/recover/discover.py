"""Finds the physical ranges to fetch: those that KHO carried into this boot."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from tracekit.capture.recover.evidence import (
    Previous,
    why_crash,
    why_no_kho,
)
from tracekit.capture.save.remarks import Remarks
from tracekit.carriers.elf_core import ElfCore
from tracekit.carriers.machine import VMCORE, crash_kernel
from tracekit.carriers.memory import PhysicalMemory
from tracekit.errors import NothingToRecover, ParseError, SourceError
from tracekit.kho.tree import (
    KexecMetadata,
    KhoTree,
    parse_kexec_metadata,
    parse_memblock,
    parse_setup_data,
    parse_tree,
)
from tracekit.parameters import RegionSpec
from tracekit.sysroot import KHO_ROOTS, Sysroot

__all__ = ["Core", "Discovery", "discover", "open_cores"]

_CORES = (VMCORE, "proc/kcore")  # a crash kernel's vmcore holds what its kcore does not
_SETUP_KEXEC_KHO = 10  # arch/x86/include/uapi/asm/setup_data.h
_SETUP_DATA = "sys/kernel/boot_params/setup_data"
_DT_POINTER = "sys/firmware/devicetree/base/chosen/linux,kho-fdt"
_MAX_BLOB = 16 << 20


@dataclass(frozen=True, slots=True)
class Core:
    """A source of physical memory: ``kcore`` or ``vmcore``."""

    carrier: str
    path: str
    memory: PhysicalMemory


@dataclass(slots=True)
class Discovery:
    """The regions to fetch, and the KHO data that came (name in ``kho/in/`` -> bytes).

    ``how`` is ``kho memblock``, ``vmcore`` or ``--region``; ``metadata`` is None where KHO has
    none. ``crash`` is what shows that this is a crash kernel, '' where nothing does; ``carried``
    are the regions that KHO says it brought, whatever is fetched.
    """

    how: str
    regions: list[RegionSpec]
    blobs: dict[str, bytes] = field(default_factory=dict)
    metadata: KexecMetadata | None = None
    crash: str = ""
    carried: tuple[RegionSpec, ...] = ()


def open_cores(root: Sysroot, remarks: Remarks) -> list[Core]:
    """Open every ELF core the root has; one that cannot be used becomes a remark."""
    cores: list[Core] = []
    for rel in _CORES:
        stream: BinaryIO | None = None
        try:
            stream = root.open_binary(rel)
            if stream is not None:
                memory = ElfCore(stream, root.where(rel))
                cores.append(Core(rel.rpartition("/")[2], rel, memory))
        except SourceError as error:
            if stream is not None:
                stream.close()
            remarks.add("core-unusable", "warning", rel, str(error))
    return cores


def _pointer(root: Sysroot, remarks: Remarks) -> tuple[str, int, int] | None:
    """Where the boot parameters say the KHO tree is: (their file, physical address, size)."""
    for rel in remarks.glob(root, f"{_SETUP_DATA}/*/type"):
        kind = (remarks.get(root, rel, None) or b"").strip().decode("ascii", "replace")
        data = remarks.get(root, rel.removesuffix("type") + "data", None)
        if kind in (str(_SETUP_KEXEC_KHO), hex(_SETUP_KEXEC_KHO)) and data is not None:
            try:
                return root.where(rel), *parse_setup_data(data, root.where(rel))
            except ParseError as error:
                remarks.add("kho-pointer-invalid", "warning", rel, str(error))
    value = remarks.get(root, _DT_POINTER, None)
    if value is not None and len(value) == 16:  # two cells each; a device tree is big-endian
        address, size = struct.unpack(">QQ", value)
        return root.where(_DT_POINTER), address, size
    return None


def _fetch(cores: Sequence[Core], address: int, size: int | None) -> bytes | None:
    """A blob from physical memory; without ``size`` it is a device tree, whose header has it."""
    for core in cores:
        try:
            if size is None:
                size = struct.unpack(">4xI", core.memory.read(address, 8))[0]
            if 0 < size <= _MAX_BLOB:
                return core.memory.read(address, size)
        except SourceError:
            continue
    return None


def _read_blobs(root: Sysroot, cores: Sequence[Core], remarks: Remarks) -> dict[str, bytes]:
    """``fdt`` and ``sub_fdts/*`` from debugfs, else from physical memory."""
    for place in KHO_ROOTS:
        fdt = remarks.get(root, f"{place}/in/fdt", None)
        if fdt is None:
            continue
        blobs = {"fdt": fdt}
        for rel in remarks.glob(root, f"{place}/in/sub_fdts/*"):
            if (data := remarks.get(root, rel)) is not None:
                blobs[rel.removeprefix(f"{place}/in/")] = data
        return blobs
    pointer = _pointer(root, remarks)
    if pointer is not None and (fdt := _fetch(cores, *pointer[1:])) is not None:
        return {"fdt": fdt}
    return {}


def _handover(blobs: dict[str, bytes], cores: Sequence[Core], remarks: Remarks) -> KhoTree | None:
    """Parse the root tree, and fetch the blobs it names that debugfs did not have."""
    try:
        handover = parse_tree(blobs["fdt"], "KHO fdt", remarks.append)
    except ParseError as error:
        remarks.add("kho-fdt-invalid", "error", "kho/in/fdt", str(error))
        return None
    for name in ("memblock", "kexec-metadata"):
        blob = handover.blob(name)
        if blob is not None and f"sub_fdts/{name}" not in blobs:
            data = _fetch(cores, blob.address, blob.size)
            if data is not None:
                blobs[f"sub_fdts/{name}"] = data
    return handover


def _metadata(blobs: dict[str, bytes], remarks: Remarks) -> KexecMetadata | None:
    data = blobs.get("sub_fdts/kexec-metadata")
    if data is None:
        return None
    try:
        return parse_kexec_metadata(data, report=remarks.append)
    except ParseError as error:
        remarks.add("kexec-metadata-invalid", "warning", "kexec-metadata", str(error))
        return None


def discover(
    root: Sysroot,
    given: Sequence[RegionSpec],
    cores: Sequence[Core],
    remarks: Remarks,
    previous: Previous | None = None,
) -> Discovery:
    """The regions to fetch: those given, else those in KHO's ``memblock`` blob.

    ``previous`` is what the session knows of the kernel before this one. Raises
    :class:`~tracekit.errors.NothingToRecover`, which lists all places that were searched.
    """
    crash = crash_kernel(root)
    blobs = _read_blobs(root, cores, remarks)
    if crash and VMCORE not in crash:
        blobs = {}  # what a device tree still names was meant for another kernel
    crash = "" if blobs else crash
    handover = _handover(blobs, cores, remarks) if blobs else None
    discovery = Discovery("--region", list(given), blobs, _metadata(blobs, remarks), crash)
    if given:
        discovery.carried = tuple(_carried(blobs))
        return discovery
    if crash:
        return _crashed(discovery, cores, remarks, previous)
    discovery.how = "kho memblock"
    if not blobs:
        pointer = _pointer(root, Remarks())
        memories = [core.memory for core in cores]
        files = [root.where(f"{place}/in/fdt") for place in KHO_ROOTS]
        raise NothingToRecover(
            why_no_kho(
                root,
                remarks,
                looked=", ".join((*files, root.where(_SETUP_DATA), root.where(_DT_POINTER))),
                pointer=pointer[0] if pointer else None,
                previous=previous,
                memories=memories,
            )
        )
    memblock = blobs.get("sub_fdts/memblock")
    if memblock is None:
        names = ", ".join(blob.name for blob in handover.blobs) if handover else "nothing readable"
        raise NothingToRecover(
            "KHO carried no reserve_mem region: its tree has no memblock blob, only "
            f"{names or 'nothing'}. The old kernel needs reserve_mem=SIZE:ALIGN:NAME and "
            "trace_instance=tk@NAME on its command line; else use --region NAME@ADDRESS:SIZE"
        )
    try:
        regions = parse_memblock(memblock, "KHO memblock", remarks.append)
    except ParseError as error:
        raise NothingToRecover(
            f"KHO's memblock blob is damaged: {error}; use --region NAME@ADDRESS:SIZE"
        ) from error
    if not regions:
        raise NothingToRecover(
            "KHO's memblock blob lists no usable region: the old kernel needs "
            "reserve_mem=SIZE:ALIGN:NAME on its command line"
        )
    discovery.regions = [RegionSpec(region.name, region.address, region.size) for region in regions]
    discovery.carried = tuple(discovery.regions)
    return discovery


def _carried(blobs: dict[str, bytes]) -> list[RegionSpec]:
    """The regions in KHO's ``memblock`` blob; none where it is absent or damaged."""
    try:
        regions = parse_memblock(blobs.get("sub_fdts/memblock", b""), "KHO memblock")
    except ParseError:
        return []
    return [RegionSpec(region.name, region.address, region.size) for region in regions]


def _crashed(
    discovery: Discovery, cores: Sequence[Core], remarks: Remarks, previous: Previous | None
) -> Discovery:
    """The regions of the kernel that crashed, where the session says that they lay, in vmcore.

    Raises :class:`~tracekit.errors.NothingToRecover`.
    """
    memories = [core.memory for core in cores if core.path == VMCORE]
    places = previous.places if previous else ()
    held = [p for p in dict.fromkeys(places) if any(m.holds(p.address, p.size) for m in memories)]
    if not held:
        raise NothingToRecover(why_crash(discovery.crash, previous, memories, remarks.diagnostics))
    discovery.how = "vmcore"
    discovery.regions = list({place.name: place for place in reversed(held)}.values())[::-1]
    return discovery
