"""Where a session's bytes lie: a directory, or one ``.tar.zst`` archive of it held in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from tracekit.errors import SessionError
from tracekit.session.compression import decompress
from tracekit.session.manifest import MANIFEST
from tracekit.session.owned import open_plain
from tracekit.session.tar import tar_members

__all__ = ["ArchiveStore", "DirectoryStore", "Store", "open_store"]

_MAX_FILES = 1 << 18  # files in one session; a boot has some 1500
_MAX_DEPTH = 16
_MAX_ARCHIVE = 1 << 30  # bytes of an archive, unpacked
_NEXT = "name a directory that 'tracekit snapshot -o DIR' made, or an archive (.tar.zst) of one"


class Store(Protocol):
    """The files of a session by stored name, with no names that lead out of it."""

    @property
    def names(self) -> Mapping[str, object]:
        """Every stored name; only the keys matter."""
        ...

    def load(self, name: str) -> bytes:
        """The stored bytes of a name in ``names``."""
        ...


class DirectoryStore:
    """A session directory. Symlinks, devices and FIFOs in it do not exist to the reader."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.names: dict[str, None] = {}
        self._scan(str(path), "", 0)

    def _scan(self, directory: str, prefix: str, depth: int) -> None:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    self.names[prefix + entry.name] = None
                elif entry.is_dir(follow_symlinks=False) and depth < _MAX_DEPTH:
                    self._scan(entry.path, f"{prefix}{entry.name}/", depth + 1)
                if len(self.names) > _MAX_FILES:
                    raise SessionError(f"{self.path}: more than {_MAX_FILES} files: not a session")

    def load(self, name: str) -> bytes:
        """The file's bytes; raises :class:`~tracekit.errors.SessionError`."""
        try:
            fd = open_plain(self.path / name, os.O_RDONLY)
            with os.fdopen(fd, "rb", buffering=0) as file:
                return file.read()
        except OSError as error:
            raise SessionError(f"{self.path / name}: cannot be read: {error.strerror}") from error


class ArchiveStore:
    """A ``.tar.zst`` of a session, unpacked into memory; nothing is ever extracted to disk."""

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        suffix = ".zst" if path.suffix == ".zst" else ".gz"
        unpacked = decompress(data, suffix, str(path), _MAX_ARCHIVE)
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

    def load(self, name: str) -> bytes:
        """A copy of the member's bytes."""
        offset, size = self.names[name]
        return self._data[offset : offset + size]


def open_store(path: Path) -> Store:
    """The store at ``path``. Raises :class:`~tracekit.errors.SessionError` when there is none."""
    try:
        if path.is_dir():
            return DirectoryStore(path)
        if path.name.endswith((".tar.zst", ".tar.gz", ".tgz")):
            return ArchiveStore(path, path.read_bytes())
    except OSError as error:
        raise SessionError(f"{path}: cannot be read: {error.strerror}: {_NEXT}") from error
    problem = "not a session" if path.exists() else "no such session"
    raise SessionError(f"{path}: {problem}: {_NEXT}")
