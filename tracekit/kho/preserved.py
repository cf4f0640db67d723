"""KHO's list of preserved memory: which pages the old kernel wants kept, by order.

Two forms. A chain of pages that list bitmaps, one set for each order (``kho-v1``: 6.16 to 7.0,
``struct khoser_mem_chunk`` in ``kernel/kexec_handover.c``), and a radix tree of keys that hold
address and order alike (from ``kho-v2`` on, ``kho_encode_radix_key()`` in
``kernel/liveupdate/kexec_handover.c``). The tree's own pages are not preserved: it can be walked
in the old kernel alone.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from tracekit.errors import SourceError
from tracekit.frozen import dataclass
from tracekit.kho.memory import Reader

__all__ = ["Leaf", "walk_bitmaps", "walk_radix"]

_MOST_NODES = 1 << 18  # pages of a map; one of 1 TiB in pages of order 0 has 8,300
_ENTRY = struct.Struct("<QQ")
_CHUNK_HEAD = struct.Struct("<QII")  # next, order, number of entries
_OLD_BITMAP = 512  # bytes: PRESERVE_BITS / 8 of 6.16
_ORDERS = 52

_Note = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A bitmap: bit ``i`` stands for the block of ``order`` at ``base + i * (page << order)``."""

    order: int
    base: int
    bits: bytes


class _Pages:
    """Pages of a map: each is read once, and not more of them than a map can have."""

    def __init__(self, read: Reader, size: int, note: _Note) -> None:
        self._read, self._size, self._note = read, size, note
        self._seen: set[int] = set()
        self._complained: set[str] = set()

    def complain(self, what: str, message: str) -> None:
        """Note something, the first of its kind."""
        if what not in self._complained:
            self._complained.add(what)
            self._note(message)

    def page(self, address: int, aligned: bool = True) -> bytes | None:
        """The page, None where it cannot be one of the map or cannot be read."""
        if aligned and address % self._size:
            self.complain("aligned", f"the map points to {address:#x}, which is no page")
        elif address in self._seen:
            self.complain("twice", f"the map points to {address:#x} twice: it is damaged")
        elif len(self._seen) >= _MOST_NODES:
            self.complain("many", f"more than {_MOST_NODES} pages: the rest is not read")
        else:
            self._seen.add(address)
            return self.read(address, self._size)
        return None

    def read(self, address: int, size: int) -> bytes | None:
        """Bytes, None where they cannot be read."""
        try:
            return self._read(address, size)
        except SourceError as error:
            self.complain("unread", f"part of the map cannot be read: {error}")
            return None


def walk_radix(
    read: Reader, root: int, note: _Note = lambda _: None, page_shift: int = 12
) -> Iterator[Leaf]:
    """The bitmaps of the radix tree whose root page is at ``root``.

    ``note`` is told, in words, of what of it makes no sense or cannot be read.
    """
    size = 1 << page_shift
    key_bits, table_bits, leaf_bits = 64 - page_shift, page_shift - 3, page_shift + 3
    levels = -(-(key_bits - leaf_bits) // table_bits)  # of tables, above the bitmaps
    pages = _Pages(read, size, note)
    table = struct.Struct(f"<{1 << table_bits}Q")
    empty = bytes(size)
    stack = [(root, levels, 0)]
    while stack:
        address, level, prefix = stack.pop()
        page = pages.page(address)
        if page is None or page == empty:
            continue
        if level:
            found = [
                (entry, level - 1, prefix << table_bits | index)
                for index, entry in enumerate(table.unpack(page))
                if entry
            ]
            stack += reversed(found)
            continue
        key = prefix << leaf_bits
        top = key.bit_length() - 1
        if key >> key_bits > 1 or not key:
            pages.complain("key", f"a bitmap for key {key:#x}, which no page has")
            continue
        order = key_bits - top
        yield Leaf(order, (key ^ 1 << top) << page_shift + order, page)


def walk_bitmaps(
    read: Reader, first: int, note: _Note = lambda _: None, page_shift: int = 12
) -> Iterator[Leaf]:
    """The bitmaps of the chain whose first page is at ``first``; see :func:`walk_radix`.

    A bitmap has 512 bytes or a page, which nothing says: those of 512 bytes are not aligned to
    pages, and neither is what they stand for to what a page of bits would.
    """
    size = 1 << page_shift
    pages = _Pages(read, size, note)
    entries: list[tuple[int, int, int]] = []  # order, what it stands for, the bitmap
    address = first
    while address:
        page = pages.page(address)
        if page is None:
            break
        address, order, count = _CHUNK_HEAD.unpack_from(page)
        room = (size - _CHUNK_HEAD.size) // _ENTRY.size
        if order > _ORDERS or count > room:
            pages.complain("chunk", f"a page of the chain says order {order}, {count} bitmaps")
            continue
        entries += [
            (order, *_ENTRY.unpack_from(page, _CHUNK_HEAD.size + i * _ENTRY.size))
            for i in range(count)
        ]
    short = any(
        bitmap % size or start % (size * 8 << page_shift + order)
        for order, start, bitmap in entries
    )
    for order, start, bitmap in entries[:_MOST_NODES]:
        bits = pages.read(bitmap, _OLD_BITMAP if short else size)
        if bits is not None:
            yield Leaf(order, start, bits)
