"""What LUO's handlers put down for a file or a shared object, by the handler's version.

``include/linux/kho/abi/memfd.h`` and, of what is only proposed, the patches that add guest_memfd,
KVM, VFIO, PCI and IOMMU. The version is a text that the list of files has; the form with feature
bits has none (``memfd``). A version that is not known is shown as the bytes it begins with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from tracekit.binary import Cursor
from tracekit.errors import ParseError, SourceError
from tracekit.frozen import dataclass
from tracekit.kho.luo import FEATURE_HEADER
from tracekit.kho.memory import PAGE, Reader

__all__ = ["Fact", "FileState", "Folio", "describe_data", "file_contents"]

_SEALS = ("SEAL", "SHRINK", "GROW", "WRITE", "FUTURE_WRITE", "EXEC")  # F_SEAL_*, fcntl.h
_FOLIO = 16  # bytes of struct memfd_luo_folio_ser
_MOST_FOLIOS = 1 << 12
_PER_CHUNK = 511  # physical addresses in a page of struct kho_vmalloc_chunk
_MOST_CONTENT = 1 << 20
_SHOWN = 64
_MOST_DEVICES = 255

Fact = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Folio:
    """A preserved piece of a file: physical address, flags (1 dirty, 2 up to date), page offset."""

    address: int
    flags: int
    index: int


@dataclass(frozen=True, slots=True)
class FileState:
    """``kind`` in words; ``size`` of the file in bytes; ``facts``: (label, value).

    ``pieces``: in how many it is preserved, and ``folios`` the first few thousand of them, None
    where they could not be read. ``known`` is False for a version that nobody here knows;
    ``problem`` says what could not be read.
    """

    kind: str
    size: int | None = None
    facts: tuple[Fact, ...] = ()
    pieces: int | None = None
    folios: tuple[Folio, ...] | None = None
    known: bool = True
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Vmalloc:
    """``struct kho_vmalloc``: pages of an array that lies in virtual memory."""

    first: int
    pages: int
    order: int


def _vmalloc(cursor: Cursor) -> _Vmalloc:
    first, pages = cursor.u64("the list of pages"), cursor.u32("the number of pages")
    _, order = cursor.array("H", 2, "flags and order")
    return _Vmalloc(first, pages, order)


def _array(read: Reader, where: _Vmalloc, size: int) -> bytes:
    """The first ``size`` bytes of the array. Raises :class:`~tracekit.errors.SourceError`."""
    parts: list[bytes] = []
    chunk, piece, seen = where.first, PAGE << min(where.order, 10), set[int]()
    while chunk and size > 0 and chunk not in seen:
        seen.add(chunk)
        following, *pages = Cursor(read(chunk, PAGE), f"pages at {chunk:#x}").array(
            "Q", 1 + _PER_CHUNK, "a list of pages"
        )
        for page in pages:
            if not page or size <= 0:
                break
            parts.append(read(page, min(piece, size)))
            size -= len(parts[-1])
        chunk = following
    if size > 0:
        raise SourceError(f"the list of pages at {where.first:#x} ends too early")
    return b"".join(parts)


def _folios(read: Reader, where: _Vmalloc, count: int) -> tuple[tuple[Folio, ...] | None, str]:
    count = min(count, _MOST_FOLIOS)
    if not count:
        return (), ""
    try:
        data = _array(read, where, count * _FOLIO)
    except SourceError as error:
        return None, str(error)
    words = Cursor(data, "folios").array("Q", 2 * count, "the folios")
    return tuple(
        Folio((word & (1 << 52) - 1) * PAGE, word >> 52, index)
        for word, index in zip(words[::2], words[1::2], strict=True)
    ), ""


def _bits(value: int, names: tuple[str, ...]) -> str:
    known = [name for bit, name in enumerate(names) if value >> bit & 1]
    unknown = value >> len(names) << len(names)
    return ", ".join(known + ([f"unknown {unknown:#x}"] if unknown else [])) or "none"


def _memfd(version: int, data: int, read: Reader) -> FileState:
    """Versions 1 and 2; 3 stands for the form behind a feature header."""
    start = FEATURE_HEADER if version == 3 else 0
    head = Cursor(read(data, start + (48 if version > 1 else 40)), "memfd", start)
    position, size = head.u64("the position"), head.u64("the size")
    facts = [("position", f"{position}")]
    if version > 1:
        facts += [
            ("seals", _bits(head.u32("the seals"), _SEALS)),
            ("flags", f"{head.u32('the flags'):#x}"),
        ]
    count = head.u64("the number of folios")
    folios, problem = _folios(read, _vmalloc(head), count)
    facts.append(("pieces", f"{count}"))
    return FileState("memory file (memfd)", size, tuple(facts), count, folios, problem=problem)


def _guest_memfd(data: int, read: Reader) -> FileState:
    head = Cursor(read(data, 48), "guest_memfd")
    size, flags, count = (head.u64(what) for what in ("the size", "the flags", "the folios"))
    token = head.u64("the VM's token")
    folios, problem = _folios(read, _vmalloc(head), count)
    facts = (("flags", f"{flags:#x}"), ("of the VM with token", f"{token:#x}"),
             ("pieces", f"{count}"))  # fmt: skip
    return FileState("a guest's memory (guest_memfd)", size, facts, count, folios, problem=problem)


def _kvm(data: int, read: Reader) -> FileState:
    head = Cursor(read(data, 16), "kvm_vm")
    facts = (("type", f"{head.u64('the type')}"),
             ("memory attributes", f"{head.u64('the number of attributes')}"))  # fmt: skip
    return FileState("a virtual machine (KVM)", None, facts)


def _device(domain: int, bdf: int) -> str:
    return f"{domain:04x}:{bdf >> 8:02x}:{bdf >> 3 & 31:02x}.{bdf & 7}"


def _vfio(version: int, data: int, read: Reader) -> FileState:
    head = Cursor(read(data, 8), "vfio-pci")
    domain = head.u32("the domain")
    (bdf,) = head.array("H", 1, "bus, device and function")
    facts = [("device", _device(domain, bdf))]
    if version > 1:
        facts.append(("reset works", "yes" if head.take(1, "reset")[0] else "no"))
    return FileState("a device (VFIO)", None, tuple(facts))


def _pci(data: int, read: Reader) -> FileState:
    most, count = Cursor(read(data, 8), "pci").array("I", 2, "room and count")
    facts = [("devices", f"{count} of {most}")]
    shown = min(count, _MOST_DEVICES)
    entries = Cursor(read(data + 8, 8 * shown), "pci devices")
    for _ in range(shown):
        domain = entries.u32("a domain")
        bdf, references = entries.array("H", 2, "a device")
        facts.append((_device(domain, bdf), f"{references} references"))
    return FileState("PCI devices that stay as they are", None, tuple(facts))


def _iommu(data: int, read: Reader) -> FileState:
    words = Cursor(read(data, 24), "iommu").array("Q", 3, "three lists")
    names = ("IOMMUs", "domains", "devices")
    facts = tuple((f"{name} at", f"{word:#x}") for name, word in zip(names, words, strict=True))
    return FileState("IOMMU page tables that stay in use", None, facts)


def _iommufd(data: int, read: Reader) -> FileState:
    facts = (("at", f"{data:#x}"), ("begins with", read(data, _SHOWN).hex(" ")))
    return FileState("an I/O address space (iommufd), its form only proposed", None, facts)


_HANDLERS: Mapping[str, Callable[[int, Reader], FileState]] = {
    "memfd-v1": lambda data, read: _memfd(1, data, read),
    "memfd-v2": lambda data, read: _memfd(2, data, read),
    "memfd": lambda data, read: _memfd(3, data, read),
    "guest_memfd_luo_v1": _guest_memfd,
    "kvm_vm_luo_v1": _kvm,
    "vfio-pci-v1": lambda data, read: _vfio(1, data, read),
    "vfio-pci-v2": lambda data, read: _vfio(2, data, read),
    "iommufd-v1": _iommufd,
    "pci-v2": _pci,
    "iommu-v1": _iommu,
}


def describe_data(compatible: str, data: int, read: Reader) -> FileState:
    """What a handler put down at ``data``; nothing is raised."""
    name = compatible.partition(";")[0]
    handler = _HANDLERS.get(name)
    try:
        if handler is not None:
            return handler(data, read)
        facts: tuple[Fact, ...] = (("data", f"{data:#x}"),)
        with suppress(SourceError):  # a handler's data need not be an address
            facts += (("begins with", read(data, _SHOWN).hex(" ")),)
        return FileState("not known", None, facts, known=False)
    except (ParseError, SourceError) as error:
        return FileState(name, None, (("data", f"{data:#x}"),), problem=str(error))


def _content(state: FileState, read: Reader) -> Iterator[tuple[int, bytes]]:
    for folio in state.folios or ():
        offset = folio.index * PAGE
        if state.size is not None and offset < state.size:
            yield offset, read(folio.address, min(PAGE, state.size - offset))


def file_contents(state: FileState, read: Reader) -> bytes:
    """The bytes of a small preserved file whose pieces are single pages; holes are zeros.

    Raises :class:`~tracekit.errors.SourceError` where it is large or cannot be read.
    """
    whole = state.folios is not None and len(state.folios) == state.pieces
    if state.size is None or state.size > _MOST_CONTENT or not whole:
        raise SourceError("its contents cannot be read")
    out = bytearray(state.size)
    for offset, piece in _content(state, read):
        out[offset : offset + len(piece)] = piece
    return bytes(out)
