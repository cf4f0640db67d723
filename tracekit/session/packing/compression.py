"""Compression of session files: zstandard where it is importable, gzip where it is not.

The suffix (``.zst`` or ``.gz``) tells which, so a session written in a rescue shell without
zstandard is read everywhere.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol, cast

from tracekit.errors import SessionError
from tracekit.session.limits import Oversized
from tracekit.session.packing.sparse import SPARSE, SparseSink, filled_in, stretches, whole_size
from tracekit.spill import untouched

__all__ = [
    "Sink",
    "compress",
    "compressor",
    "content_size",
    "decompress",
    "decompress_chunks",
    "decompressed",
    "preferred_suffix",
    "sha256_of",
    "stated_sizes",
]

_LEVEL_ZSTD = 3  # on ring buffers: gzip -6's size at a tenth of its time
_LEVEL_GZIP = 6
_CHUNK = 1 << 20
_HEAD = 64  # bytes that tell the size of what is compressed
_IN_PLACE = 64 << 20  # bytes that are made at once; more grow, so that nothing is held twice
_MAX_WINDOW = 1 << 27  # bytes of history a frame may demand: zstd --long at its default


class Sink(Protocol):
    """Something bytes are written to, and that is closed to finish it."""

    def write(self, data: bytes, /) -> int:
        """Take all of ``data``."""
        ...

    def close(self) -> None:
        """Write what is still held back."""
        ...


def preferred_suffix() -> str:
    """``.zst`` when zstandard can be imported, else ``.gz``."""
    try:
        import zstandard  # noqa: F401
    except ImportError:
        return ".gz"
    return ".zst"


def compressor(raw: BinaryIO, suffix: str, size: int = -1) -> Sink:
    """A sink that compresses into ``raw``, which stays open when the sink is closed.

    ``size`` is the number of bytes to come, if that is known: a zstandard frame says so, and a
    reader allocates once.
    """
    if suffix.startswith(SPARSE):
        return SparseSink(compressor(raw, suffix.removeprefix(SPARSE)), size)
    if suffix == ".zst":
        import zstandard

        context = zstandard.ZstdCompressor(level=_LEVEL_ZSTD, write_checksum=True)
        return cast(Sink, context.stream_writer(raw, size=size, closefd=False))
    # mtime=0: the same bytes compress to the same file
    return cast(Sink, gzip.GzipFile("", "wb", _LEVEL_GZIP, raw, mtime=0))


def compress(data: bytes, suffix: str) -> bytes:
    """``data``, compressed whole."""
    out = io.BytesIO()
    sink = compressor(out, suffix, len(data))
    sink.write(data)
    sink.close()
    return out.getvalue()


def _too_large(what: str, limit: int) -> Oversized:
    return Oversized(
        f"{what}: decompresses to more than {limit} bytes: it is damaged or made to exhaust memory"
    )


@contextlib.contextmanager
def _opened(file: BinaryIO, suffix: str, what: str) -> Iterator[BinaryIO]:
    """``file``, decompressed as it is read; damage inside raises SessionError."""
    if suffix == ".zst":
        try:
            import zstandard
        except ImportError as error:
            raise SessionError(
                f"{what}: compressed with zstandard, which is not installed here: "
                "install the package 'zstandard' (python3-zstandard)"
            ) from error
        context = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
        try:
            with context.stream_reader(file, read_across_frames=True, closefd=False) as stream:
                yield cast(BinaryIO, stream)
        except zstandard.ZstdError as error:
            raise SessionError(f"{what}: damaged: {error}") from error
    elif suffix == ".gz":
        try:
            with gzip.GzipFile(fileobj=file) as stream:
                yield cast(BinaryIO, stream)
        except (OSError, EOFError, zlib.error) as error:
            raise SessionError(f"{what}: damaged: {error}") from error
    else:
        yield file


def decompress_chunks(file: BinaryIO, suffix: str, what: str) -> Iterator[bytes]:
    """The content of a compressed file, a MiB or less at a time. Raises as :func:`decompress`."""
    with _opened(file, suffix.removeprefix(SPARSE), what) as stream:
        if suffix.startswith(SPARSE):
            size = whole_size(stream, what)
            yield from filled_in(stretches(stream, size, what), size)
        while chunk := stream.read(_CHUNK):
            yield chunk


def sha256_of(file: BinaryIO) -> str:
    """sha256 of a file, hexadecimal; it is at its begin, and is again."""
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()


def stated_sizes(file: BinaryIO, suffix: str) -> tuple[bool, int]:
    """(whether a file says how large it is unpacked, that; else as it is stored).

    It is at its begin, and is again.
    """
    stored = file.seek(0, io.SEEK_END)
    file.seek(0)
    size = _stated(file, suffix, "")
    return bool(size) or not suffix, size or stored


def _stated(file: BinaryIO, suffix: str, what: str) -> int:
    """The size that a file says it has; 0 when it does not say. It is at its begin, and is again.

    Raises :class:`~tracekit.errors.SessionError` where that is damaged.
    """
    if suffix.startswith(SPARSE):
        with _opened(file, suffix.removeprefix(SPARSE), what) as stream:
            size = whole_size(stream, what)
    else:
        size = content_size(file.read(_HEAD), suffix)
    file.seek(0)
    return size


def decompressed(file: BinaryIO, suffix: str, what: str, limit: int) -> Iterator[bytes]:
    """As :func:`decompress`, but a MiB or less at a time; ``file`` is at its begin."""
    if suffix and not file.read(1):
        raise SessionError(f"{what}: damaged: it is empty")
    file.seek(0)
    size, done = _stated(file, suffix, what), 0
    if size > limit:
        raise _too_large(what, limit)
    for chunk in decompress_chunks(file, suffix, what):
        done += len(chunk)
        if done > limit:
            raise _too_large(what, limit)
        yield chunk
    if done < size:  # a truncated frame is no error to zstandard
        raise SessionError(f"{what}: damaged: {done} of {size} bytes are there")


def content_size(data: bytes, suffix: str) -> int:
    """The size a zstandard frame says its content has; 0 when it does not say."""
    if suffix != ".zst":
        return 0
    try:
        import zstandard
    except ImportError:
        return 0  # opening it says what is missing
    try:
        return max(0, zstandard.frame_content_size(data))
    except zstandard.ZstdError:
        return 0  # reading it says what is wrong


def decompress(data: bytes, suffix: str, what: str, limit: int) -> bytes:
    """The content of a compressed file; ``what`` names it in errors.

    ``suffix`` is ``.zst``, ``.gz`` or '' (returned as it is), or one with ``.sparse`` before it.

    Raises
    ------
    :class:`~tracekit.errors.SessionError` when it is damaged or cannot be decompressed here, and
    :class:`~tracekit.session.limits.Oversized` when it has more than ``limit`` bytes.

    """
    size = content_size(data, suffix)
    if max(size, len(data) if not suffix else 0) > limit:
        raise _too_large(what, limit)
    if not suffix:
        return data
    if not data:
        raise SessionError(f"{what}: damaged: it is empty")
    if suffix.startswith(SPARSE):
        return _unpacked_sparse(data, suffix.removeprefix(SPARSE), what, limit)
    with _opened(io.BytesIO(data), suffix, what) as stream:
        # One read of the stated size makes the result in place: a region is not held twice.
        first = stream.read(size) if 0 < size <= _IN_PLACE else b""
        done, rest = len(first), io.BytesIO()
        while chunk := stream.read(_CHUNK):
            rest.write(chunk)
            done += len(chunk)
            if done > limit:
                raise _too_large(what, limit)
        if done < size:  # a truncated frame is no error to zstandard
            raise SessionError(f"{what}: damaged: {done} of {size} bytes are there")
    return first + rest.getvalue() if first and rest.tell() else first or rest.getvalue()


def _unpacked_sparse(data: bytes, suffix: str, what: str, limit: int) -> bytes:
    """Only what is not zero is touched."""
    with _opened(io.BytesIO(data), suffix, what) as stream:
        size = whole_size(stream, what)
        if size > limit:
            raise _too_large(what, limit)
        whole = untouched(size)
        for offset, part in stretches(stream, size, what):
            whole[offset : offset + len(part)] = part
    return cast(bytes, whole)
