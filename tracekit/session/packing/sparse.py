"""What was recorded without its empty pages: most of a ring buffer's memory is never written.

A header, ``tksparse`` and the size of the whole (u64), then stretches that are not all zeros, in
order: offset and length (u64 each) and their bytes; the last one, at the end, has none. Unpacking
and storing then cost what was used, not what was reserved.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Protocol

from tracekit.errors import SessionError

__all__ = ["SPARSE", "SparseSink", "filled_in", "stretches", "whole_size"]

SPARSE = ".sparse"  #: comes before the suffix of the compression
_HEADER = struct.Struct("<8sQ")
_STRETCH = struct.Struct("<QQ")
_MAGIC = b"tksparse"
_BLOCK = 4096  # bytes that are left out where they are zeros
_LEAST = 1 << 16  # bytes that are looked at together
_ZEROS = bytes(1 << 20)


class _Sink(Protocol):
    def write(self, data: bytes, /) -> int: ...
    def close(self) -> None: ...


class SparseSink:
    """A sink for ``size`` bytes that passes on what is not zero."""

    def __init__(self, inner: _Sink, size: int) -> None:
        self._inner = inner
        self._done = 0
        inner.write(_HEADER.pack(_MAGIC, size))

    def write(self, data: bytes, /) -> int:
        """Take all of ``data``."""
        view = memoryview(data)
        for start, end in _used(view):
            self._inner.write(_STRETCH.pack(self._done + start, end - start))
            self._inner.write(bytes(view[start:end]))
        self._done += len(view)
        return len(view)

    def close(self) -> None:
        """Write the end."""
        self._inner.write(_STRETCH.pack(self._done, 0))
        self._inner.close()


def _used(view: memoryview) -> Iterator[tuple[int, int]]:
    """The stretches of whole blocks that are not all zeros."""
    begin: int | None = None
    for start in range(0, len(view), _LEAST):
        some = bytes(view[start : start + _LEAST])  # views are compared byte by byte
        step = _LEAST if some == _ZEROS[: len(some)] else _BLOCK
        for at in range(0, len(some), step):
            block = some[at : at + step]
            if block == _ZEROS[: len(block)]:
                if begin is not None:
                    yield begin, start + at
                begin = None
            elif begin is None:
                begin = start + at
    if begin is not None:
        yield begin, len(view)


def whole_size(stream: BinaryIO, what: str) -> int:
    """The size of the whole, from the header. Raises :class:`~tracekit.errors.SessionError`."""
    head = stream.read(_HEADER.size)
    if len(head) < _HEADER.size or head[:8] != _MAGIC:
        raise SessionError(f"{what}: damaged: it does not begin as it should")
    size: int = _HEADER.unpack(head)[1]
    return size


def stretches(stream: BinaryIO, size: int, what: str) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of what is not zero, in order, at most a MiB at a time.

    ``stream`` is behind its header. Raises :class:`~tracekit.errors.SessionError`.
    """
    done = 0
    while True:
        head = stream.read(_STRETCH.size)
        if len(head) < _STRETCH.size:
            raise SessionError(f"{what}: damaged: it ends too early")
        offset, length = _STRETCH.unpack(head)
        if offset < done or length > size - offset:
            raise SessionError(f"{what}: damaged: a stretch of {length} bytes at {offset}")
        if not length:
            break
        done = offset + length
        while offset < done:
            data = stream.read(min(done - offset, len(_ZEROS)))
            if not data:
                raise SessionError(f"{what}: damaged: it ends too early")
            yield offset, data
            offset += len(data)
    if offset != size:
        raise SessionError(f"{what}: damaged: {offset} of {size} bytes are there")


def filled_in(parts: Iterable[tuple[int, bytes]], size: int) -> Iterator[bytes]:
    """All of it, a MiB or less at a time."""
    at = 0
    for offset, data in parts:
        yield from _zeros(offset - at)
        yield data
        at = offset + len(data)
    yield from _zeros(size - at)


def _zeros(size: int) -> Iterator[bytes]:
    while size:
        some = min(size, len(_ZEROS))
        yield _ZEROS[:some]
        size -= some
