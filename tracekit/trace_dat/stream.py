"""Bounded reads of an untrusted file, and what is compressed in it."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from tracekit.errors import ParseError, SourceError

__all__ = ["MAX_TABLE", "Blocks", "Stream", "decompressor"]

MAX_TABLE = 256 << 20  # bytes of a table (formats, symbols), unpacked: a kernel has 20 MiB
_MAX_CHUNK = 64 << 20  # bytes of a chunk of events, unpacked: trace-cmd packs ten pages at a time
_MAX_STRING = 4096
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_WINDOW = 1 << 27  # bytes of history that a frame may demand


class Stream:
    """Reads numbers, strings and bytes; what lies beyond the end raises ParseError."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.name = name
        self.size = file.seek(0, os.SEEK_END)
        file.seek(0)

    def fail(self, problem: str) -> ParseError:
        """The error for the current place, for the caller to raise."""
        return ParseError(f"{self.name}: at byte {self.tell():#x}: {problem}")

    def tell(self) -> int:
        """The current place, in bytes."""
        return self._file.tell()

    def seek(self, offset: int, what: str) -> None:
        """Go to ``offset``, where ``what`` is said to be."""
        if not 0 <= offset < self.size:
            raise ParseError(
                f"{self.name}: {what} is said to be at byte {offset:#x}, but the file ends at "
                f"{self.size:#x}: it is truncated or damaged"
            )
        self._file.seek(offset)

    def take(self, size: int, what: str) -> bytes:
        """The next ``size`` bytes."""
        left = self.size - self.tell()
        if size > left:
            raise self.fail(f"{what} should have {size:,} bytes, {left:,} are left: truncated")
        return self._file.read(size)

    def number(self, size: int, what: str) -> int:
        """An unsigned little-endian number of ``size`` bytes."""
        return int.from_bytes(self.take(size, what), "little")

    def string(self, what: str) -> str:
        """A string that ends with a NUL."""
        start = self.tell()
        raw, nul, _ = self._file.read(_MAX_STRING).partition(b"\0")
        if not nul:
            self._file.seek(start)
            raise self.fail(f"{what} does not end")
        self._file.seek(start + len(raw) + 1)
        return raw.decode("utf-8", "backslashreplace")

    def sized(self, width: int, what: str, limit: int = MAX_TABLE) -> bytes:
        """Bytes behind a number of ``width`` bytes that says how many."""
        size = self.number(width, f"the size of {what}")
        if size > limit:
            raise self.fail(f"{what} of {size:,} bytes is no kernel's")
        return self.take(size, what)


def decompressor(name: str, where: str) -> str:
    """``none``, ``zlib`` or ``zstd``; raises SourceError for what cannot be unpacked here."""
    if name not in ("none", "zlib", "zstd"):
        raise SourceError(f"{where}: compressed with {name[:40]!r}; zstd, zlib and none are read")
    return name


class Blocks:
    """Unpacks what is compressed in one file; ``room`` bounds the sum of all, in bytes."""

    def __init__(self, stream: Stream, compression: str, room: int) -> None:
        self._stream = stream
        self._compression = compression
        self._room = room

    def block(self, limit: int, what: str) -> bytes:
        """The block at the current place: sizes packed and unpacked (u32), data."""
        packed_size = self._stream.number(4, "the size of a block")
        size = self._stream.number(4, "the unpacked size of a block")
        if size > limit or size > self._room:
            raise self._stream.fail(
                f"{what} unpacks to {size:,} bytes: damaged, or made to exhaust memory"
            )
        self._room -= size
        packed = self._stream.take(packed_size, what)
        data = self._unpack(packed, size, what)
        if len(data) != size:
            raise self._stream.fail(f"{what} unpacks to {len(data):,} bytes, not to {size:,}")
        return data

    def chunks(self, offset: int, size: int, what: str) -> Iterator[bytes]:
        """The events of a CPU: a count of chunks (u32), and those."""
        self._stream.seek(offset, what)
        count = self._stream.number(4, f"the number of chunks of {what}")
        at = offset + 4
        for _ in range(count):
            if at >= offset + size:
                raise self._stream.fail(f"{what}: {count:,} chunks do not fit into it")
            self._stream.seek(at, what)  # the caller may have read elsewhere
            data = self.block(_MAX_CHUNK, what)
            at = self._stream.tell()
            yield data

    def unpacked_size(self, offset: int, size: int, what: str) -> int:
        """What the chunks of a CPU say that they unpack to, in bytes."""
        self._stream.seek(offset, what)
        total, end = 0, offset + size
        for _ in range(self._stream.number(4, f"the number of chunks of {what}")):
            packed, unpacked = struct.unpack("<II", self._stream.take(8, what))
            at = self._stream.tell() + packed
            if at > end:
                raise self._stream.fail(f"a chunk of {what} reaches beyond it")
            total += unpacked
            if at < self._stream.size:
                self._stream.seek(at, what)
        if total > self._room:
            raise self._stream.fail(
                f"{what} unpacks to {total:,} bytes: damaged, or made to exhaust memory"
            )
        return total

    def _unpack(self, packed: bytes, size: int, what: str) -> bytes:
        if self._compression == "none":
            raise self._stream.fail(
                f"{what} is compressed, but the file says it has no compression"
            )
        try:
            if self._compression == "zlib":
                return zlib.decompressobj().decompress(packed, size + 1)
            return self._zstd(packed, size)
        except (zlib.error, MemoryError) as error:
            raise self._stream.fail(f"{what} cannot be unpacked: {error}") from error

    def _zstd(self, packed: bytes, size: int) -> bytes:
        try:
            import zstandard
        except ImportError as error:
            raise SourceError(
                f"{self._stream.name}: compressed with zstandard, which is not installed here: "
                "install the package 'zstandard' (python3-zstandard)"
            ) from error
        # trace-cmd 3.1 to 3.3 leave the magic number out (ZSTD_f_zstd1_magicless)
        form = zstandard.FORMAT_ZSTD1
        if not packed.startswith(_ZSTD_MAGIC):
            form = zstandard.FORMAT_ZSTD1_MAGICLESS
        try:
            context = zstandard.ZstdDecompressor(max_window_size=_WINDOW, format=form)
            with context.stream_reader(packed) as reader:
                return bytes(reader.read(size + 1))
        except zstandard.ZstdError as error:
            raise self._stream.fail(f"cannot be unpacked: {error}") from error
