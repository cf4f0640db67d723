"""File operations below one directory that no symlink can lead out of.

Every component of a path is opened with O_NOFOLLOW relative to the one before, what is written is
a new file, and only plain files are opened, so a session that somebody else prepared cannot make a
privileged ``recover`` write elsewhere, or wait for ever.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tracekit.errors import SessionError
from tracekit.session.names import LEFTOVER, check_relative
from tracekit.session.owned import create_plain, open_own, open_plain

__all__ = ["Directory", "HashedFile", "dump_json", "sealed", "unsealed", "write_all"]

_CHUNK = 1 << 20
_KEPT_OPEN = 4  # directories; a process may have no more than a dozen files open
_MAX_DEPTH = 16
_HUGE = 64 << 20  # bytes of a file
_HOLLOW = 64  # times its size on disk
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


def dump_json(document: Mapping[str, Any]) -> bytes:
    """The bytes of a JSON file of the session."""
    return json.dumps(document, indent=1).encode() + b"\n"


def sealed(body: bytes) -> bytes:
    """``body`` behind its sha256 in hex and a line feed."""
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def unsealed(data: bytes, name: str) -> bytes:
    """The body of what :func:`sealed` gave; ValueError, with ``name``, where it was changed."""
    digest, _, body = data.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise ValueError(f"{name} is damaged")
    return body


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write all of ``data``: a single ``write(2)`` may be short."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class HashedFile:
    """A file being written that knows the sha256 of what went into it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Take all of ``data``."""
        write_all(self.fd, data)
        self._hash.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back; compressors call this."""

    @property
    def sha256(self) -> str:
        """The digest so far, in hex."""
        return self._hash.hexdigest()


class Directory:
    """A directory that paths are resolved below: relative, checked, without symlinks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # The directory itself may be named through a symlink: that is the user's choice.
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # A session has thousands of small files: the directories last used stay open, oldest first.
        self._open: dict[tuple[str, ...], int] = {}

    def close(self) -> None:
        """Close the directory (and drop a lock held on it)."""
        self._forget()
        os.close(self.fd)

    def lock(self) -> None:
        """Lock the directory; raises SessionError where another tracekit is writing to it."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise SessionError(
                    f"{self.path}: another tracekit is writing to this session: "
                    "wait until it has finished"
                ) from error
            # A file system without locks: saving the data matters more than the lock.

    def _forget(self) -> None:
        """Close the directories that are kept open: one of them was renamed or removed."""
        while self._open:
            os.close(self._open.popitem()[1])

    @contextlib.contextmanager
    def guard(self, rel: str) -> Iterator[None]:
        """Turn an OSError inside into a SessionError that names ``rel``."""
        try:
            yield
        except OSError as error:
            raise SessionError(
                f"{self.path / rel}: cannot be written: {error.strerror or error}: "
                "mend that and run the same command again: it goes on where it was"
            ) from error

    def _walk(self, parts: tuple[str, ...], create: bool) -> int:
        known = next((n for n in range(len(parts), 0, -1) if parts[:n] in self._open), 0)
        fd = os.dup(self._open[parts[:known]] if known else self.fd)
        try:
            for number, part in enumerate(parts[known:], known + 1):
                try:
                    below = os.open(part, _DIRECTORY, dir_fd=fd)
                except FileNotFoundError:
                    if not create:
                        raise
                    os.mkdir(part, 0o700, dir_fd=fd)
                    below = os.open(part, _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = below
                if number == len(parts) - 1:
                    self._keep(parts[:number], fd)
        except OSError:
            os.close(fd)
            raise
        return fd

    def _keep(self, parts: tuple[str, ...], fd: int) -> None:
        """Keep a directory open: what is worked on next is probably beside what was."""
        while len(self._open) >= _KEPT_OPEN:
            os.close(self._open.pop(next(iter(self._open))))
        self._open[parts] = os.dup(fd)

    @contextlib.contextmanager
    def parent(self, rel: str, create: bool = False) -> Iterator[tuple[int, str]]:
        """(file descriptor of the directory that holds ``rel``, the last component)."""
        *above, name = check_relative(rel)
        try:
            fd = self._walk(tuple(above), create)
        except OSError as error:
            if error.errno != errno.EMFILE:
                raise
            self._forget()
            fd = self._walk(tuple(above), create)
        try:
            yield fd, name
        finally:
            os.close(fd)

    def open(self, rel: str) -> int:
        """Open a plain file for reading; OSError for anything else."""
        with self.parent(rel) as (fd, name):
            return open_plain(name, os.O_RDONLY, fd)

    def create(self, rel: str) -> int:
        """A new file (0600) and the directories above it; what has its name is removed first."""
        with (
            contextlib.suppress(FileExistsError),
            self.parent(rel, create=True) as (fd, name),
        ):
            return create_plain(name, fd)
        self.remove(rel)
        with self.parent(rel, create=True) as (fd, name):
            return create_plain(name, fd)

    def resume(self, rel: str) -> int:
        """A file to go on with, read and written; created if need be, OSError if another's."""
        with self.parent(rel, create=True) as (fd, name):
            try:
                return open_own(name, os.O_RDWR, fd)
            except FileNotFoundError:
                return create_plain(name, fd)

    def replace(self, source: str, target: str) -> None:
        """Rename ``source`` over ``target`` and sync the directory."""
        with self.parent(source) as (source_fd, old), self.parent(target, True) as (fd, new):
            if stat.S_ISDIR(os.stat(old, dir_fd=source_fd, follow_symlinks=False).st_mode):
                self._forget()
            os.replace(old, new, src_dir_fd=source_fd, dst_dir_fd=fd)
            os.fsync(fd)

    def link(self, source: str, target: str) -> None:
        """Give a file a second name, or copy it where the file system has no hard links."""
        with (
            contextlib.suppress(OSError),
            self.parent(source) as (source_fd, old),
            self.parent(target, True) as (fd, new),
        ):
            os.link(old, new, src_dir_fd=source_fd, dst_dir_fd=fd, follow_symlinks=False)
            return
        copy = self.create(target)
        try:
            with os.fdopen(self.open(source), "rb") as file:
                while chunk := file.read(_CHUNK):
                    write_all(copy, chunk)
        finally:
            os.close(copy)

    def remove(self, rel: str) -> None:
        """Remove a file or a whole directory, if it is there."""
        with contextlib.suppress(FileNotFoundError), self.parent(rel) as (fd, name):
            try:
                os.unlink(name, dir_fd=fd)
            except IsADirectoryError:
                import shutil  # slow to import, and rarely needed

                self._forget()
                try:
                    shutil.rmtree(name, dir_fd=fd)
                except RecursionError as error:
                    raise OSError(errno.ENAMETOOLONG, "directories too deep to remove") from error

    def exists(self, rel: str) -> bool:
        """True when something of this name is there, be it a dangling symlink."""
        try:
            with self.parent(rel) as (fd, name):
                os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError:
            return False
        return True

    def digest(self, rel: str) -> str:
        """The sha256 of a file, in hex."""
        fd = self.open(rel)
        try:
            digest = hashlib.sha256()
            while chunk := os.read(fd, _CHUNK):
                digest.update(chunk)
            return digest.hexdigest()
        finally:
            os.close(fd)

    def read(self, rel: str, limit: int) -> bytes:
        """The whole file, as it is stored; OSError if it has more than ``limit`` bytes."""
        with os.fdopen(self.open(rel), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise OSError(errno.EFBIG, f"more than {limit:,} bytes")
            return file.read(size)  # as many bytes are allocated as are asked for

    def hollow(self, rel: str) -> bool:
        """Whether a file is one that nobody writes: huge, and next to nothing of it on disk."""
        with self.parent(rel) as (fd, name):
            about = os.stat(name, dir_fd=fd, follow_symlinks=False)
        return about.st_size > max(_HUGE, about.st_blocks * 512 * _HOLLOW)

    def holds(self, rel: str, content: bytes) -> bool:
        """True when the file is there and has exactly this content."""
        try:
            fd = self.open(rel)
        except OSError:
            return False
        with os.fdopen(fd, "rb", buffering=0) as file:
            return os.fstat(fd).st_size == len(content) and file.read() == content

    def walk(self) -> Iterator[tuple[str, bool]]:
        """(path, whether it is a directory) of every directory and regular file, top down.

        What has a temporary name is among them whatever it is.
        """
        yield from self._walk_below("", 0)

    def _walk_below(self, prefix: str, depth: int) -> Iterator[tuple[str, bool]]:
        fd = self._walk(tuple(prefix.split("/")[:-1]), create=False)
        try:
            with os.scandir(fd) as entries:
                children = [
                    (prefix + entry.name, entry.is_dir(follow_symlinks=False))
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False)
                    or entry.is_file(follow_symlinks=False)
                    or entry.name.startswith(LEFTOVER)
                ]
        finally:
            os.close(fd)
        for rel, is_directory in sorted(children):
            yield rel, is_directory
            if is_directory and depth < _MAX_DEPTH:
                yield from self._walk_below(f"{rel}/", depth + 1)

    def sync_tree(self, rel: str) -> None:
        """Put all that is below ``rel`` ('': everything) on disk; OSError if that fails.

        With one ``syncfs``, which is much faster than a thousand calls of ``fsync``, where there is
        one.
        """
        try:
            library = ctypes.CDLL(None, use_errno=True)
            syncfs = library.syncfs
        except (AttributeError, OSError):  # a C library without it
            self._sync_each(rel)
            return
        if syncfs(self.fd) != 0:
            error = ctypes.get_errno()
            if error != errno.ENOSYS:
                raise OSError(error, os.strerror(error))
            self._sync_each(rel)

    def _sync_each(self, rel: str) -> None:
        top = [(rel, True)] if rel else []
        for name, is_directory in [*top, *self._walk_below(f"{rel}/" if rel else "", 0)]:
            with self.parent(name) as (above, last):
                flags = _DIRECTORY if is_directory else os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                fd = os.open(last, flags | os.O_CLOEXEC, dir_fd=above)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
