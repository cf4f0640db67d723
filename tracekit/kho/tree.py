"""What one kernel hands to the next through KHO: the root tree and the blobs recovery needs.

Pure functions over bytes. The containers are device trees, the numbers inside them native-endian
(little-endian on every machine tracekit runs on). Sources: ``include/linux/kho/abi/*.h``,
``kernel/liveupdate/kexec_handover.c`` and, for ``memblock``, ``prepare_kho_fdt()`` in
``mm/memblock.c``. Versions are told apart by the properties that are there, never by comparing
the whole ``compatible`` string: later trees append to it (``kho-v4;radix-v1;vmalloc-v1``).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tracekit.binary import Cursor
from tracekit.errors import Diagnostic, ParseError
from tracekit.frozen import dataclass
from tracekit.kho.fdt import Node, parse_fdt

__all__ = [
    "KexecMetadata",
    "KhoTree",
    "PreservedRegion",
    "SubBlob",
    "parse_kexec_metadata",
    "parse_memblock",
    "parse_setup_data",
    "parse_tree",
]

_KNOWN_VERSIONS = frozenset({1, 2, 3, 4})
_KHO_VERSION = re.compile(r"kho-v(\d{1,6})")
# KHO_SUB_TREE_PROP_NAME: "preserved-data" from kho-v2 on, "fdt" before.
_ADDRESS_PROPERTIES = ("preserved-data", "fdt")
_SIZE_PROPERTY = "blob-size"  # KHO_SUB_TREE_SIZE_PROP_NAME, from kho-v3 on
_MAP_PROPERTY = "preserved-memory-map"
_MEMBLOCK, _RESERVE_MEM = "memblock-v1", "reserve-mem-v1"
_KERNEL_REGIONS = 8  # RESERVE_MEM_MAX_ENTRIES
_KERNEL_NAME = 15  # RESERVE_MEM_NAME_SIZE less the NUL
_MAX_REGIONS = 64  # more than any kernel so far carries: a later one may raise its limit
_RELEASE = 65  # __NEW_UTS_LEN + 1
_METADATA_VERSION = 1  # KHO_KEXEC_METADATA_VERSION

_Report = Callable[[Diagnostic], object]


def _ignore(_: Diagnostic) -> None:
    """The report of a caller that wants none."""


@dataclass(frozen=True, slots=True)
class SubBlob:
    """A blob the root tree points to: physical address and size in bytes.

    ``size`` is None where the version does not record it (``kho-v1``, ``kho-v2``: the blob is a
    device tree and says so itself).
    """

    name: str
    address: int
    size: int | None


@dataclass(frozen=True, slots=True)
class KhoTree:
    """The root tree: ABI names, the KHO version (None when unknown) and what it points to."""

    compatible: tuple[str, ...]
    version: int | None
    map_address: int | None
    blobs: tuple[SubBlob, ...]

    def blob(self, name: str) -> SubBlob | None:
        """The blob called ``name``, or None."""
        return next((blob for blob in self.blobs if blob.name == name), None)


@dataclass(frozen=True, slots=True)
class PreservedRegion:
    """A ``reserve_mem`` region that was carried: physical address and size in bytes."""

    name: str
    address: int
    size: int


@dataclass(frozen=True, slots=True)
class KexecMetadata:
    """The ``kexec-metadata`` blob (7.1 and later), written by the previous kernel.

    ``release`` is the previous kernel's ``uname -r``; ``kexec_count`` is how many kexecs with KHO
    led to the kernel that reads it: 1 after the first.
    """

    version: int
    release: str
    kexec_count: int


def _compatible(node: Node) -> tuple[str, ...]:
    """Every ABI name of a node: its strings, each split on ``;``."""
    return tuple(part for text in node.strings("compatible") for part in text.split(";") if part)


def _u64(node: Node, name: str, source: str, report: _Report) -> int | None:
    """The 8-byte property ``name``, or None when it is absent or of another size."""
    value = node.properties.get(name)
    if value is None:
        return None
    if len(value) != 8:
        report(
            Diagnostic(
                "kho-property-size",
                "warning",
                f"{source} {node.name or '/'}:{name}",
                f"expected 8 bytes, found {len(value)}; ignored",
            )
        )
        return None
    return Cursor(value, source).u64(name)


def _sub_blob(node: Node, source: str, report: _Report) -> SubBlob | None:
    for name in _ADDRESS_PROPERTIES:
        if (address := _u64(node, name, source, report)) is not None:
            return SubBlob(node.name, address, _u64(node, _SIZE_PROPERTY, source, report))
    report(
        Diagnostic(
            "kho-node-without-blob",
            "info",
            f"{source} {node.name}",
            f"none of {', '.join(_ADDRESS_PROPERTIES)} is there; the node is ignored",
        )
    )
    return None


def parse_tree(data: bytes, source: str, report: _Report = _ignore) -> KhoTree:
    """Read the root tree (``kho/in/fdt``). An unknown version is reported and read all the same.

    Raises :class:`~tracekit.errors.ParseError` when it is not a device tree.
    """
    root = parse_fdt(data, source)
    names = _compatible(root)
    versions = [int(m[1]) for name in names if (m := _KHO_VERSION.fullmatch(name))]
    version = versions[0] if versions else None
    if version not in _KNOWN_VERSIONS:
        report(
            Diagnostic(
                "kho-version-unknown",
                "warning",
                source,
                f"compatible is {';'.join(names)[:120]!r}; kho-v1 to kho-v4 are known. "
                "It is read as well as its properties allow",
            )
        )
    blobs = [_sub_blob(node, source, report) for node in root.children]
    return KhoTree(
        names,
        version,
        _u64(root, _MAP_PROPERTY, source, report),
        tuple(blob for blob in blobs if blob is not None),
    )


def _reserve_mem(node: Node, source: str, report: _Report) -> PreservedRegion | None:
    where = f"{source} {node.name}"
    if _RESERVE_MEM not in _compatible(node):
        report(
            Diagnostic(
                "memblock-node-unknown",
                "warning",
                where,
                f"compatible is {_compatible(node)}, not {_RESERVE_MEM}; read as if it were",
            )
        )
    start, size = _u64(node, "start", source, report), _u64(node, "size", source, report)
    if start is None or not size or start + size > 1 << 64 or not node.name:
        report(
            Diagnostic(
                "memblock-region-invalid",
                "warning",
                where,
                f"start {start} and size {size} are no physical range; the region is ignored",
            )
        )
        return None
    if len(node.name) > _KERNEL_NAME:
        report(
            Diagnostic(
                "memblock-name-long",
                "info",
                where,
                f"the kernel's names have at most {_KERNEL_NAME} characters",
            )
        )
    return PreservedRegion(node.name, start, size)


def parse_memblock(
    data: bytes, source: str = "memblock", report: _Report = _ignore
) -> list[PreservedRegion]:
    """The carried ``reserve_mem`` regions, in the tree's order.

    A node that makes no sense is reported and left out, and so is a second region of the same
    name. Raises :class:`~tracekit.errors.ParseError` when ``data`` is not a device tree.
    """
    root = parse_fdt(data, source)
    if _MEMBLOCK not in _compatible(root):
        report(
            Diagnostic(
                "memblock-version-unknown",
                "warning",
                source,
                f"compatible is {_compatible(root)}, not {_MEMBLOCK}; read as if it were",
            )
        )
    if len(root.children) > _KERNEL_REGIONS:
        report(
            Diagnostic(
                "memblock-many-regions",
                "warning",
                source,
                f"{len(root.children)} regions; kernels so far carry at most {_KERNEL_REGIONS}, "
                f"{_MAX_REGIONS} are read",
            )
        )
    regions: dict[str, PreservedRegion] = {}
    for node in root.children[:_MAX_REGIONS]:
        region = _reserve_mem(node, source, report)
        if region is None:
            continue
        if region.name in regions:
            report(
                Diagnostic(
                    "memblock-name-twice",
                    "warning",
                    f"{source} {region.name}",
                    f"a second region of this name at {region.address:#x} is ignored",
                )
            )
            continue
        regions[region.name] = region
    return list(regions.values())


def parse_kexec_metadata(
    data: bytes, source: str = "kexec-metadata", report: _Report = _ignore
) -> KexecMetadata:
    """Read ``struct kho_kexec_metadata`` (73 bytes, packed).

    A version other than 1 is reported and read all the same. Raises
    :class:`~tracekit.errors.ParseError` when the blob is too short.
    """
    cursor = Cursor(data, source)
    version = cursor.u32("the version")
    if version != _METADATA_VERSION:
        report(
            Diagnostic(
                "kexec-metadata-version",
                "warning",
                source,
                f"version {version}; {_METADATA_VERSION} is known, read as if it were that",
            )
        )
    release = cursor.cstr(_RELEASE, "the previous kernel's release")
    if not release.isprintable():
        raise ParseError(f"{source}: at offset 0x4: not a kernel release: {release[:40]!r}")
    return KexecMetadata(version, release, cursor.u32("the kexec count"))


def parse_setup_data(data: bytes, source: str = "setup_data") -> tuple[int, int]:
    """(physical address, size in bytes) of the root tree, from x86 setup data of type 10.

    ``struct kho_data`` in ``arch/x86/include/uapi/asm/setup_data.h``: where the boot loader's
    side of KHO leaves the tree, with or without debugfs. Raises
    :class:`~tracekit.errors.ParseError`.
    """
    cursor = Cursor(data, source)
    return cursor.u64("the address of the KHO tree"), cursor.u64("the size of the KHO tree")
