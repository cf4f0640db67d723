"""Physical memory that can be read in ranges, and copied past what of it cannot be read.

A page that faults is an error (EFAULT, EIO) of the whole read() it lies in, so what cannot be read
at once is read page by page, and only the pages that fail are missing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from types import TracebackType
from typing import BinaryIO, NamedTuple, Protocol, Self

from tracekit.errors import SourceError
from tracekit.spans import Span, filler, join_spans

__all__ = ["CHUNK", "PhysicalMemory", "Range", "Unread"]

CHUNK = 1 << 20  # bytes copied at a time
_PAGE = 4096  # the smallest unit that memory fails in
_LISTED = 8


class _Writer(Protocol):
    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True, order=True)
class Range:
    """A physical range: first byte, size in bytes, and where it is in the file that holds it."""

    address: int
    size: int
    offset: int

    @property
    def end(self) -> int:
        """The first byte after the range."""
        return self.address + self.size


def _further(one: Range, other: Range) -> Range:
    return max(one, other, key=lambda r: r.end)


class Unread(NamedTuple):
    """What of a range could not be read: spans of bytes from its begin, and the first error."""

    spans: tuple[Span, ...] = ()
    error: str = ""


class PhysicalMemory:
    """Physical memory in a file. Closing it closes the file.

    ``ranges`` are the physical ranges it holds, in order of address; they may touch or overlap.
    ``vmcoreinfo`` is the note of this name that came with it, b'' without one; ``current_pids`` the
    task that each CPU had when a panic stopped it, where that was noted. Another way to read than
    read() is a subclass's ``_read_at()``.
    """

    vmcoreinfo = b""
    current_pids: tuple[int, ...] = ()

    def __init__(self, stream: BinaryIO, source: str, ranges: Iterable[Range]) -> None:
        """``source`` names ``stream`` in errors."""
        self.source = source
        self._stream = stream
        self.ranges = tuple(sorted(ranges))
        self._starts = [r.address for r in self.ranges]
        # the range that reaches furthest, of this one and those before it
        self._furthest = list(accumulate(self.ranges, _further))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _pieces(self, address: int, size: int) -> Iterator[tuple[int | None, int]]:
        """(file offset, size) of the pieces that make up a range; offset None: not in the core."""
        position, end = address, address + size
        while position < end:
            after = bisect_right(self._starts, position)
            best = self._furthest[after - 1] if after else None
            if best is not None and position < best.end:
                stop = min(end, best.end)
                yield best.offset + (position - best.address), stop - position
            else:
                stop = min(end, self._starts[after]) if after < len(self._starts) else end
                yield None, stop - position
            position = stop

    def _absent(self, address: int, size: int, missing: int) -> str:
        return (
            f"{self.source}: physical range {address:#x}-{address + size:#x} is not wholly in it: "
            f"nothing holds {missing:#x}. It holds {self.describe()}"
        )

    def describe(self) -> str:
        """The ranges in words, for messages."""
        listed = [f"{r.address:#x}-{r.end:#x}" for r in self.ranges[:_LISTED]]
        more = len(self.ranges) - _LISTED
        return (", ".join(listed) or "no physical memory") + (
            f" and {more} more" if more > 0 else ""
        )

    def holds(self, address: int, size: int) -> bool:
        """True when the whole range is in the core."""
        return self.held(address, size) == size

    def held(self, address: int, size: int) -> int:
        """How many bytes of the range are in the core."""
        pieces = self._pieces(address, size)
        return sum(length for offset, length in pieces if offset is not None)

    def _read_at(self, offset: int, size: int) -> bytes:
        """At most ``size`` bytes of the file; none where it ends."""
        try:
            self._stream.seek(offset)
            data = self._stream.read(size)
        except OSError as error:
            raise SourceError(
                f"{self.source}: reading {size} bytes at offset {offset:#x}: "
                f"{error.strerror or error}"
            ) from error
        if data is None:  # what read() of a raw stream gives for EAGAIN
            raise SourceError(f"{self.source}: reading at offset {offset:#x} would block")
        return data

    def _cut_off(self, offset: int) -> str:
        return f"{self.source}: ends before offset {offset:#x}: it was cut off"

    def read(self, address: int, size: int) -> bytes:
        """``size`` bytes at physical ``address``.

        Raises :class:`~tracekit.errors.SourceError` when the core does not hold them all.
        """
        parts: list[bytes] = []
        pieces = list(self._pieces(address, size))
        position = address
        for offset, length in pieces:
            if offset is None:
                raise SourceError(self._absent(address, size, position))
            position += length
        for offset, length in pieces:
            done = 0
            while offset is not None and done < length:
                data = self._read_at(offset + done, min(CHUNK, length - done))
                if not data:
                    raise SourceError(self._cut_off(offset + done))
                parts.append(data)
                done += len(data)
        return b"".join(parts)

    def copy_to(
        self,
        address: int,
        size: int,
        writer: _Writer,
        progress: Callable[[int], object] = lambda _: None,
    ) -> Unread:
        """Stream a physical range into ``writer``, at most :data:`CHUNK` bytes at a time.

        What cannot be read is filled (:func:`~tracekit.spans.filler`) and returned. ``progress``
        is called with the size of each chunk. Raises :class:`~tracekit.errors.SourceError` when
        less than a page of the range can be read.
        """
        copying = _Copying(writer, progress)
        position = address
        for offset, length in self._pieces(address, size):
            if offset is None:
                copying.skip(length, self._absent(address, size, position))
            else:
                self._copy_piece(copying, offset, length, position)
            position += length
        if copying.read < min(size, _PAGE):
            raise SourceError(copying.error)
        return Unread(join_spans(copying.spans), copying.error)

    def _copy_piece(self, copying: _Copying, offset: int, length: int, address: int) -> None:
        """Copy what lies at ``offset`` of the file and at physical ``address``."""
        done = careful_until = 0
        while done < length:
            to_page_end = _PAGE - (address + done) % _PAGE
            want = min(to_page_end if done < careful_until else CHUNK, length - done)
            try:
                data = self._read_at(offset + done, want)
            except SourceError as error:
                if done < careful_until:
                    copying.skip(want, str(error))
                    done += want
                else:
                    careful_until = done + want
                continue
            if not data:
                copying.skip(length - done, self._cut_off(offset + done))
                return
            copying.write(data)
            done += len(data)


class _Copying:
    """A copy in progress: where it goes, how far it is, and what could not be read."""

    def __init__(self, writer: _Writer, progress: Callable[[int], object]) -> None:
        self._writer = writer
        self._progress = progress
        self._done = 0  # bytes written
        self._reached = 0  # bytes written, and those at the begin that are still to be filled
        self.read = 0
        self.spans: list[Span] = []
        self.error = ""

    def write(self, data: bytes) -> None:
        if not self.read and self.spans:
            self._fill_to(self._reached)
        self.read += len(data)
        self._put(data)
        self._reached = self._done

    def skip(self, size: int, error: str) -> None:
        """Fill ``size`` bytes that could not be read; not before anything has been read."""
        self.error = self.error or error
        self.spans.append((self._reached, size))
        self._reached += size
        if self.read:
            self._fill_to(self._reached)

    def _fill_to(self, end: int) -> None:
        while self._done < end:
            self._put(filler(self._done, min(CHUNK, end - self._done)))

    def _put(self, data: bytes) -> None:
        self._writer.write(data)
        self._done += len(data)
        self._progress(len(data))
