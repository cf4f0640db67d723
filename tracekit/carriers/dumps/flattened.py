"""makedumpfile's flattened form, read as the file that ``makedumpfile -R`` would make of it.

``makedumpfile -F`` writes it to a pipe, and QEMU its compressed dumps: a header of 4096 bytes, then
records in any order, each the offset and the size of a piece of the file (two big-endian signed
64-bit numbers) and its bytes, until an offset of -1 (``write_start_flat_header()`` and
``write_end_flat_header()`` in QEMU's ``dump/dump.c``). A later record overwrites what earlier ones
put there; what none wrote is zeros.
"""

from __future__ import annotations

import io
import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import BinaryIO

from tracekit.errors import ParseError, SourceError

__all__ = ["MAGIC", "Flattened"]

MAGIC = b"makedumpfile\0\0\0\0"
_HEADER = 4096
_HEAD = struct.Struct(">16sqq")  # the magic, the type, the version
_RECORD = struct.Struct(">qq")
_END = -1
_LIMIT = 1 << 63
_WINDOW = 4096  # bytes read at a time while looking for records
_MAX_RECORDS = 1 << 23  # 200 MB of index; at 16 KiB each, as QEMU writes them, 128 GiB


class Flattened(io.RawIOBase):
    """The file inside, seekable. Closing it closes the stream.

    ``complete`` is False where the end mark is missing: the writer was interrupted, and what is
    there is shown. Time and memory are proportional to the number of records.
    """

    def __init__(self, stream: BinaryIO, source: str) -> None:
        """Index the records of ``stream``, which must be seekable; ``source`` names it in errors.

        Raises :class:`~tracekit.errors.SourceError`.
        """
        super().__init__()
        self._stream = stream
        self._source = source
        self._position = 0
        self.complete = False
        self._length = self._seek(0, io.SEEK_END)
        head = self._get(0, _HEAD.size)
        if len(head) < _HEAD.size or _HEAD.unpack(head)[0] != MAGIC:
            raise ParseError(f"{source}: at offset 0x0: expected the header of a flattened dump")
        kind, version = _HEAD.unpack(head)[1:]
        if (kind, version) != (1, 1):
            raise ParseError(
                f"{source}: a flattened dump of type {kind}, version {version}; known is type 1, "
                "version 1"
            )
        # Of each piece: where it begins in the file inside, its size, where it is in the stream.
        self._begins, self._sizes, self._places = _without_overlaps(*self._records())
        self.size = self._begins[-1] + self._sizes[-1] if self._begins else 0

    def _seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return self._stream.seek(offset, whence)
        except (OSError, ValueError) as error:
            raise SourceError(
                f"{self._source}: a flattened dump is read from a file, not from a pipe: {error}"
            ) from error

    def _get(self, offset: int, size: int) -> bytes:
        """At most ``size`` bytes of the stream."""
        try:
            self._seek(offset)
            return self._stream.read(size) or b""
        except OSError as error:
            raise SourceError(
                f"{self._source}: reading {size} bytes at offset {offset:#x}: "
                f"{error.strerror or error}"
            ) from error

    def _heads(self) -> Iterator[tuple[int, int, int]]:
        """(offset, size, where its bytes are in the stream) of every record."""
        start, window = _HEADER, b""
        position = _HEADER
        while True:
            if position + _RECORD.size > start + len(window):
                start, window = position, self._get(position, _WINDOW)
            if len(window) < _RECORD.size:
                return  # no end mark: cut off
            offset, size = _RECORD.unpack_from(window, position - start)
            if offset == _END:
                self.complete = True
                return
            if offset < 0 or size < 0 or offset + size >= _LIMIT:
                raise ParseError(
                    f"{self._source}: at offset {position:#x}: expected a record of a flattened "
                    f"dump, found offset {offset} and size {size}"
                )
            position += _RECORD.size
            yield offset, size, position
            position += size

    def _records(self) -> tuple[array[int], array[int], array[int]]:
        begins, sizes, places = array("q"), array("q"), array("q")
        for offset, size, place in self._heads():
            size = min(size, self._length - place)
            if size <= 0:
                continue
            if len(begins) == _MAX_RECORDS:
                raise SourceError(
                    f"{self._source}: a flattened dump of more than {_MAX_RECORDS} records: "
                    f"makedumpfile -R FILE < {self._source} puts it together"
                )
            begins.append(offset)
            sizes.append(size)
            places.append(place)
        return begins, sizes, places

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The offset in the file inside."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to an offset of the file inside, which may lie beyond its end."""
        base = (0, self._position, self.size)[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # as io has it
        """As many bytes as there are, up to the buffer's size."""
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self.size - self._position))
        done = 0
        while done < wanted:
            size = self._piece(view[done:wanted])
            done += size
            self._position += size
        return done

    def _piece(self, view: memoryview) -> int:
        """Fill the front of ``view`` from the piece or hole at the position; returns how far."""
        after = bisect_right(self._begins, self._position)
        within = self._position - self._begins[after - 1] if after else 0
        if after and within < self._sizes[after - 1]:
            size = min(len(view), self._sizes[after - 1] - within)
            data = self._get(self._places[after - 1] + within, size)
            if not data:
                raise SourceError(f"{self._source}: was cut off while it was read")
        else:
            # The last piece ends the file, so behind a hole there is one.
            data = bytes(min(len(view), self._begins[after] - self._position, 1 << 20))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the stream, too."""
        if not self.closed:
            self._stream.close()
        super().close()


_Index = tuple["array[int]", "array[int]", "array[int]"]


def _without_overlaps(begins: array[int], sizes: array[int], places: array[int]) -> _Index:
    """The pieces in order of offset; where records overlap, the later one's bytes.

    At every offset the youngest of the records that cover it is on top of a heap.
    """
    order = sorted(range(len(begins)), key=begins.__getitem__)
    out: _Index = array("q"), array("q"), array("q")
    covering: list[int] = []  # negated numbers of records, the youngest first

    def emit(start: int, stop: int) -> int:
        """The pieces from ``start`` to ``stop``, as far as records cover them; returns the end."""
        while start < stop and covering:
            record = -covering[0]
            end = min(begins[record] + sizes[record], stop)
            if end <= start:
                heappop(covering)
                continue
            out[0].append(start)
            out[1].append(end - start)
            out[2].append(places[record] + start - begins[record])
            start = end
        return start

    position = 0
    for record in order:
        emit(position, begins[record])
        position = begins[record]
        heappush(covering, -record)
    emit(position, _LIMIT)
    return out
