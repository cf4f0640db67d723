"""Physical memory read from an ELF core: ``/proc/kcore``, ``/proc/vmcore`` or a saved one.

A PT_LOAD segment holds the physical range [p_paddr, p_paddr + p_filesz) at file offset p_offset;
``p_paddr == 2**64 - 1`` marks ranges without one (``read_kcore_iter()`` in ``fs/proc/kcore.c``
writes it for vmalloc and module memory). Offline, poisoned and unaccepted pages read as zeros.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Protocol

from tracekit.errors import SourceError

__all__ = ["CHUNK", "PhysicalMemory", "Range"]

CHUNK = 1 << 20  # bytes copied at a time
_MAGIC, _LITTLE_64 = b"\x7fELF", b"\x02\x01"  # e_ident: ELFCLASS64, ELFDATA2LSB
_ET_CORE, _PT_LOAD = 4, 1
#: Elf64_Ehdr (include/uapi/linux/elf.h): e_type, e_phoff, e_phentsize, e_phnum. 65535 would be
#: PN_XNUM, with the count elsewhere; no kernel writes that many.
_EHDR = struct.Struct("<16xH14xQ14xHH6x")
#: Elf64_Phdr: p_type, p_offset, p_paddr, p_filesz, p_memsz.
_PHDR = struct.Struct("<I4xQ8xQQQ8x")
_NO_ADDRESS = (1 << 64) - 1
_MAX_OFFSET = (1 << 63) - 1
_LISTED = 8


class _Writer(Protocol):
    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """A physical range of the core: first byte, size in bytes, and where it is in the file."""

    address: int
    size: int
    offset: int

    @property
    def end(self) -> int:
        """The first byte after the range."""
        return self.address + self.size


def _disjoint(ranges: Sequence[Range]) -> list[Range]:
    """Sorted ranges without what an earlier one holds already, adjacent ones as one."""
    pieces: list[Range] = []
    for r in ranges:
        last = pieces[-1] if pieces else None
        start = max(r.address, last.end) if last else r.address
        if start >= r.end:
            continue
        offset = r.offset + (start - r.address)
        if last and last.end == start and last.offset + last.size == offset:
            pieces[-1] = Range(last.address, last.size + r.end - start, last.offset)
        else:
            pieces.append(Range(start, r.end - start, offset))
    return pieces


class PhysicalMemory:
    """The physical memory an ELF core holds. Closing it closes the file.

    ``ranges`` are its segments in order of address; they may touch or overlap.
    """

    def __init__(self, stream: BinaryIO, source: str) -> None:
        """Read the program headers of ``stream``; ``source`` names it in errors.

        Raises :class:`~tracekit.errors.SourceError` when it is not a 64-bit little-endian ELF core.
        """
        self.source = source
        self._stream = stream
        self.ranges = tuple(sorted(self._segments()))
        self._disjoint = _disjoint(self.ranges)
        self._starts = [piece.address for piece in self._disjoint]

    def __enter__(self) -> PhysicalMemory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    def _read_at(self, offset: int, size: int) -> bytes:
        self._stream.seek(offset)
        parts: list[bytes] = []
        while size > 0 and (part := self._stream.read(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _segments(self) -> list[Range]:
        """The program headers alone: nothing that they point to is followed."""
        try:
            head = self._read_at(0, _EHDR.size)
            if len(head) < _EHDR.size or head[:4] != _MAGIC:
                raise SourceError(f"{self.source}: not an ELF core: it starts with {head[:4]!r}")
            kind, first, step, count = _EHDR.unpack(head)
            if head[4:6] != _LITTLE_64 or kind != _ET_CORE or step != _PHDR.size:
                raise SourceError(
                    f"{self.source}: not a core this reads: class {head[4]}, byte order {head[5]}, "
                    f"type {kind}, program headers of {step} bytes; it has to be a 64-bit "
                    f"little-endian core (2, 1, {_ET_CORE})"
                )
            table = self._read_at(first, step * count) if first <= _MAX_OFFSET else b""
        except OSError as error:
            raise SourceError(
                f"{self.source}: its program headers cannot be read: {error.strerror or error}"
            ) from error
        if len(table) < step * count:
            raise SourceError(
                f"{self.source}: not an ELF core: it ends before its {count} program headers do"
            )
        headers = (_PHDR.unpack_from(table, number * step) for number in range(count))
        return [
            Range(address, size, offset)
            for kind, offset, address, in_file, in_memory in headers
            if kind == _PT_LOAD
            and address != _NO_ADDRESS
            and (size := min(in_file, in_memory)) > 0
            and address + size <= 1 << 64
            and offset + size <= _MAX_OFFSET
        ]

    def _pieces(self, address: int, size: int) -> Iterator[tuple[int, int]]:
        """(file offset, size) of the pieces that make up a range.

        Raises :class:`~tracekit.errors.SourceError`, before any piece is read, when the core does
        not hold all of it.
        """
        position, end = address, address + size
        number = bisect_right(self._starts, address) - 1
        while position < end:
            piece = self._disjoint[number] if 0 <= number < len(self._disjoint) else None
            if piece is None or not piece.address <= position < piece.end:
                raise SourceError(
                    f"{self.source}: physical range {address:#x}-{end:#x} is not wholly in it: "
                    f"nothing holds {position:#x}. It holds {self.describe()}"
                )
            stop = min(end, piece.end)
            yield piece.offset + (position - piece.address), stop - position
            position, number = stop, number + 1

    def describe(self) -> str:
        """The ranges in words, for messages."""
        listed = [f"{r.address:#x}-{r.end:#x}" for r in self.ranges[:_LISTED]]
        more = len(self.ranges) - _LISTED
        return (", ".join(listed) or "no physical memory") + (
            f" and {more} more" if more > 0 else ""
        )

    def holds(self, address: int, size: int) -> bool:
        """True when the whole range is in the core."""
        try:
            return sum(length for _, length in self._pieces(address, size)) == size
        except SourceError:
            return False

    def _chunks(self, address: int, size: int) -> Iterator[bytes]:
        for offset, length in list(self._pieces(address, size)):
            done = 0
            while done < length:
                want = min(CHUNK, length - done)
                try:
                    self._stream.seek(offset + done)
                    data = self._stream.read(want)
                except OSError as error:
                    raise SourceError(
                        f"{self.source}: reading {want} bytes at offset {offset + done:#x}: "
                        f"{error.strerror or error}"
                    ) from error
                if not data:
                    raise SourceError(
                        f"{self.source}: ends before offset {offset + done:#x}: it was cut off"
                    )
                done += len(data)
                yield data

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes at physical ``address``.

        Raises :class:`~tracekit.errors.SourceError` when the core does not hold them all.
        """
        return b"".join(self._chunks(address, size))

    def copy_to(
        self,
        address: int,
        size: int,
        writer: _Writer,
        progress: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Stream a physical range into ``writer``, at most :data:`CHUNK` bytes at a time.

        ``progress`` is called with the size of each chunk. Raises as :meth:`read` does.
        """
        for data in self._chunks(address, size):
            writer.write(data)
            progress(len(data))
