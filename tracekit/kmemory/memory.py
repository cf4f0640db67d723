"""A dead kernel's memory: physical pages, and the kernel's own addresses through its page tables.

Every read is bounded; what is not there raises :class:`Absent`, which says why.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Protocol

from tracekit.errors import SourceError

__all__ = ["PAGE", "Absent", "Memory", "Stretch", "Tables", "VirtualMemory"]

PAGE = 4096  # the unit that dumps leave memory out in
_KEPT = 2048  # pages that are kept of what was read: 8 MiB
_LARGE = 1 << 16  # bytes from which on a read goes past the pages that are kept
_MAX_READ = 64 << 20
# Reads of structures: some 200,000 for a kernel, and five for each page of its trace buffers. A
# memory whose structures point round and round ends there.
_READS = 8 << 20
_BYTES_A_READ = 256
_TOP = 1 << 64
_U16, _U32, _S32, _U64 = (struct.Struct(f"<{code}") for code in "HIiQ")


class Absent(SourceError):
    """Memory that is not mapped, or that the dump does not hold."""


class Stretch(Protocol):
    """A physical range."""

    @property
    def address(self) -> int:
        """Its first byte."""
        ...

    @property
    def size(self) -> int:
        """In bytes."""
        ...


class Memory(Protocol):
    """Physical memory, as carriers read it."""

    @property
    def ranges(self) -> Sequence[Stretch]:
        """The ranges it may hold, in order of address."""
        ...

    def read(self, address: int, size: int, /) -> bytes:
        """All of these bytes; raises :class:`~tracekit.errors.SourceError`."""
        ...

    def held(self, address: int, size: int, /) -> int:
        """How many of these bytes it holds."""
        ...


class Tables(Protocol):
    """Page tables."""

    def translate(self, address: int) -> tuple[int, int]:
        """The physical address, and how many bytes from there on are mapped alike.

        Raises :class:`Absent`.
        """
        ...


class VirtualMemory:
    """Memory by the kernel's addresses. ``touched`` counts the bytes that were read."""

    def __init__(self, memory: Memory, tables: Tables, reads: int = _READS) -> None:
        """``reads``: how many there may be, beside those that the memory's size allows."""
        self._memory = memory
        self._tables = tables
        self._pages: dict[int, bytes] = {}
        self._left = reads + sum(r.size for r in memory.ranges) // _BYTES_A_READ
        self.touched = 0

    def physical(self, address: int) -> int:
        """The physical address; raises :class:`Absent`."""
        return self._tables.translate(address)[0]

    def _page(self, number: int) -> bytes:
        page = self._pages.get(number)
        if page is None:
            address = number * PAGE
            physical = self._tables.translate(address)[0]
            page = self._physical(address, physical, PAGE)
            if len(self._pages) >= _KEPT:
                del self._pages[next(iter(self._pages))]
            self._pages[number] = page
        return page

    def _physical(self, address: int, physical: int, size: int) -> bytes:
        self.touched += size
        try:
            return self._memory.read(physical, size)
        except SourceError as error:
            if self._memory.held(physical, size) == size:
                raise  # it is damaged, not left out
            raise Absent(
                f"the page at physical address {physical:#x} (the kernel's {address:#x}) "
                "is not in the dump"
            ) from error

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes; raises :class:`Absent`, or another SourceError for damage."""
        self._left -= 1
        if self._left < 0:
            raise Absent("more was read than there is: this memory's structures make no sense")
        offset = address % PAGE
        if offset + size <= PAGE and 0 <= address < _TOP:
            return self._page(address // PAGE)[offset : offset + size]
        if not 0 <= size <= _MAX_READ or not 0 <= address <= _TOP - size:
            raise Absent(f"{size} bytes at {address:#x}: no memory of a kernel")
        pieces = self._runs if size >= _LARGE else self._pieces
        return b"".join(pieces(address, size))

    def _pieces(self, address: int, size: int) -> Iterator[bytes]:
        end = address + size
        while address < end:
            offset = address % PAGE
            piece = self._page(address // PAGE)[offset : offset + end - address]
            yield piece
            address += len(piece)

    def _runs(self, address: int, size: int) -> Iterator[bytes]:
        """The same in runs that are contiguous in physical memory."""
        end = address + size
        while address < end:
            physical, length = self._tables.translate(address)
            length = min(length, end - address)
            while address + length < end and length < _LARGE:
                after, more = self._tables.translate(address + length)
                if after != physical + length:
                    break
                length = min(length + more, end - address)
            yield self._physical(address, physical, length)
            address += length

    def u8(self, address: int) -> int:
        """An unsigned byte."""
        return self.read(address, 1)[0]

    def u16(self, address: int) -> int:
        """An unsigned 16-bit integer."""
        value: int = _U16.unpack(self.read(address, 2))[0]
        return value

    def u32(self, address: int) -> int:
        """An unsigned 32-bit integer."""
        value: int = _U32.unpack(self.read(address, 4))[0]
        return value

    def s32(self, address: int) -> int:
        """A signed 32-bit integer."""
        value: int = _S32.unpack(self.read(address, 4))[0]
        return value

    def u64(self, address: int) -> int:
        """An unsigned 64-bit integer, or a pointer."""
        value: int = _U64.unpack(self.read(address, 8))[0]
        return value

    def text(self, address: int, limit: int = 4096) -> str:
        """The string at an address, of at most ``limit`` bytes; odd bytes are escaped."""
        parts: list[bytes] = []
        while limit > 0:
            piece = self.read(address, min(limit, PAGE - address % PAGE))
            end = piece.find(b"\0")
            if end >= 0:
                parts.append(piece[:end])
                break
            parts.append(piece)
            address += len(piece)
            limit -= len(piece)
        return b"".join(parts).decode("utf-8", "backslashreplace")
