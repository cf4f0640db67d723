"""Plain files, opened so that nothing a stranger has put in their place does harm.

A link is not followed, a FIFO or a device is refused without waiting for it, and what is created
is new. Derived data is believed only in files that this user alone can have written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

__all__ = ["create_plain", "marks", "open_own", "open_plain", "opened_own"]

_ALWAYS = os.O_CLOEXEC | os.O_NOFOLLOW
_OTHERS = 0o022  # writable by the group or by anybody


def open_plain(name: str | os.PathLike[str], flags: int, directory: int | None = None) -> int:
    """Open an existing plain file; OSError for whatever else has that name."""
    fd = os.open(name, flags | _ALWAYS | os.O_NONBLOCK, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a plain file", os.fspath(name))
    return fd


def create_plain(name: str, directory: int, mode: int = 0o600) -> int:
    """Create a file that is not there yet, to be written and read; OSError if it is."""
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _ALWAYS, mode, dir_fd=directory)


def open_own(name: str, flags: int, directory: int) -> int:
    """Open an existing plain file that is this user's and has no second name, to go on with it."""
    fd = open_plain(name, flags, directory)
    about = os.fstat(fd)
    if about.st_uid != os.geteuid() or about.st_nlink != 1:
        os.close(fd)
        message = "it belongs to another user, or has a second name: remove it"
        raise PermissionError(errno.EPERM, message, name)
    return fd


@contextlib.contextmanager
def opened_own(
    name: str | os.PathLike[str], directory: int | None = None, *, folder: bool = False
) -> Iterator[int]:
    """A plain file (or a directory) that only this user can write; OSError if it is not so."""
    kind = os.O_DIRECTORY if folder else os.O_NONBLOCK
    fd = os.open(name, os.O_RDONLY | _ALWAYS | kind, dir_fd=directory)
    try:
        about = os.fstat(fd)
        fits = stat.S_ISDIR if folder else stat.S_ISREG
        if not fits(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & _OTHERS:
            raise PermissionError(errno.EPERM, "not this user's own", os.fspath(name))
        yield fd
    finally:
        os.close(fd)


def marks(fd: int) -> tuple[int, ...]:
    """Marks that show whether a file was changed since: its size, mtime and ctime (ns).

    The ctime cannot be set to a chosen value.
    """
    about = os.fstat(fd)
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns
