"""A bounds-checked cursor over untrusted bytes.

A read that fails names what it expected, where and in which source, so that a parser needs no
checks of its own. (The idea is drgn's ``binary_buffer``.)
"""

from __future__ import annotations

import struct
from typing import Literal

from tracekit.errors import ParseError

__all__ = ["Cursor"]

_Order = Literal["<", ">"]


class Cursor:
    """Reads integers and bytes from ``data``; a read past the end raises :class:`ParseError`.

    ``source`` names the data in errors; ``order`` is ``<`` (little-endian) or ``>``.
    """

    __slots__ = ("data", "offset", "order", "source")

    def __init__(
        self,
        data: bytes | bytearray | memoryview,
        source: str,
        offset: int = 0,
        order: _Order = "<",
    ) -> None:
        self.data = memoryview(data).cast("B")
        self.source = source
        self.offset = offset
        self.order = order

    def __len__(self) -> int:
        return len(self.data)

    def at(self, offset: int) -> Cursor:
        """A new cursor over the same data at ``offset``."""
        return Cursor(self.data, self.source, offset, self.order)

    def fail(self, expected: str) -> ParseError:
        """The error for the current offset, for the caller to raise."""
        return ParseError(f"{self.source}: at offset {self.offset:#x}: {expected}")

    def take(self, size: int, what: str) -> memoryview:
        """The next ``size`` bytes, without a copy."""
        start = self.offset
        if size < 0 or start < 0 or start + size > len(self.data):
            raise self.fail(f"expected {what} ({size} bytes), but the data ends at {len(self):#x}")
        self.offset = start + size
        return self.data[start : start + size]

    def _int(self, code: str, size: int, what: str) -> int:
        value: int = struct.unpack(self.order + code, self.take(size, what))[0]
        return value

    def u32(self, what: str) -> int:
        """The next unsigned 32-bit integer."""
        return self._int("I", 4, what)

    def u64(self, what: str) -> int:
        """The next unsigned 64-bit integer."""
        return self._int("Q", 8, what)

    def cstr(self, size: int, what: str) -> str:
        """A NUL-terminated string in a field of ``size`` bytes; odd bytes are escaped."""
        raw = bytes(self.take(size, what))
        return raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")

    def array(self, code: str, count: int, what: str) -> tuple[int, ...]:
        """``count`` integers of :mod:`struct` code ``code``."""
        size = struct.calcsize("=" + code) * count
        raw = self.take(size, f"{what} ({count} entries)")
        return struct.unpack(f"{self.order}{count}{code}", raw)
