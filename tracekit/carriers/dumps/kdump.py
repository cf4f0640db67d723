"""Physical memory in makedumpfile's compressed format (KDUMP), which QEMU writes, too.

Blocks (of the page size) in order: the header, a sub header, two bitmaps (a bit for each page
frame: the page existed; the page is in the dump), then a descriptor of 24 bytes for each page in
the dump, then their bytes. See ``struct disk_dump_header``, ``kdump_sub_header`` and ``page_desc``
in makedumpfile's ``diskdump_mod.h``, and ``DiskDumpHeader64`` in QEMU's ``include/sysemu/dump.h``.
"""

from __future__ import annotations

import re
import struct
from array import array
from collections.abc import Iterator
from functools import lru_cache
from typing import BinaryIO

from tracekit.carriers.dumps import page_codecs
from tracekit.carriers.memory import PhysicalMemory, Range
from tracekit.errors import ParseError, SourceError
from tracekit.frozen import dataclass

__all__ = ["MAGIC", "Kdump"]

MAGIC = b"KDUMP   "
# block_size, sub_hdr_size, bitmap_blocks, max_mapnr behind status, at 424 where pointers have 64
# bits: utsname and struct timeval are before them.
_HEADER = struct.Struct("<8si")
_STATUS = struct.Struct("<IiiII")
_STATUS_AT = 424
_MACHINE = slice(12 + 4 * 65, 12 + 5 * 65)  # utsname.machine
# phys_base, dump_level, split, start_pfn, end_pfn, offset and size of vmcoreinfo, of the notes,
# of what was erased, then the 64-bit start_pfn, end_pfn and max_mapnr
_SUB = struct.Struct("<QiiQQQQQQQQQQQ")
_DESCRIPTOR = struct.Struct("<QII8x")
_ZLIB, _LZO, _SNAPPY, _INCOMPLETE, _ZSTD = 1, 2, 4, 8, 0x20
_CODECS = {
    _ZLIB: page_codecs.unzlib,
    _LZO: page_codecs.lzo1x,
    _SNAPPY: page_codecs.snappy,
    _ZSTD: page_codecs.zstd,
}
_ZEROS_ONLY = 1  # the dump level that leaves out the pages of zeros, and no other ones
_PAGE_SIZES = (4096, 8192, 16384, 65536)
_MAX_FRAMES = 1 << 34  # 64 TiB in pages of 4 KiB
_UNIT = 4096  # bytes of a bitmap that are looked at together
_FRAMES = _UNIT * 8
_MAX_RANGES = 4096
_MAX_NOTE = 1 << 20
_PAGES_KEPT = 64
_RUN = re.compile("0+|1+")


@dataclass(frozen=True, slots=True)
class _Layout:
    """The header's numbers; the offsets in bytes, the ends exclusive."""

    page: int  # bytes of a page, and of a block
    frames: int  # page frames that the bitmaps tell of
    first: int  # of the page frames that this file of a split dump is about
    end: int
    existed: int  # offset of the bitmap of pages that there were
    dumped: int  # offset of the bitmap of pages that are in the dump
    descriptors: int
    level: int
    incomplete: bool
    note: tuple[int, int]  # offset and size of VMCOREINFO


def _layout(head: bytes, source: str, more: bytes) -> _Layout:
    """Parse the header; ``more`` is what follows it in the file, the sub header being in it."""
    if not head.startswith(MAGIC) or len(head) < _STATUS_AT + _STATUS.size:
        raise ParseError(f"{source}: at offset 0x0: expected the header of a compressed dump")
    version = _HEADER.unpack_from(head)[1]
    status, page, sub_blocks, bitmap_blocks, frames = _STATUS.unpack_from(head, _STATUS_AT)
    if not 0 < version < 1 << 16 or page not in _PAGE_SIZES or not 0 < sub_blocks < 1 << 16:
        machine = head[_MACHINE].split(b"\0")[0].decode("ascii", "backslashreplace")
        raise ParseError(
            f"{source}: a compressed dump of a {machine!r} machine with pages of {page} bytes, "
            "which this does not read: 64-bit little-endian ones with pages of 4 to 64 KiB it does"
        )
    sub = more[page - len(head) :]
    if len(sub) < _SUB.size:
        raise ParseError(f"{source}: at offset {page:#x}: expected a sub header; it was cut off")
    _, level, split, first, end, *note, _, _, _, _, first64, end64, frames64 = _SUB.unpack_from(sub)
    if version >= 6:
        first, end, frames = first64, end64, frames64
    if not 0 <= frames <= _MAX_FRAMES:
        raise ParseError(f"{source}: {frames} page frames: more than any machine has")
    if version < 2 or not split:
        first, end = 0, frames
    bitmap = (1 + sub_blocks) * page
    half = bitmap_blocks * page // 2
    both = half * 8 >= frames  # before there were dump levels, one bitmap was enough
    if bitmap_blocks < 0 or bitmap_blocks * page * 8 < frames:
        raise ParseError(
            f"{source}: bitmaps of {bitmap_blocks} blocks, too small for {frames} page frames"
        )
    return _Layout(
        page, frames, min(first, frames), min(end, frames), bitmap, bitmap + half * both,
        bitmap + bitmap_blocks * page, level, bool(status & _INCOMPLETE),
        (note[0], note[1]) if version >= 3 else (0, 0),
    )  # fmt: skip


class Kdump(PhysicalMemory):
    """The physical memory in a compressed dump. Closing it closes the stream.

    ``ranges`` are the memory that the machine had (the first :data:`_MAX_RANGES` of them; the last
    one then reaches to the end), less than all of which is in the dump: :meth:`held` and
    :meth:`read` know of every page. ``vmcoreinfo`` is the note of this name, b'' without one;
    ``level`` makedumpfile's dump level.
    """

    def __init__(self, stream: BinaryIO, source: str) -> None:
        """Read the headers of ``stream``, which must be seekable; ``source`` names it in errors.

        Raises :class:`~tracekit.errors.SourceError`.
        """
        super().__init__(stream, source, ())
        size = _STATUS_AT + _STATUS.size
        head = self._whole(0, size)
        self._layout = _layout(head, source, self._whole(size, max(_PAGE_SIZES) + _SUB.size - size))
        self.level = self._layout.level
        self._before = array("Q", [0])  # pages in the dump before each unit of the bitmap
        self._page = lru_cache(_PAGES_KEPT)(self._load)
        self._unit = lru_cache(_PAGES_KEPT)(self._bits)
        self._check_size()
        self.ranges = tuple(self._existing())
        self.vmcoreinfo = self._whole(self._layout.note[0], min(self._layout.note[1], _MAX_NOTE))

    def _whole(self, offset: int, size: int) -> bytes:
        """``size`` bytes of the file; fewer where it ends."""
        parts: list[bytes] = []
        while size and (data := self._from_file(offset, size)):
            parts.append(data)
            offset, size = offset + len(data), size - len(data)
        return b"".join(parts)

    def _from_file(self, offset: int, size: int) -> bytes:
        if offset + size >= 1 << 63:
            return b""
        return super()._read_at(offset, size)

    def _check_size(self) -> None:
        """The bitmaps must be in the file: otherwise their size is anything."""
        last = self._layout.descriptors - 1
        if not self._from_file(last, 1):
            raise SourceError(self._cut_off(last))

    def _bits(self, bitmap: int, unit: int) -> bytes:
        """A unit of a bitmap, as far as it is about page frames."""
        size = min(_UNIT, (self._layout.frames + 7) // 8 - unit * _UNIT)
        data = self._whole(bitmap + unit * _UNIT, size)
        if len(data) < size:
            raise SourceError(self._cut_off(bitmap + unit * _UNIT + len(data)))
        return data

    def _starts_of_runs(self, bitmap: int, first: int, end: int) -> Iterator[tuple[int, bool]]:
        """(frame, bit) where runs of equal bits begin, from the byte on that has ``first``."""
        for unit in range(first // _FRAMES, -(-end // _FRAMES)):
            base = unit * _FRAMES
            low = max(first - base, 0) // 8
            bits = self._unit(bitmap, unit)[low : -(-(end - base) // 8)]
            for position, bit in _starts(bits):
                yield base + low * 8 + position, bit

    def _runs(self, bitmap: int, first: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """(first, end, whether the bits are set) of the runs of equal bits in a range of frames."""
        start, value = first, False
        for frame, bit in self._starts_of_runs(bitmap, first, end):
            if frame >= end:
                break
            if frame > first and bit != value:
                yield start, frame, value
                start = frame
            value = bit
        if end > start:
            yield start, end, value

    def _existing(self) -> Iterator[Range]:
        at, page = self._layout, self._layout.page
        count = 0
        for first, end, existed in self._runs(at.existed, 0, at.frames):
            if existed:
                count += 1
                end = at.frames if count == _MAX_RANGES else end
                yield Range(first * page, (end - first) * page, first * page)
            if count == _MAX_RANGES:
                return

    def _pieces(self, address: int, size: int) -> Iterator[tuple[int | None, int]]:
        """As the base class has it; the "offset" of a page is its address."""
        at, stop = self._layout, address + max(size, 0)
        if stop == address:
            return
        first = min(max(address // at.page, at.first), at.end)
        end = min(max(-(-stop // at.page), first), at.end)
        bitmap = at.existed if at.level == _ZEROS_ONLY else at.dumped
        position = address
        for begin, behind, held in self._runs(bitmap, first, end):
            start = max(begin * at.page, address)
            if start > position:
                yield None, start - position
            position = min(behind * at.page, stop)
            yield (start if held else None), position - start
        if position < stop:
            yield None, stop - position

    def _rank(self, frame: int) -> int:
        """How many of the page frames before this one are in the dump."""
        unit, bit = divmod(frame, _FRAMES)
        dumped, before = self._layout.dumped, self._before
        while len(before) <= unit:
            before.append(before[-1] + _count(self._bits(dumped, len(before) - 1)))
        if not bit:
            return before[unit]
        bits = self._unit(dumped, unit)
        last = bits[bit // 8 : bit // 8 + 1]
        return before[unit] + _count(bits[: bit // 8]) + _count(last, (1 << bit % 8) - 1)

    def _load(self, frame: int) -> bytes:
        """The bytes of a page."""
        at = self._layout
        where = f"{self.source}: the page at physical address {frame * at.page:#x}"
        unit, bit = divmod(frame, _FRAMES)
        if not self._unit(at.dumped, unit)[bit // 8] >> bit % 8 & 1:
            return bytes(at.page)  # _pieces() gives no such page but at _ZEROS_ONLY
        place = at.descriptors + _DESCRIPTOR.size * (self._rank(frame) - self._rank(at.first))
        descriptor = self._whole(place, _DESCRIPTOR.size)
        if len(descriptor) < _DESCRIPTOR.size:
            raise SourceError(self._cut_off(place))
        offset, size, flags = _DESCRIPTOR.unpack(descriptor)
        if not offset or not size:
            raise SourceError(f"{where} is missing: the dump was not written to its end")
        if size > at.page:
            raise ParseError(f"{where} has {size} bytes, more than a page")
        data = self._whole(offset, size)
        if len(data) < size:
            raise SourceError(self._cut_off(offset + len(data)))
        codec = _CODECS.get(flags)
        if codec is None:
            if size < at.page or flags:
                raise ParseError(
                    f"{where}: flags {flags:#x} and {size} bytes: no known compression"
                )
            return data
        try:
            return codec(data, at.page)
        except ParseError as error:
            raise ParseError(f"{where} is damaged: {error}") from error
        except SourceError as error:
            raise SourceError(f"{self.source}: {error}") from error

    def _read_at(self, offset: int, size: int) -> bytes:
        """At most ``size`` bytes of the page at an address, as :meth:`_pieces` names it."""
        frame, within = divmod(offset, self._layout.page)
        return self._page(frame)[within : within + size]

    def describe(self) -> str:
        """The memory that the machine had, and what was left out of the dump."""
        left_out = f", less what dump level {self.level} left out" if self.level else ""
        cut = ", and was not written to its end" if self._layout.incomplete else ""
        return f"{super().describe()}{left_out}{cut}"


def _starts(bits: bytes) -> Iterator[tuple[int, bool]]:
    """(position, bit) where runs of equal bits begin."""
    for value in (b"\0", b"\xff"):
        if bits.count(value) == len(bits):
            yield 0, value != b"\0"
            return
    text = format(int.from_bytes(bits, "little"), f"0{8 * len(bits)}b")[::-1]
    for match in _RUN.finditer(text):
        yield match.start(), match[0][0] == "1"


def _count(bits: bytes, mask: int = -1) -> int:
    """The number of bits that are set."""
    return (int.from_bytes(bits, "little") & mask).bit_count()
