"""KHO (Kexec HandOver): ``reserve_mem`` regions that the old kernel handed on to this one.

``reserve_mem_kho_finalize()`` in ``mm/memblock.c`` lists them in the blob ``memblock`` of KHO's
tree; the tree lies in memory, where the boot parameters point to, and debugfs shows it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from tracekit.carriers.carrier import Arrival, Found, Promise, Source, State, Verdict
from tracekit.carriers.evidence import why_no_kho
from tracekit.carriers.machine import Machine
from tracekit.errors import NothingToRecover, ParseError, SourceError
from tracekit.kho.tree import (
    KexecMetadata,
    parse_kexec_metadata,
    parse_memblock,
    parse_setup_data,
    parse_tree,
)
from tracekit.parameters import RegionSpec
from tracekit.remarks import Remarks
from tracekit.sysroot import KHO_ROOTS, Sysroot

__all__ = ["KhoRegions", "carried", "metadata", "read_kho"]

_SETUP_KEXEC_KHO = 10  # arch/x86/include/uapi/asm/setup_data.h
_SETUP_DATA = "sys/kernel/boot_params/setup_data"
_DT_POINTER = "sys/firmware/devicetree/base/chosen/linux,kho-fdt"
_MAX_BLOB = 16 << 20
_ANY_RANGE = "use --region NAME@ADDRESS:SIZE"


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


def _fetch(cores: Sequence[Source], address: int, size: int | None) -> bytes | None:
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


def _root_tree(root: Sysroot, cores: Sequence[Source], remarks: Remarks) -> dict[str, bytes]:
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


def read_kho(root: Sysroot, cores: Sequence[Source], remarks: Remarks) -> dict[str, bytes]:
    """KHO's data by their names in ``kho/in/``; none where nothing came. A damaged tree: a remark.

    What the tree names and debugfs does not have is fetched from physical memory.
    """
    blobs = _root_tree(root, cores, remarks)
    if not blobs:
        return {}
    try:
        handover = parse_tree(blobs["fdt"], "KHO fdt", remarks.append)
    except ParseError as error:
        remarks.add("kho-fdt-invalid", "error", "kho/in/fdt", str(error))
        return blobs
    for name in ("memblock", "kexec-metadata"):
        blob = handover.blob(name)
        if blob is not None and f"sub_fdts/{name}" not in blobs:
            data = _fetch(cores, blob.address, blob.size)
            if data is not None:
                blobs[f"sub_fdts/{name}"] = data
    return blobs


def metadata(blobs: Mapping[str, bytes], remarks: Remarks) -> KexecMetadata | None:
    """The chain of kernels, where KHO has it."""
    data = blobs.get("sub_fdts/kexec-metadata")
    if data is None:
        return None
    try:
        return parse_kexec_metadata(data, report=remarks.append)
    except ParseError as error:
        remarks.add("kexec-metadata-invalid", "warning", "kexec-metadata", str(error))
        return None


def carried(blobs: Mapping[str, bytes]) -> list[RegionSpec]:
    """The regions in KHO's ``memblock`` blob; none where it is absent or damaged."""
    try:
        regions = parse_memblock(blobs.get("sub_fdts/memblock", b""), "KHO memblock")
    except ParseError:
        return []
    return [RegionSpec(region.name, region.address, region.size) for region in regions]


class KhoRegions:
    """The carrier."""

    name = "kho"
    promise = Promise(
        ("kexec",),
        "complete, for two regions take turns",
        "a kernel with CONFIG_KEXEC_HANDOVER, kho=on and reserve_mem= on every kernel's command "
        "line, and kexec -s; a crash kernel reads the regions from /proc/vmcore",
    )

    def describe(self, machine: Machine) -> Verdict:
        """By the configuration, the command line and debugfs."""
        built, on = machine.kho_built, machine.kho_enabled
        reserved = [m.name for m in machine.command.reserve_mem]
        mine = next((i for i in machine.command.instances if i.region in reserved), None)
        remedy = "tracekit setup --carrier kho"

        def verdict(state: State, why: str, remedy: str = "") -> Verdict:
            return Verdict(self.name, state, why, self.promise, remedy)

        if built is False:
            return verdict("no", f"this kernel ({machine.release}) has no kexec handover")
        if machine.gave_up_kho:
            why = f"the log says: {machine.gave_up_kho}"
            return verdict("no", why, "reserve less for it (kho_scratch=), or use a carve-out")
        shown = machine.kho is not None
        if not shown and on is False:
            return verdict("possible", "kho= is off on the command line, or by default", remedy)
        if built is None or (on is None and not shown):
            why = "whether KHO is on is not to be seen: the configuration is not known, nor debugfs"
            return verdict("unknown", why, remedy if built else "boot with kho=on to find out")
        if mine is not None:
            return verdict("in use", f"{mine.name} is on {mine.region}, which KHO hands on")
        return verdict("possible", "KHO is on, but no trace instance is on a region", remedy)

    def find(self, arrival: Arrival) -> list[Found]:
        """The regions in KHO's ``memblock`` blob."""
        root = arrival.machine.root
        if arrival.crash:
            raise NothingToRecover("")
        if not arrival.kho:
            pointer = _pointer(root, Remarks())
            files = [root.where(f"{place}/in/fdt") for place in KHO_ROOTS]
            raise NothingToRecover(
                why_no_kho(
                    root,
                    arrival.remarks,
                    looked=", ".join((*files, root.where(_SETUP_DATA), root.where(_DT_POINTER))),
                    pointer=pointer[0] if pointer else None,
                    previous=arrival.previous,
                )
            )
        memblock = arrival.kho.get("sub_fdts/memblock")
        if memblock is None:
            raise NothingToRecover(
                f"KHO carried no reserve_mem region: its tree has no memblock blob, only "
                f"{_blob_names(arrival.kho)}. The old kernel needs reserve_mem=SIZE:ALIGN:NAME and "
                f"trace_instance=tk@NAME on its command line; else {_ANY_RANGE}"
            )
        try:
            regions = parse_memblock(memblock, "KHO memblock", arrival.remarks.append)
        except ParseError as error:
            message = f"KHO's memblock blob is damaged: {error}; {_ANY_RANGE}"
            raise NothingToRecover(message) from error
        if not regions:
            raise NothingToRecover(
                "KHO's memblock blob lists no usable region: the old kernel needs "
                "reserve_mem=SIZE:ALIGN:NAME on its command line"
            )
        return [Found(RegionSpec(r.name, r.address, r.size), "kho memblock") for r in regions]

    def read(self, arrival: Arrival, regions: Sequence[RegionSpec]) -> Sequence[Source]:
        """``/proc/kcore``."""
        return arrival.cores if regions else ()


def _blob_names(blobs: Mapping[str, bytes]) -> str:
    try:
        handover = parse_tree(blobs["fdt"], "KHO fdt", lambda _: None)
    except ParseError:
        return "nothing readable"
    return ", ".join(blob.name for blob in handover.blobs) or "nothing"
