"""Files and directories under temporary names, which replace their targets when they are complete.

A part is new, locked while it is being written, on disk before it is renamed, and never reached
through a link. Parts that nobody has locked were left by a process that was killed: whoever makes
the next one removes them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tracekit.session.owned import create_plain

__all__ = ["part_directory", "replacing", "sweep"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_KEPT = 64  # characters of the target's name in a part's, which must not become too long
_PART = re.compile(r"\..+\.part-\d+(?:-[0-9a-f]+)?", re.S)


def _prefix(name: str) -> str:
    return f".{name[:_KEPT]}.part-"


def _new_name(name: str) -> str:
    return f"{_prefix(name)}{os.getpid()}-{os.urandom(4).hex()}"


def _remove(name: str, directory: int) -> None:
    """Remove a file, or a directory with all that is in it, if it is there."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        import shutil  # slow to import, and rarely needed

        shutil.rmtree(name, dir_fd=directory)


def sweep(directory: int, name: str | None = None) -> None:
    """Remove the parts of target ``name`` (None: of all) in an open directory that nobody writes.

    Others' files, and what cannot be removed, stay.
    """
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(".")]
    for part in names:
        if _PART.fullmatch(part) and (name is None or part.startswith(_prefix(name))):
            with contextlib.suppress(OSError, RecursionError):
                _sweep_one(part, directory)


def _sweep_one(part: str, directory: int) -> None:
    about = os.stat(part, dir_fd=directory, follow_symlinks=False)
    if about.st_uid != os.geteuid():
        return
    if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
        os.unlink(part, dir_fd=directory)  # nothing that tracekit makes
        return
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(part, flags, dir_fd=directory)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(part, directory)
    finally:
        os.close(fd)


def _locked(fd: int, part: str, directory: int) -> bool:
    """Lock a new part; False where a sweep was faster and has removed it."""
    with contextlib.suppress(OSError):  # a file system without locks: nobody sweeps there
        fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        here = os.stat(part, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(here, os.fstat(fd))


def _new_file(name: str, directory: int, mode: int) -> tuple[str, int]:
    while True:
        part = _new_name(name)
        fd = create_plain(part, directory, mode)
        if _locked(fd, part, directory):
            return part, fd
        os.close(fd)


@contextlib.contextmanager
def replacing(target: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A new, empty file that replaces ``target`` if the block ends without an error.

    It is on disk by then; OSError if it could not be put there.
    """
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sweep(directory, target.name)
        part, fd = _new_file(target.name, directory, mode)
        try:
            with os.fdopen(fd, "wb", closefd=False) as file:
                yield file
            os.fsync(fd)
            os.replace(part, target.name, src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=directory)
            os.close(fd)
    finally:
        os.close(directory)


@contextlib.contextmanager
def part_directory(name: str, directory: int) -> Iterator[tuple[str, int]]:
    """(name, file descriptor) of a new, locked directory in an open one; removed afterwards.

    To be renamed to ``name``, or not.
    """
    sweep(directory, name)
    while True:
        part = _new_name(name)
        os.mkdir(part, 0o700, dir_fd=directory)
        with contextlib.suppress(FileNotFoundError):  # a sweep was faster
            fd = os.open(part, _DIRECTORY, dir_fd=directory)
            if _locked(fd, part, directory):
                break
            os.close(fd)
    try:
        yield part, fd
    finally:
        with contextlib.suppress(OSError, RecursionError):
            _remove(part, directory)
        os.close(fd)
