"""Physical memory as the readers of KHO's data see it: a function, and one made of saved pages.

What is in KHO's blobs are physical addresses. On a live machine they are read from ``/proc/kcore``;
what was read is kept in the session (``kho/SIDE/memory.bin``), and read from there later on.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Mapping

from tracekit.errors import ParseError, SourceError

__all__ = ["PAGE", "Reader", "Recorder", "nowhere", "saved_pages"]

#: (physical address, size in bytes) -> the bytes; raises SourceError where they are not to be had.
Reader = Callable[[int, int], bytes]

PAGE = 4096  # what is recorded is a multiple of it
_HEAD = struct.Struct("<QQ")  # address, size
_MOST = 1 << 20  # bytes of one read


def nowhere(address: int, size: int) -> bytes:
    """The reader of somebody who has no memory to read."""
    raise SourceError(f"memory at {address:#x} is not at hand")


class Recorder:
    """Reads through another reader, page by page, and keeps the pages, at most ``limit`` bytes."""

    def __init__(self, read: Reader, limit: int = 8 << 20) -> None:
        self._read = read
        self._limit = limit
        self._pages: dict[int, bytes] = {}

    @property
    def full(self) -> bool:
        """Whether a page was refused because there are too many."""
        return len(self._pages) * PAGE >= self._limit

    def __call__(self, address: int, size: int) -> bytes:
        """The bytes. Raises :class:`~tracekit.errors.SourceError`."""
        if not 0 <= address <= address + size <= 1 << 64 or size > _MOST:
            raise SourceError(f"{size} bytes at {address:#x}: no range of memory")
        first = address - address % PAGE
        data = b"".join(self._page(at) for at in range(first, address + size, PAGE))
        return data[address - first : address - first + size]

    def _page(self, address: int) -> bytes:
        page = self._pages.get(address)
        if page is None:
            if self.full:
                raise SourceError(f"more than {self._limit} bytes: {address:#x} was not read")
            page = self._pages[address] = self._read(address, PAGE)
        return page

    def pack(self) -> bytes:
        """The pages that were read: of each stretch its address and size (u64 each), its bytes."""
        stretches: list[tuple[int, list[bytes]]] = []
        for address in sorted(self._pages):
            if stretches and stretches[-1][0] + len(stretches[-1][1]) * PAGE == address:
                stretches[-1][1].append(self._pages[address])
            else:
                stretches.append((address, [self._pages[address]]))
        return b"".join(
            _HEAD.pack(address, len(pages) * PAGE) + b"".join(pages) for address, pages in stretches
        )


def _stretches(data: bytes, source: str) -> Mapping[int, memoryview]:
    view, offset, found = memoryview(data), 0, dict[int, memoryview]()
    while offset < len(data):
        if offset + _HEAD.size > len(data):
            raise ParseError(f"{source}: at offset {offset:#x}: a stretch that is cut off")
        address, size = _HEAD.unpack_from(data, offset)
        offset += _HEAD.size
        if not 0 < size <= len(data) - offset or address + size > 1 << 64:
            raise ParseError(f"{source}: at offset {offset:#x}: {size} bytes are not there")
        found[address] = view[offset : offset + size]
        offset += size
    return found


def saved_pages(data: bytes, source: str) -> Reader:
    """The reader of what :meth:`Recorder.pack` made.

    Raises :class:`~tracekit.errors.ParseError` where it is damaged.
    """
    found = _stretches(data, source)
    starts = sorted(found)

    def read(address: int, size: int) -> bytes:
        number = bisect_right(starts, address) - 1
        if number >= 0:
            start = starts[number]
            piece = bytes(found[start][address - start : address - start + size])
            if len(piece) == size:
                return piece
        raise SourceError(f"{source}: memory at {address:#x} ({size} bytes) is not in the session")

    return read
