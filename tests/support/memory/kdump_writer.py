"""Writers of makedumpfile's formats for tests: compressed dumps, and the flattened form.

From makedumpfile's ``IMPLEMENTATION`` document and ``diskdump_mod.h``.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
import zstandard

PAGE = 4096
RAW, ZLIB, LZO, SNAPPY, ZSTD = 0, 1, 2, 4, 0x20
INCOMPLETE = 8
FLAT_HEADER = struct.pack(">16sqq", b"makedumpfile", 1, 1).ljust(4096, b"\0")


def _lzo_stored(data: bytes) -> bytes:
    """An LZO1X stream of one literal and the end mark."""
    more = len(data) - 18
    assert more > 0
    length = bytes((more - 1) // 255) + bytes([(more - 1) % 255 + 1])
    return b"\0" + length + data + b"\x11\0\0"


def lzo1x_1(data: bytes) -> bytes:
    """Compressed by liblzo2 where this machine has it, else stored."""
    name = ctypes.util.find_library("lzo2")
    if name is None:
        return _lzo_stored(data)
    library = ctypes.CDLL(name)
    out = ctypes.create_string_buffer(len(data) + len(data) // 16 + 67)
    size = ctypes.c_ulong(0)
    work = ctypes.create_string_buffer(16384 * 8)
    pointer = ctypes.byref(size)
    assert library.lzo1x_1_compress(data, ctypes.c_ulong(len(data)), out, pointer, work) == 0
    return out.raw[: size.value]


CODECS: dict[int, Callable[[bytes], bytes]] = {
    RAW: lambda data: data,
    ZLIB: zlib.compress,
    LZO: lzo1x_1,
    SNAPPY: lambda data: pa.compress(data, codec="snappy", asbytes=True),
    ZSTD: lambda data: zstandard.ZstdCompressor().compress(data),
}


def _bitmap(frames: Sequence[int], blocks: int, page: int) -> bytes:
    bits = bytearray(blocks * page)
    for frame in frames:
        bits[frame // 8] |= 1 << frame % 8
    return bytes(bits)


def write_kdump(
    pages: Mapping[int, bytes],
    codec: int = ZLIB,
    *,
    page: int = PAGE,
    existing: Sequence[int] | None = None,
    level: int = 0,
    status: int = 0,
    split: tuple[int, int] | None = None,
    vmcoreinfo: bytes = b"",
    version: int = 6,
) -> bytes:
    """A dump of page frames; ``existing`` are those there were, where more than are in it.

    ``split``: this file of a split dump holds the pages from one frame to before another; the
    bitmaps tell of all. A page that does not get smaller is stored raw, as makedumpfile does.
    """
    existing = sorted(existing if existing is not None else pages)
    frames = max([*existing, *pages, 0]) + 1
    blocks = -(-frames // (8 * page))
    note = struct.pack("<III12s", 11, len(vmcoreinfo), 0, b"VMCOREINFO") + vmcoreinfo
    note = note.ljust(-(-len(note) // 4) * 4, b"\0")
    sub_blocks = -(-(104 + len(note)) // page)
    low, high = split or (0, 0)
    uts = b"".join(text.ljust(65, b"\0") for text in (b"Linux", b"n", b"7.2.13", b"v", b"x86_64"))
    header = struct.pack("<8si", b"KDUMP   ", version) + uts.ljust(390, b"\0")
    header = header.ljust(424, b"\0") + struct.pack(
        "<IiiIIIIIiI", codec | status, page, sub_blocks, 2 * blocks, min(frames, 0xFFFFFFFF),
        0, 0, 0, 0, 2,
    )  # fmt: skip
    sub = struct.pack(
        "<QiiQQQQQQQQQQQ", 0, level, split is not None, low, high,
        page + 104 + 24, len(vmcoreinfo), page + 104, len(note), 0, 0, low, high, frames,
    )  # fmt: skip
    out = header.ljust(page, b"\0") + (sub + note).ljust(sub_blocks * page, b"\0")
    out += _bitmap(existing, blocks, page) + _bitmap(sorted(pages), blocks, page)
    listed = [f for f in sorted(pages) if split is None or low <= f < high]
    offset = len(out) + 24 * len(listed)
    descriptors, body = b"", b""
    for frame in listed:
        data, flags = CODECS[codec](pages[frame]), codec
        if len(data) >= page:
            data, flags = pages[frame], 0
        descriptors += struct.pack("<QIIQ", offset + len(body), len(data), flags, 0)
        body += data
    return out + descriptors + body


def flatten(pieces: Sequence[tuple[int, bytes]], *, end: bool = True) -> bytes:
    """The flattened form of (offset, bytes) in this order."""
    body = b"".join(struct.pack(">qq", offset, len(data)) + data for offset, data in pieces)
    return FLAT_HEADER + body + (struct.pack(">qq", -1, -1) if end else b"")


def flattened(data: bytes, sizes: Sequence[int] = (100, 4096, 16384)) -> bytes:
    """A file flattened in pieces of these sizes, taken in turns; every second piece comes later."""
    pieces: list[tuple[int, bytes]] = []
    offset = 0
    while offset < len(data):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append((offset, data[offset : offset + size]))
        offset += size
    return flatten(pieces[::2] + pieces[1::2])
