"""Where a dataset is: a folder here, or one of any filesystem that fsspec knows."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from tracekit.errors import SourceError, UsageError
from tracekit.session.parts import replacing

__all__ = ["Place", "place_at"]


class Place(Protocol):
    """A folder of files with names like ``commits/x.json``; a file is there whole or not."""

    @property
    def shown(self) -> str:
        """What people call it."""

    @property
    def filesystem(self) -> Any:
        """The fsspec filesystem, None for a folder here."""

    def url(self, name: str) -> str:
        """The file as DuckDB opens it; '' is the folder."""

    def names(self, folder: str) -> list[str]:
        """The files in a folder, sorted; none where there is no such folder."""

    def read(self, name: str) -> bytes:
        """A file's bytes; raises FileNotFoundError."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file. Raises :class:`~tracekit.errors.SourceError`."""

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Held by one process at a time, where the filesystem has locks."""


class _Here:
    """A folder of this machine's own, or mounted."""

    filesystem = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self.shown = str(path)

    def url(self, name: str) -> str:
        return str(self._path.resolve() / name) if name else str(self._path.resolve())

    def names(self, folder: str) -> list[str]:
        try:
            entries = sorted(entry.name for entry in (self._path / folder).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [name for name in entries if not name.startswith(".")]

    def read(self, name: str) -> bytes:
        return (self._path / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        target = self._path / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as part:
                part.write(data)
        except OSError as error:
            raise SourceError(f"{target}: cannot be written: {error.strerror or error}") from error

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self._path / name).unlink()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            text = error.strerror or str(error)
            raise SourceError(f"{self._path}: cannot be written: {text}") from error
        try:
            with contextlib.suppress(OSError):  # a filesystem without locks
                fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


class _Elsewhere:
    """A folder of an fsspec filesystem; it has no locks: readers tell doubles apart."""

    def __init__(self, filesystem: Any, root: str, shown: str) -> None:
        self.filesystem = filesystem
        self._root = root.rstrip("/")
        self._scheme = shown.partition("://")[0]
        self.shown = shown

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def url(self, name: str) -> str:
        return f"{self._scheme}://{self._at(name)}"

    def names(self, folder: str) -> list[str]:
        try:
            self.filesystem.invalidate_cache()
            entries = self.filesystem.ls(self._at(folder), detail=False)
        except FileNotFoundError:
            return []
        names = (str(entry).rstrip("/").rpartition("/")[2] for entry in entries)
        return sorted(name for name in names if not name.startswith("."))

    def read(self, name: str) -> bytes:
        data: bytes = self.filesystem.cat_file(self._at(name))
        return data

    def write(self, name: str, data: bytes) -> None:
        try:
            self.filesystem.makedirs(self._at(name).rpartition("/")[0], exist_ok=True)
            self.filesystem.pipe_file(self._at(name), data)
        except OSError as error:
            raise SourceError(f"{self.url(name)}: cannot be written: {error}") from error

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.rm_file(self._at(name))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        yield


def place_at(where: str) -> Place:
    """The place a path or a URL (``s3://bucket/fleet``) means.

    Raises :class:`~tracekit.errors.UsageError` where a package that it needs is missing.
    """
    if "://" not in where or where.startswith("file://"):
        return _Here(Path(where.removeprefix("file://")))
    try:
        fsspec: Any = importlib.import_module("fsspec")
    except ImportError:
        raise UsageError(f"{where} needs fsspec: pip install 'kexec-tracekit[fleet]'") from None
    try:
        filesystem, root = fsspec.core.url_to_fs(where)
    except (ImportError, ValueError, OSError) as error:
        raise UsageError(f"{where}: {error}") from error
    return _Elsewhere(filesystem, root, where)
