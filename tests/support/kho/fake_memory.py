"""Physical memory for tests: pages that a writer fills, and the reader that KHO's parsers take."""

from __future__ import annotations

from tracekit.errors import SourceError

PAGE = 4096


class FakeMemory:
    """Pages from ``first`` on, given out one by one."""

    def __init__(self, first: int = 0x10_0000) -> None:
        self.pages: dict[int, bytearray] = {}
        self._next = first

    def alloc(self, data: bytes = b"") -> int:
        """The address of new pages in a row that begin with ``data``."""
        address = self._next
        for offset in range(0, max(len(data), 1), PAGE):
            piece = data[offset : offset + PAGE]
            self.pages[address + offset] = bytearray(piece.ljust(PAGE, b"\0"))
        self._next += -(-max(len(data), 1) // PAGE) * PAGE
        return address

    def write(self, address: int, data: bytes) -> None:
        """Within one page."""
        page = self.pages[address - address % PAGE]
        page[address % PAGE : address % PAGE + len(data)] = data

    def read(self, address: int, size: int) -> bytes:
        out = b""
        while len(out) < size:
            at = address + len(out)
            page = self.pages.get(at - at % PAGE)
            if page is None:
                raise SourceError(f"nothing at {at:#x}")
            out += bytes(page[at % PAGE :][: size - len(out)])
        return out
