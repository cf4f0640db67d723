"""Decompresses the pages of a dump: zlib, LZO1X, Snappy, Zstandard.

LZO1X as Documentation/staging/lzo.rst of the kernel describes it, Snappy as its
``format_description.txt`` does. Both are plain Python: a page takes a fraction of a millisecond,
and most distributions write LZO.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from tracekit.errors import ParseError, SourceError

__all__ = ["lzo1x", "snappy", "unzlib", "zstd"]

_MAX_WINDOW = 1 << 20  # bytes of history a Zstandard frame may ask for; a page has 64 KiB at most


class _Output(bytearray):
    """What was decompressed; ``limit`` bytes at most."""

    limit = 0

    def literal(self, data: bytes, start: int, size: int) -> int:
        """Append ``size`` bytes of ``data``; returns the offset behind them."""
        stop = start + size
        if stop > len(data) or len(self) + size > self.limit:
            raise ParseError("a literal beyond the end")
        self += data[start:stop]
        return stop

    def match(self, distance: int, size: int) -> None:
        """Append ``size`` of the bytes that begin ``distance`` before the end; they may overlap."""
        begin = len(self) - distance
        if begin < 0 or distance < 1 or len(self) + size > self.limit:
            raise ParseError("a match beyond the beginning or the end")
        if distance >= size:
            self += self[begin : begin + size]
        else:
            self += (self[begin:] * (size // distance + 1))[:size]


def _output(limit: int) -> _Output:
    out = _Output()
    out.limit = limit
    return out


def _decoded(decode: Callable[[bytes, _Output], None], name: str, data: bytes, size: int) -> bytes:
    out = _output(size)
    try:
        decode(data, out)
    except IndexError as error:
        raise ParseError(f"{name}: ends too early") from error
    except ParseError as error:
        raise ParseError(f"{name}: {error}") from error
    if len(out) != size:
        raise ParseError(f"{name}: {len(out)} bytes where {size} were expected")
    return bytes(out)


def _long(data: bytes, position: int, size: int, most: int) -> tuple[int, int]:
    """(a length, the offset behind it): ``size``, or where it is 0 what bytes add to ``most``."""
    if size:
        return size, position
    start = position
    while not data[position]:
        position += 1
    return most + 255 * (position - start) + data[position], position + 1


def _lzo1x(data: bytes, out: _Output) -> None:
    position = 0
    literals = 0  # that the last instruction copied: 0 to 3, or 4 for a run of them
    if data[0] > 17:
        position = out.literal(data, 1, data[0] - 17)
        literals = min(data[0] - 17, 4)
    while True:
        code = data[position]
        position += 1
        if code >= 64:
            distance = (data[position] << 3) + (code >> 2 & 7) + 1
            size = (code >> 5) + 1
            position += 1
            last = code
        elif code >= 16:
            bits, base = (31, 1) if code >= 32 else (7, 16384 + (code >> 3 & 1) * 16384)
            size, position = _long(data, position, code & bits, bits)
            size += 2
            last = data[position]
            distance = base + (data[position + 1] << 6) + (last >> 2)
            position += 2
            if code < 32 and distance == 16384:
                if position != len(data):
                    raise ParseError("bytes behind its end")
                return
        elif literals == 0:
            size, position = _long(data, position, code, 15)
            position = out.literal(data, position, size + 3)
            literals = 4
            continue
        else:
            distance = (data[position] << 2) + (code >> 2) + (2049 if literals == 4 else 1)
            size = 3 if literals == 4 else 2
            position += 1
            last = code
        out.match(distance, size)
        literals = last & 3
        position = out.literal(data, position, literals)


def lzo1x(data: bytes, size: int) -> bytes:
    """The ``size`` bytes in an LZO1X stream. Raises :class:`~tracekit.errors.ParseError`."""
    return _decoded(_lzo1x, "LZO", data, size)


def _snappy(data: bytes, out: _Output) -> None:
    position = size = shift = 0
    while True:
        size |= (data[position] & 0x7F) << shift
        position += 1
        shift += 7
        if data[position - 1] < 0x80:
            break
        if shift > 28:
            raise ParseError("its length has more than 32 bits")
    if size != out.limit:
        raise ParseError(f"{size} bytes where {out.limit} were expected")
    while position < len(data):
        tag = data[position]
        kind, size = tag & 3, (tag >> 2) + 1
        position += 1
        if kind == 0:
            if size > 60:
                more = size - 60
                size = int.from_bytes(data[position : position + more], "little") + 1
                position += more
            position = out.literal(data, position, size)
        elif kind == 1:
            out.match((tag >> 5 << 8) + data[position], (tag >> 2 & 7) + 4)
            position += 1
        else:
            width = 2 if kind == 2 else 4
            out.match(int.from_bytes(data[position : position + width], "little"), size)
            position += width


def snappy(data: bytes, size: int) -> bytes:
    """The ``size`` bytes in a raw Snappy stream. Raises :class:`~tracekit.errors.ParseError`."""
    return _decoded(_snappy, "Snappy", data, size)


def unzlib(data: bytes, size: int) -> bytes:
    """The ``size`` bytes in a zlib stream. Raises :class:`~tracekit.errors.ParseError`."""
    try:
        context = zlib.decompressobj()
        out = context.decompress(data, size + 1)
    except zlib.error as error:
        raise ParseError(f"zlib: {error}") from error
    if not context.eof:
        raise ParseError("zlib: ends too early, or too late")
    if len(out) != size:
        raise ParseError(f"zlib: {len(out)} bytes where {size} were expected")
    return out


def zstd(data: bytes, size: int) -> bytes:
    """The ``size`` bytes in a Zstandard frame.

    Raises :class:`~tracekit.errors.ParseError`, and :class:`~tracekit.errors.SourceError` where
    the package zstandard is not installed.
    """
    try:
        import zstandard
    except ImportError as error:
        raise SourceError(
            "its pages are compressed with Zstandard, which needs the Python package zstandard "
            "(python3-zstandard): install it, or recompress the dump: makedumpfile -c THIS FILE"
        ) from error
    context = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    try:
        with context.stream_reader(data) as stream:
            out = stream.read(size + 1)
    except zstandard.ZstdError as error:
        raise ParseError(f"zstd: {error}") from error
    if len(out) != size:
        raise ParseError(f"zstd: {len(out)} bytes where {size} were expected")
    return bytes(out)
