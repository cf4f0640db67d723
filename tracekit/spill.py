"""Memory for what may be larger than memory: beyond a limit it lies in files without a name.

What is mapped counts as resident once it was touched, until :func:`release` gives it back: the
pages stay where they belong, in the kernel's cache of the file, or on the disk.
"""

from __future__ import annotations

import errno
import mmap
import os
import weakref
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from threading import Lock, RLock
from typing import Protocol, cast

from tracekit.errors import SourceError

__all__ = [
    "FOLIO", "Room", "Spill", "mappings", "no_room", "releasable", "release", "room_of", "unnamed",
    "untouched",
]  # fmt: skip

_HELD = 160 << 20  # bytes of one spill that are not in files
_RETURNED = 32 << 20  # bytes that a child's end makes room for, at most
_LARGE = 64 << 20  # bytes that are not taken from the disk before they are needed
_SPARE = 64 << 20  # bytes of the disk that are left free
_ZEROS = bytes(1 << 20)
_FILE = 1 << 30  # bytes of a file; it takes as much of the disk as is used of it
#: Bytes to write at a time of what is mapped later. Linux 6.18 maps all of what its cache holds
#: together, as one write makes it, for each page that is touched: of 512 CPUs, a row of each, 2 MiB
#: were resident.
FOLIO = 1 << 16
_DISK = "/var/tmp"  # /tmp may be memory


class _Mapped(Protocol):
    def madvise(self, option: int, /) -> None: ...


_LOCK = Lock()  # of the mappings: regions are read in a thread of their own
_MAPPINGS: weakref.WeakSet[_Mapped] = weakref.WeakSet()


def release() -> None:
    """Let go of the memory of all mappings: what is in them is read again where it is needed."""
    for mapping in mappings():
        mapping.madvise(mmap.MADV_DONTNEED)


def mappings() -> list[_Mapped]:
    """What :func:`release` lets go of."""
    with _LOCK:
        return list(_MAPPINGS)


def releasable(mapping: _Mapped) -> None:
    """Let :func:`release` let go of this mapping of a file, too, or of what is one of many.

    A page that is touched has 64 KiB mapped at most, not 2 MiB: few rows that lie anywhere would
    have all of it.
    """
    with suppress(OSError):  # a kernel without huge pages
        mapping.madvise(mmap.MADV_NOHUGEPAGE)
    with _LOCK:
        _MAPPINGS.add(mapping)


def untouched(size: int) -> memoryview:
    """``size`` writable bytes of zero, of which only what is written to takes memory."""
    if size < len(_ZEROS):
        return memoryview(bytearray(size))
    mapping = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them
        mapping.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(mapping)


def room_of(about: os.statvfs_result) -> int:
    """Bytes of a file system that may be taken: some are left free."""
    return about.f_bavail * about.f_frsize - _SPARE


class Room:
    """Writable bytes, zeros at first: ``view`` shows them."""

    def __init__(
        self, view: memoryview, file: int | None = None, start: int = 0, owner: Spill | None = None
    ) -> None:
        """``file``: the descriptor of the file that is mapped there, from ``start`` on.

        It stays open as long as ``owner``, or this.
        """
        self.view, self._file, self._start, self._owner = view, file, start, owner

    @property
    def in_file(self) -> bool:
        """Whether what is written to ``view`` dirties pages of a file: :meth:`put` is faster."""
        return self._file is not None

    def put(self, offset: int, data: bytes | memoryview) -> None:
        """Put bytes there, where nothing was put before.

        Raises :class:`~tracekit.errors.SourceError` where there is no room on the disk.
        """
        if self._file is None:
            self.view[offset : offset + len(data)] = data
        else:
            _write(self._file, data, self._start + offset)


class _Count:  # of bytes
    size = 0


class Spill:
    """Gives memory: the first of it as usual, what is more in files, which end with it."""

    def __init__(self, parent: Spill | None = None) -> None:
        """``parent``: whose memory it shares; its end gives some back. Its files are its own."""
        self._parent = parent
        self._held = _Count()  # and what its children hold; a child's own, which it gives back
        if parent is not None:
            weakref.finalize(self, parent._take_back, self._held)
        self._file: int | None = None  # a descriptor
        self._mapping = memoryview(b"")
        self._used = 0  # bytes of the mapping
        self._lock = RLock()  # a child may end anywhere, here too

    @property
    def lasting(self) -> Spill:
        """Itself, or whose memory it shares."""
        return self._parent or self

    def fits(self, size: int) -> bool:
        """Whether so many bytes more would not go to a file."""
        return self._parent.fits(size) if self._parent else self._held.size + size <= _HELD

    def need(self, size: int) -> None:
        """Raise :class:`~tracekit.errors.SourceError` if the disk has no room for as much more.

        Large :meth:`room` takes none before it is filled, which is done bit by bit.
        """
        if self.fits(size):
            return
        if room_of(os.statvfs(_directory())) < size:
            raise no_room(size, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

    def _holds(self, size: int) -> bool:
        """Whether so many bytes are held in memory: then they are counted."""
        if self._parent is not None:
            fits = self._parent._holds(size)
            self._held.size += size if fits else 0
            return fits
        with self._lock:
            fits = self.fits(size)
            self._held.size += size if fits else 0
            return fits

    def _take_back(self, count: _Count) -> None:
        """Count no longer what a child held; the C library may not have returned much of it."""
        with self._lock:
            self._held.size -= min(count.size, _RETURNED)

    def kept(self, data: bytes) -> bytes:
        """``data``, or, where that is too much, the same in a file."""
        return data if self._holds(len(data)) else self._in_file((data,), len(data))

    def room(self, size: int) -> Room:
        """``size`` bytes; of many, :meth:`need` must be asked for room on the disk.

        Raises :class:`~tracekit.errors.SourceError` where there is none.
        """
        if self._holds(size):
            return Room(untouched(size))
        if size <= _LARGE:
            return Room(*self._shared(size), self)
        room = Room(memoryview(b""), fd := unnamed())
        weakref.finalize(room, os.close, fd)
        room.view = _mapped(fd, size)
        return room

    def collected(self, chunks: Iterable[bytes], size: int) -> bytes:
        """What the chunks are together; ``size`` is what that should come to."""
        if not self._holds(size):
            return self._in_file(chunks, size)
        made, done, rest = list[bytes](), 0, iter(chunks)
        for chunk in rest:
            made.append(chunk)
            done += len(chunk)
            if done > size:
                return cast(bytes, _file_of(chain(made, rest)))
        return b"".join(made)

    def _in_file(self, chunks: Iterable[bytes], size: int) -> bytes:
        rest = iter(chunks)
        if size > _LARGE:
            return cast(bytes, _file_of(rest))
        memory, fd, start = self._shared(size)
        done = 0
        for chunk in rest:
            if done + len(chunk) > size:
                return cast(bytes, _file_of(chain((memory[:done], chunk), rest)))
            _write(fd, chunk, start + done)
            done += len(chunk)
        return cast(bytes, memory[:done])

    def _shared(self, size: int) -> tuple[memoryview, int, int]:
        """(so many bytes of a mapping, a descriptor of its file, where they are in it)."""
        with self._lock:
            start = -(-self._used // mmap.PAGESIZE) * mmap.PAGESIZE
            if self._file is None or start + size > _FILE:
                self._file, start = unnamed(), 0
                weakref.finalize(self, os.close, self._file)
                self._mapping = _mapped(self._file, _FILE)
            try:  # writing to a mapping cannot fail politely
                os.posix_fallocate(self._file, start, size)
            except OSError as error:
                raise no_room(size, error) from error
            self._used = start + size
            return self._mapping[start : start + size], self._file, start


def _file_of(chunks: Iterable[bytes | memoryview]) -> memoryview:
    """A file of its own, which holds the chunks."""
    fd, size = unnamed(), 0
    try:
        for chunk in chunks:
            _write(fd, chunk, size)
            size += len(chunk)
        return _mapped(fd, size)
    finally:
        os.close(fd)


def _write(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write, which is faster than as many page faults; zeros are there already."""
    view = memoryview(b"" if data == _ZEROS[: len(data)] else data)
    while view:
        try:
            written = os.pwrite(fd, view[:FOLIO], offset)
        except OSError as error:
            raise no_room(len(view), error) from error
        view, offset = view[written:], offset + written


def _directory() -> str:
    named = os.environ.get("TMPDIR", "")
    for place in (named, _DISK):
        if place and os.access(place, os.W_OK | os.X_OK):
            return place
    import tempfile  # slow to import, and rarely needed

    try:
        return tempfile.gettempdir()
    except FileNotFoundError:  # nothing can be written: it will be said
        return named or _DISK


def no_room(size: int, error: OSError) -> SourceError:
    """That so many bytes more do not fit on the disk (0: not known how many)."""
    many = f"{size:,} more bytes" if size else "more bytes"
    return SourceError(
        f"{_directory()}: {error.strerror or error}: this session needs {many} of disk than there "
        "are; name another place: TMPDIR=DIR"
    )


def unnamed() -> int:
    """A descriptor of a new file."""
    with suppress(OSError):  # a file system that has no such files
        return os.open(_directory(), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    import tempfile  # slow to import, and rarely needed

    try:
        fd, path = tempfile.mkstemp(dir=_directory())
        Path(path).unlink()
    except OSError as error:
        raise no_room(0, error) from error
    return fd


def _mapped(fd: int, size: int) -> memoryview:
    """The first ``size`` bytes of a file, which is made as long if it is shorter."""
    if not size:
        return memoryview(bytearray())  # there is no mapping of nothing
    if os.fstat(fd).st_size < size:
        os.ftruncate(fd, size)
    mapping = mmap.mmap(fd, size)
    releasable(mapping)
    return memoryview(mapping)
