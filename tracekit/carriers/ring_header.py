"""The first bytes of a persistent ring buffer: which kernel wrote it."""

from __future__ import annotations

import struct

__all__ = ["HEADER", "header_address", "ring_size"]

HEADER = 64  # bytes at the start of a region that say whose it is
_MAGIC = 0x0BADFEED
_GLOBAL_META = 24  # sizeof(struct ring_buffer_meta), 6.15 and later
_CPU_META = 56  # sizeof(struct ring_buffer_meta), 6.12 to 6.14: one for each CPU


def header_address(header: bytes) -> tuple[str, int] | None:
    """(symbol, its address in the writer's kernel) from a persistent ring buffer's header.

    6.15 and later keep ``_text`` (``struct trace_scratch`` in ``kernel/trace/trace.c``); 6.12 and
    6.13 the address of ``rb_meta_init_text_addr()`` (``kernel/trace/ring_buffer.c``). None when
    ``header`` is not such a header, or when the buffer was never started and nothing is recorded.
    """
    if len(header) < 40 or struct.unpack_from("<I", header)[0] != _MAGIC:
        return None
    sizes = struct.unpack_from("<I", header, 4)[0]
    if sizes >> 16 == _GLOBAL_META:
        address = struct.unpack_from("<Q", header, _GLOBAL_META + 8)[0]
        return ("_text", address) if address else None
    if sizes == _CPU_META:
        address = struct.unpack_from("<Q", header, 8)[0]
        return ("rb_meta_init_text_addr", address) if address else None
    return None


def ring_size(header: bytes) -> int | None:
    """The bytes of the whole ring buffer, as its header has them (``total_size``, 6.15 and later).

    None where it is no such header.
    """
    if len(header) < 16:
        return None
    magic, sizes, total = struct.unpack_from("<IIQ", header)
    return total if magic == _MAGIC and sizes >> 16 == _GLOBAL_META and total else None
