"""Every blob that KHO's root tree names, as items: those that are known, and what can be read of
others.

``memblock`` and ``kexec-metadata`` are the kernel's own, ``LUO`` the Live Update Orchestrator's,
``ftrace`` that of the first patches (January 2024, never merged); IMA and TPM have been proposed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tracekit.binary import Cursor
from tracekit.errors import Diagnostic, ParseError
from tracekit.kho.fdt import Node, parse_fdt
from tracekit.kho.item import Item, item, range_text, size_text
from tracekit.kho.luo import LUO
from tracekit.kho.luo_items import luo_items
from tracekit.kho.memory import Reader
from tracekit.kho.tree import parse_kexec_metadata, parse_memblock
from tracekit.kho.tree_items import remark_items, tree_items, unknown_items

__all__ = ["blob_items", "blob_note"]

_FDT_MAGIC = b"\xd0\x0d\xfe\xed"
_MOST_CPUS = 4096


def _memblock(data: bytes, _: Reader) -> Iterator[Item]:
    remarks: list[Diagnostic] = []
    for region in parse_memblock(data, "memblock", remarks.append):
        note = (
            f"The reserve_mem region {region.name!r}: {region.size} bytes of physical memory from "
            f"{region.address:#x} on, which no kernel of the chain gives to anybody else."
        )
        yield item(region.name, range_text(region.address, region.size), note)
    yield from remark_items(remarks)


def _metadata(data: bytes, _: Reader) -> Iterator[Item]:
    remarks: list[Diagnostic] = []
    metadata = parse_kexec_metadata(data, report=remarks.append)
    yield item("previous kernel", metadata.release)
    yield item("kexecs with KHO", f"{metadata.kexec_count} since the last boot through firmware")
    yield item("version", metadata.version)
    yield from remark_items(remarks)


def _pairs(node: Node, name: str) -> tuple[int, ...]:
    raw = node.properties.get(name, b"")
    return Cursor(raw[: len(raw) // 16 * 16], name).array("Q", len(raw) // 16 * 2, name)


def _ftrace_cpu(node: Node) -> Item:
    sizes = _pairs(node, "mem")[1::2]
    pages = f"{len(sizes) // 2} pages, {size_text(min(sum(sizes), 1 << 64))}"
    return item(node.name, pages, "The addresses of a ring buffer's pages and what describes them.")


def _ftrace(data: bytes, _: Reader) -> Iterator[Item]:
    """``ftrace-v1``: instances with CPUs, each with the pages of its ring buffer."""
    root = parse_fdt(data, "ftrace")
    yield item("compatible", ", ".join(root.strings("compatible")) or "no version")
    events = root.properties.get("events")
    if events is not None:
        yield item("events", f"{len(events) // 8} with their checksums")
    for node in root.children:
        children = [_ftrace_cpu(child) for child in node.children[:_MOST_CPUS]]
        kind = ", ".join(node.strings("compatible"))
        yield item(node.name, f"{kind}, {len(children)} CPUs", children=children)


def _luo(data: bytes, read: Reader) -> Iterator[Item]:
    return luo_items(data, read)


def _other(data: bytes, _: Reader) -> Iterator[Item]:
    if data.startswith(_FDT_MAGIC):
        return tree_items(parse_fdt(data, "blob"))
    return unknown_items(data)


_Readers = Mapping[str, tuple[Callable[[bytes, Reader], Iterator[Item]], str]]
_KNOWN: _Readers = {
    "memblock": (_memblock, "The reserve_mem regions of the command line that were carried on."),
    "kexec-metadata": (_metadata, "What the previous kernel says of itself."),
    LUO: (_luo, "The Live Update Orchestrator: files and sessions that user space had preserved."),
    "ftrace": (
        _ftrace,
        "Ring buffers of the tracer, as the first patches handed them on.",
    ),
    "ima": (_other, "Measurements of the integrity subsystem (IMA)."),
    "tpm": (_other, "The event log of the trusted platform module (TPM)."),
}


def blob_note(name: str) -> str:
    """What a blob of this name is."""
    default = (_other, "A blob of a subsystem that tracekit knows nothing of.")
    return _KNOWN.get(name, _KNOWN.get(name.lower(), default))[1]


def blob_items(name: str, data: bytes, read: Reader) -> list[Item]:
    """What is in the blob; where it is not what its name says, why, and its bytes.

    ``read`` reads memory it points to.
    """
    reader = _KNOWN.get(name, _KNOWN.get(name.lower(), (_other, "")))[0]
    try:
        return list(reader(data, read))
    except ParseError as error:
        return [item("not known", "", str(error), amiss=True), *unknown_items(data)]
