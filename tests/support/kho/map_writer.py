"""Writes KHO's two lists of preserved memory, one block after the other, as the kernel does.

By ``kho_radix_add_key()`` of 7.3 and ``__kho_preserve_order()`` with ``kho_mem_serialize()`` of
6.16 and 6.18; nothing of it is taken from the reader.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from tests.support.kho.fake_memory import PAGE, FakeMemory

Block = tuple[int, int]  # page frame number, order


def radix(memory: FakeMemory, blocks: Iterable[Block]) -> int:
    """The address of the root page of a tree with 4K pages."""
    root = memory.alloc()
    for pfn, order in blocks:
        key = (1 << (64 - 12 - order)) + (pfn >> order)
        node = root
        for level in (5, 4, 3, 2, 1):
            index = key // 2 ** (15 + 9 * (level - 1)) % 512
            entry = node + 8 * index
            child = int.from_bytes(memory.read(entry, 8), "little")
            if not child:
                child = memory.alloc()
                memory.write(entry, child.to_bytes(8, "little"))
            node = child
        bit = key % 2**15
        byte = node + bit // 8
        memory.write(byte, bytes([memory.read(byte, 1)[0] | 1 << bit % 8]))
    return root


def bitmaps(memory: FakeMemory, blocks: Iterable[Block], bitmap: int = PAGE) -> int:
    """The address of the first page of a chain; ``bitmap``: bytes of each (512 in 6.16)."""
    bits = bitmap * 8
    found: dict[tuple[int, int], bytearray] = {}
    for pfn, order in blocks:
        number, bit = divmod(pfn >> order, bits)
        data = found.setdefault((order, number), bytearray(bitmap))
        data[bit // 8] |= 1 << bit % 8
    places: dict[tuple[int, int], int] = {}
    free = 0
    for key, data in found.items():
        if bitmap == PAGE:
            places[key] = memory.alloc(bytes(data))
            continue
        if not free % PAGE:
            free = memory.alloc()
        memory.write(free, bytes(data))
        places[key] = free
        free += bitmap
    following = 0
    for order in sorted({order for order, _ in found}, reverse=True):
        keys = [key for key in found if key[0] == order]
        for start in range(0, len(keys), 255):
            part = keys[start : start + 255]
            entries = b"".join(
                struct.pack("<QQ", (number * bits << order) * PAGE, places[order, number])
                for _, number in part
            )
            following = memory.alloc(struct.pack("<QII", following, order, len(part)) + entries)
    return following


def terabyte(leaf: bytes) -> tuple[FakeMemory, int]:
    """A tree of 1 TiB of single pages, each bitmap ``leaf``; (the memory, its root)."""
    memory = FakeMemory(0x1000)
    root = memory.alloc()
    for number in range(1 << 13):
        key, node = (1 << 52) + (number << 15), root
        for level in (5, 4, 3, 2, 1):
            entry = node + 8 * (key >> 15 + 9 * (level - 1) & 511)
            child = int.from_bytes(memory.read(entry, 8), "little")
            if not child:
                child = memory.alloc(leaf if level == 1 else b"")
                memory.write(entry, child.to_bytes(8, "little"))
            node = child
    return memory, root
