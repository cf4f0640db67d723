"""Physical memory read from an ELF core: ``/proc/kcore``, ``/proc/vmcore`` or a saved one.

A PT_LOAD segment holds the physical range [p_paddr, p_paddr + p_filesz) at file offset p_offset;
``p_paddr == 2**64 - 1`` marks ranges without one (``read_kcore_iter()`` in ``fs/proc/kcore.c``
writes it for vmalloc and module memory). Offline, poisoned and unaccepted pages read as zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, Protocol

from tracekit.carriers.signatures import HEAD, identify
from tracekit.errors import SourceError

__all__ = ["CHUNK", "PhysicalMemory", "Range"]

CHUNK = 1 << 20  # bytes copied at a time
_NO_ADDRESS = (1 << 64) - 1
_MAX_SEGMENTS = 1 << 16  # PN_XNUM would take the count from elsewhere; no kernel writes that many
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

    def __enter__(self) -> PhysicalMemory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    def _segments(self) -> list[Range]:
        from elftools.common.utils import struct_parse
        from elftools.elf.elffile import ELFFile

        try:
            elf = ELFFile(self._stream)
            count, first, step = elf["e_phnum"], elf["e_phoff"], elf["e_phentsize"]
            usable = elf.elfclass == 64 and elf.little_endian and elf["e_type"] == "ET_CORE"
            if not usable or count > _MAX_SEGMENTS:
                raise SourceError(
                    f"{self.source}: not a core this reads: {elf.elfclass}-bit, {elf['e_type']}, "
                    f"{count} segments"
                )
            # The headers alone: get_segment() would follow what untrusted segments point to.
            headers = [
                struct_parse(elf.structs.Elf_Phdr, self._stream, first + number * step)
                for number in range(count)
            ]
        except SourceError:
            raise
        except Exception as error:  # pyelftools on rubbish raises nearly anything
            raise SourceError(f"{self.source}: not an ELF core: {self._what(error)}") from error
        return [
            Range(header["p_paddr"], size, header["p_offset"])
            for header in headers
            if header["p_type"] == "PT_LOAD"
            and header["p_paddr"] != _NO_ADDRESS
            and (size := min(header["p_filesz"], header["p_memsz"])) > 0
            and header["p_paddr"] + size <= 1 << 64
            and header["p_offset"] + size <= _MAX_OFFSET
        ]

    def _what(self, error: Exception) -> str:
        """What the file is instead, and the next step; ``error`` where that is not known."""
        try:
            self._stream.seek(0)
            known = identify(self._stream.read(HEAD))
        except OSError:
            known = None
        return f"it is {known.name}: {known.remedy}" if known else str(error)

    def _pieces(self, address: int, size: int) -> Iterator[tuple[int, int]]:
        """(file offset, size) of the pieces that make up a range.

        Raises :class:`~tracekit.errors.SourceError`, before any piece is read, when the core does
        not hold all of it.
        """
        position, end = address, address + size
        while position < end:
            holding = [r for r in self.ranges if r.address <= position < r.end]
            if not holding:
                raise SourceError(
                    f"{self.source}: physical range {address:#x}-{end:#x} is not wholly in it: "
                    f"nothing holds {position:#x}. It holds {self.describe()}"
                )
            best = max(holding, key=lambda r: r.end)
            stop = min(end, best.end)
            yield best.offset + (position - best.address), stop - position
            position = stop

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
