"""A writer of ELF cores for tests, from the ELF specification."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

PT_LOAD, PT_NOTE, PT_DYNAMIC = 1, 4, 2
NO_ADDRESS = (1 << 64) - 1


@dataclass(frozen=True)
class Segment:
    """A program header and its bytes; ``memory`` is p_memsz where it is not their number."""

    address: int
    data: bytes = b""
    kind: int = PT_LOAD
    memory: int | None = None


def write_core(segments: Sequence[Segment], *, kind: int = 4, gap: int = 0) -> bytes:
    """The file: header, program headers, then each segment's bytes, ``gap`` bytes apart."""
    offset = 64 + 56 * len(segments)
    headers, body = b"", b""
    for segment in segments:
        body += bytes(gap)
        size = len(segment.data)
        memory = size if segment.memory is None else segment.memory
        headers += struct.pack(
            "<IIQQQQQQ", segment.kind, 7, offset + len(body),
            (segment.address + 0xFFFF888000000000) % (1 << 64), segment.address, size, memory,
            4096,
        )  # fmt: skip
        body += segment.data
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = ident + struct.pack(
        "<HHIQQQIHHHHHH", kind, 62, 1, 0, 64, 0, 0, 64, 56, len(segments), 0, 0, 0
    )
    return header + headers + body
