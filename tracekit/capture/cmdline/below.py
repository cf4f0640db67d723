"""Files below the root of an installed system, as ``tracekit setup`` writes them.

Each is written under a temporary name and then renamed; no symlink on the way is followed. A file
that is not ours is never replaced.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from tracekit.capture.cmdline.bootloader import MARK
from tracekit.errors import SourceError
from tracekit.session.files import Directory, write_all

__all__ = ["below", "link", "put", "read", "refuse_foreign", "remove", "take_away", "write"]

_MOST = 1 << 20  # bytes of a file that is looked into


@contextlib.contextmanager
def below(root: Path) -> Iterator[Directory]:
    """The root, to open files below it."""
    try:
        directory = Directory(root)
    except OSError as error:
        raise SourceError(f"{root}: {error.strerror}: --root needs a directory") from error
    try:
        yield directory
    finally:
        directory.close()


@contextlib.contextmanager
def _guard(root: Path, rel: str) -> Iterator[None]:
    """Says of an OSError which file it is about, as :class:`~tracekit.errors.SourceError`."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            why = "a symlink is in the way, and none is followed"
        hint = ": be root" if error.errno in (errno.EACCES, errno.EPERM) else ""
        raise SourceError(f"{root / rel}: {why}{hint}") from error


def read(root: Path, rel: str) -> str | None:
    """A file's text, None where there is none."""
    with below(root) as directory, _guard(root, rel):
        try:
            return directory.read(rel, _MOST).decode("utf-8", "backslashreplace")
        except FileNotFoundError:
            return None


def _make_parents(directory: Directory, rel: str) -> None:
    """Create the directories that hold ``rel``, mode 0755 like the system's own."""
    parts = rel.split("/")
    for depth in range(1, len(parts)):
        with (
            directory.parent("/".join(parts[:depth])) as (fd, name),
            contextlib.suppress(FileExistsError),
        ):
            os.mkdir(name, 0o755, dir_fd=fd)


def write(root: Path, directory: Directory, rel: str, content: str, mode: int = 0o644) -> None:
    """Write a world-readable file atomically."""
    with _guard(root, rel):
        _make_parents(directory, rel)
        with directory.parent(rel) as (fd, name):
            part = f".{name}.tracekit-part"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=fd)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(part, flags, mode, dir_fd=fd)
            try:
                os.fchmod(file, mode)
                write_all(file, content.encode("utf-8"))
                os.fsync(file)
            finally:
                os.close(file)
            os.replace(part, name, src_dir_fd=fd, dst_dir_fd=fd)
            os.fsync(fd)


def put(
    root: Path, directory: Directory, rel: str, content: str, present: str | None, mode: int = 0o644
) -> str:
    """Write a file in place of what is ``present``, and read it back; returns what was done."""
    if present == content:
        return f"as it was: {root / rel}"
    write(root, directory, rel, content, mode)
    if read(root, rel) != content:
        raise SourceError(f"{root / rel}: does not hold what was written to it")
    return f"{'wrote' if present is None else 'changed'}: {root / rel}"


def remove(root: Path, directory: Directory, rel: str) -> None:
    """Remove a file or a symlink, if it is there."""
    with _guard(root, rel):
        directory.remove(rel)


def take_away(root: Path, directory: Directory, rel: str) -> str | None:
    """Remove a file that setup has written; returns what was done, None where there is none."""
    if (present := read(root, rel)) is None:
        return None
    if _is_foreign(present):
        return f"left alone, for tracekit setup has not written it: {rel}"
    remove(root, directory, rel)
    return f"removed: {root / rel}"


def _is_foreign(present: str | None) -> bool:
    """Whether a file exists that setup has not written; those begin with a mark, or are scripts."""
    if present is None:
        return False
    first, _, rest = present.partition("\n")
    return not (rest if first.startswith("#!") else present).startswith(MARK)


def refuse_foreign(root: Path, present: Mapping[str, str | None]) -> None:
    """Raise :class:`~tracekit.errors.SourceError` for files of others (path -> text)."""
    foreign = [str(root / rel) for rel, text in present.items() if _is_foreign(text)]
    if foreign:
        raise SourceError(
            f"{', '.join(foreign)}: not written by tracekit setup, and not replaced: "
            "move it away first"
        )


def link(root: Path, directory: Directory, rel: str, target: str) -> None:
    """Make a symlink where nothing is, as ``systemctl enable`` does."""
    with _guard(root, rel):
        _make_parents(directory, rel)
        with directory.parent(rel) as (fd, name), contextlib.suppress(FileExistsError):
            os.symlink(target, name, dir_fd=fd)
