"""Where a session's bytes lie: a directory, or one ``.tar.zst`` archive of it held in memory."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

from tracekit.errors import SessionError
from tracekit.session.limits import Budget, Oversized
from tracekit.session.manifest import MANIFEST
from tracekit.session.owned import open_plain
from tracekit.session.packing.compression import decompress
from tracekit.session.packing.tar import tar_members

__all__ = ["MAX_ARCHIVE", "ArchiveStore", "DirectoryStore", "Store", "open_store"]

_MAX_FILES = 1 << 20  # files in one session: 256 boots, of which each has 1,500 to 3,000
_MAX_DEPTH = 16
MAX_ARCHIVE = 1 << 30  # bytes of an archive, unpacked
_BLOCK = 512  # bytes that st_blocks counts in
_NEXT = "name a directory that 'tracekit snapshot -o DIR' made, or an archive (.tar.zst) of one"


class Store(Protocol):
    """The files of a session by stored name, with no names that lead out of it."""

    @property
    def names(self) -> Mapping[str, object]:
        """Every stored name; only the keys matter."""
        ...

    def load(self, name: str, limit: int) -> bytes:
        """The stored bytes of a name in ``names``; Oversized if they are more than ``limit``."""
        ...

    def opened(self, name: str, limit: int) -> BinaryIO:
        """The same as a file, to be closed."""
        ...

    def on_disk(self) -> int:
        """How many bytes all of it takes on disk: holes of files take none."""
        ...


class DirectoryStore:
    """A session directory. Symlinks, devices and FIFOs in it do not exist to the reader."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: dict[str, None] = {}
        self._entries = 0
        self._scan(str(path), "", 0)

    def _scan(self, directory: str, prefix: str, depth: int) -> None:
        with os.scandir(directory) as entries:
            for entry in entries:
                self._entries += 1
                if entry.is_file(follow_symlinks=False):
                    self.names[prefix + entry.name] = None
                elif entry.is_dir(follow_symlinks=False) and depth < _MAX_DEPTH:
                    self._scan(entry.path, f"{prefix}{entry.name}/", depth + 1)
                if self._entries > _MAX_FILES:
                    raise SessionError(f"{self.path}: more than {_MAX_FILES} files: not a session")

    def load(self, name: str, limit: int) -> bytes:
        """The file's bytes; raises :class:`~tracekit.errors.SessionError`."""
        try:
            return _read(self.path / name, limit)
        except OSError as error:
            raise SessionError(f"{self.path / name}: cannot be read: {error.strerror}") from error

    def opened(self, name: str, limit: int) -> BinaryIO:
        """The file; raises :class:`~tracekit.errors.SessionError`."""
        try:
            return _opened(self.path / name, limit)
        except OSError as error:
            raise SessionError(f"{self.path / name}: cannot be read: {error.strerror}") from error

    def on_disk(self) -> int:
        """The blocks that are allocated."""
        total = 0
        for name in self.names:
            with contextlib.suppress(OSError):
                about = (self.path / name).lstat()
                total += min(about.st_size, about.st_blocks * _BLOCK)
        return total


def _opened(path: Path, limit: int) -> BinaryIO:
    """A plain file. No link is followed, nothing waited for."""
    file = os.fdopen(open_plain(path, os.O_RDONLY), "rb")
    size = os.fstat(file.fileno()).st_size
    if size > limit:
        file.close()
        raise Oversized(
            f"{path}: {size:,} bytes, more than {limit:,}: it is damaged or made to exhaust memory"
        )
    return file


def _read(path: Path, limit: int) -> bytes:
    """A plain file, whole."""
    with _opened(path, limit) as file:
        # as many bytes are allocated as are asked for
        return file.read(os.fstat(file.fileno()).st_size)


class ArchiveStore:
    """A ``.tar.zst`` of a session, unpacked into memory; nothing is ever extracted to disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        data = _read(path.resolve(), MAX_ARCHIVE)  # what the user named may be a link
        suffix = ".zst" if path.suffix == ".zst" else ".gz"
        self._size = len(data)
        unpacked = self._unpacked(data, suffix)
        del data
        members = tar_members(unpacked, str(path), _MAX_FILES)
        self._data = unpacked
        roots = [
            name.removesuffix(MANIFEST)
            for name in members
            if name == MANIFEST or name.endswith("/" + MANIFEST)
        ]
        root = min(roots, key=len, default="")
        self.names = {
            name.removeprefix(root): place
            for name, place in members.items()
            if name.startswith(root)
        }

    def _unpacked(self, data: bytes, suffix: str) -> bytes:
        budget = Budget(str(self.path), self.on_disk)
        for room in budget.rooms(self.path.name, MAX_ARCHIVE):
            with contextlib.suppress(Oversized):
                return decompress(data, suffix, str(self.path), min(room, MAX_ARCHIVE))
        raise budget.exceeded(self.path.name)

    def load(self, name: str, limit: int) -> bytes:
        """A copy of the member's bytes."""
        offset, size = self.names[name]
        if size > limit:
            raise Oversized(f"{self.path}: {name}: {size:,} bytes, more than {limit:,}")
        return self._data[offset : offset + size]

    def opened(self, name: str, limit: int) -> BinaryIO:
        """A copy of the member's bytes."""
        return io.BytesIO(self.load(name, limit))

    def on_disk(self) -> int:
        """The archive's size."""
        return self._size


def open_store(path: Path) -> Store:
    """The store at ``path``. Raises :class:`~tracekit.errors.SessionError` when there is none."""
    try:
        if path.is_dir():
            return DirectoryStore(path)
        if path.name.endswith((".tar.zst", ".tar.gz", ".tgz")):
            return ArchiveStore(path)
    except OSError as error:
        raise SessionError(f"{path}: cannot be read: {error.strerror}: {_NEXT}") from error
    problem = "not a session" if path.exists() else "no such session"
    raise SessionError(f"{path}: {problem}: {_NEXT}")
