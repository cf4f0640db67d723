"""Where kernel files are read: the live machine's ``/``, or a saved tree shaped like it.

This is the only module that opens files under ``/proc`` and ``/sys``. A saved tree is untrusted:
nothing outside of it is read, whatever its symlinks and ``..`` say, only regular files are
opened, and no read is unbounded. Callers tell absent from unreadable: :meth:`Sysroot.get` returns
None for the one and raises for the other.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import stat
from pathlib import Path
from typing import BinaryIO

from tracekit.errors import SourceError

__all__ = [
    "KHO_ROOTS",
    "MAX_FILE",
    "MAX_KALLSYMS",
    "TRACEFS",
    "Sysroot",
    "find_tracefs",
    "format_kmsg",
]

#: Where tracefs is mounted (Documentation/trace/ftrace.rst).
TRACEFS = ("sys/kernel/tracing", "sys/kernel/debug/tracing")
#: Where debugfs shows KHO. The last two are where a proposed move would put it.
KHO_ROOTS = (
    "sys/kernel/debug/kho",
    "sys/kernel/debug/liveupdate/kho",
    "sys/kernel/debug/liveupdate",
)
MAX_FILE = 32 << 20  # bytes of a file that is read whole
MAX_KALLSYMS = 64 << 20  # the largest: with debugging symbols it has 20 MiB
_MAX_TREE = 2 << 30  # bytes that are read from one saved tree, its memory and its pipes aside
_CHUNK = 1 << 20
_MAX_NAMES = 1 << 17  # names one glob may return; a kernel has a few thousand events
_KMSG_RECORD = 8192  # bytes: PRINTKRB_RECORD_MAX and its prefix fit (kernel/printk/printk.c)
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO})


def format_kmsg(record: str) -> str:
    """One record of ``/dev/kmsg`` as ``dmesg`` prints it: ``[    0.000000] text``.

    A record is ``level,sequence,microseconds,flags;text`` and maybe continuation lines that begin
    with a space (the dictionary), which are left out. '' for what is not a record.
    """
    prefix, separator, text = record.partition(";")
    fields = prefix.split(",")
    stamp = fields[2] if len(fields) > 2 else ""
    if not separator or not stamp.isdecimal() or len(stamp) > 20:
        return ""
    microseconds = int(stamp)
    line = text.split("\n", 1)[0]
    return f"[{microseconds // 1_000_000:5d}.{microseconds % 1_000_000:06d}] {line}"


class Sysroot:
    """The root that every kernel file is read below. Paths are relative: ``proc/cmdline``."""

    __slots__ = ("_base", "_taken", "path")

    def __init__(self, path: str | os.PathLike[str] = "/") -> None:
        self.path = Path(path)
        self._taken = 0
        try:
            self._base = os.path.realpath(self.path, strict=True)
        except OSError as error:
            raise SourceError(
                f"{self.path}: {error.strerror}: give --sysroot the root of a saved tree, "
                "the directory that holds proc/ and sys/"
            ) from error
        if not os.path.isdir(self._base):  # noqa: PTH112 - a plain string: see _resolve
            raise SourceError(f"{self.path}: not a directory: --sysroot needs the root of a tree")

    @property
    def live(self) -> bool:
        """True when this is the running machine and not a saved tree."""
        return self._base == "/"

    def need_root(self, what: str, instead: str = ", or give --sysroot a saved tree") -> None:
        """Raise :class:`~tracekit.errors.SourceError` where ``what`` is bound to fail later on."""
        if self.live and os.geteuid() != 0:
            raise SourceError(
                f"{what} needs tracefs, kallsyms and physical memory, which only root may touch: "
                f"run it with sudo{instead}"
            )

    def where(self, rel: str) -> str:
        """``rel`` as messages name it."""
        return str(self.path / rel)

    def _resolve(self, rel: str) -> str:
        """The real path of ``rel``; symlinks may point around inside the root, never outside."""
        if rel.startswith("/") or "\0" in rel or ".." in rel.split("/"):
            raise SourceError(f"{rel!r}: not a path below the root {self.path}")
        if self.live:
            return f"{self._base}/{rel}"
        resolved = os.path.realpath(f"{self._base}/{rel}")
        if resolved != self._base and not resolved.startswith(f"{self._base}/"):
            raise SourceError(f"{self.where(rel)}: leads out of the root, to {resolved}; refused")
        return resolved

    def _open(self, rel: str, *, device: bool = False) -> int:
        """A file descriptor. O_NONBLOCK: a FIFO in a hostile tree must not hang the reader.

        ``device``: a character device of a live machine will do, too.
        """
        follow = 0 if self.live else os.O_NOFOLLOW  # what _resolve() returned is no symlink
        fd = os.open(self._resolve(rel), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | follow)
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode) and not (device and self.live and stat.S_ISCHR(mode)):
            os.close(fd)
            raise SourceError(f"{self.where(rel)}: not a regular file; refused")
        return fd

    def _unreadable(self, rel: str, error: OSError) -> SourceError:
        refused = error.errno in (errno.EACCES, errno.EPERM)
        hint = ": run as root" if refused and self.live and os.geteuid() else ""
        return SourceError(f"{self.where(rel)}: cannot be read: {error.strerror}{hint}")

    def get(self, rel: str, limit: int | None = None) -> bytes | None:
        """The whole file, or None when it is absent.

        Files of ``/proc`` and ``/sys`` say they have 0 bytes, so the size is found by reading.
        Raises :class:`~tracekit.errors.SourceError` when it is there and cannot be read, or has
        more than ``limit`` bytes (:data:`MAX_FILE`, or what kallsyms may have).
        """
        if limit is None:
            limit = MAX_KALLSYMS if rel.endswith("/kallsyms") else MAX_FILE
        try:
            fd = self._open(rel)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise self._unreadable(rel, error) from error
        chunks: list[bytes] = []
        size = 0
        try:
            while chunk := os.read(fd, _CHUNK):
                chunks.append(chunk)
                size += len(chunk)
                self._taken += len(chunk)
                if size > limit:
                    raise SourceError(f"{self.where(rel)}: more than {limit} bytes; refused")
                if self._taken > _MAX_TREE and not self.live:
                    raise SourceError(f"{self.path}: more than {_MAX_TREE} bytes in all; refused")
        except OSError as error:
            raise self._unreadable(rel, error) from error
        finally:
            os.close(fd)
        return b"".join(chunks)

    def read(self, rel: str, limit: int | None = None) -> bytes:
        """The whole file; raises :class:`~tracekit.errors.SourceError` also when it is absent."""
        data = self.get(rel, limit)
        if data is None:
            raise SourceError(f"{self.where(rel)}: no such file")
        return data

    def text(self, rel: str) -> str:
        """The whole file as text; bytes that are not UTF-8 are escaped."""
        return self.read(rel).decode("utf-8", "backslashreplace")

    def exists(self, rel: str) -> bool:
        """True when something of this name is inside the root, readable or not."""
        try:
            os.stat(self._resolve(rel))  # noqa: PTH116 - a str, not a Path
        except (OSError, SourceError):
            return False
        return True

    def names(self, rel: str) -> list[str]:
        """The names in directory ``rel``, sorted; none when it is absent or not a directory."""
        try:
            with os.scandir(self._resolve(rel)) as entries:
                return sorted(entry.name for entry in entries)
        except OSError as error:
            if error.errno in _ABSENT:
                return []
            raise self._unreadable(rel, error) from error

    def link(self, rel: str) -> str:
        """What the symbolic link ``rel`` says, which is not looked at; '' where it is no link."""
        above, _, name = rel.rpartition("/")
        try:
            return os.readlink(f"{self._resolve(above or '.')}/{name}")  # noqa: PTH115 - a str
        except (OSError, SourceError):
            return ""

    def glob(self, pattern: str) -> list[str]:
        """Paths that match ``pattern`` component by component (``events/*/*/format``), sorted.

        Raises :class:`~tracekit.errors.SourceError` where a directory on the way cannot be read.
        """
        paths = [""]
        for part in pattern.split("/"):
            matches: list[str] = []
            for base in paths:
                prefix = f"{base}/" if base else ""
                if any(c in part for c in "*?["):
                    names = fnmatch.filter(self.names(base or "."), part)
                else:
                    names = [part] if self.exists(f"{prefix}{part}") else []
                matches += [f"{prefix}{name}" for name in names]
                if len(matches) > _MAX_NAMES:
                    raise SourceError(f"{self.where(pattern)}: more than {_MAX_NAMES} names")
            paths = matches
        return paths

    def open_binary(self, rel: str) -> BinaryIO | None:
        """The file, open and unbuffered (a seekable core, or a pipe of pages), or None if absent.

        Reads do not block: one that would raises or returns None, see :meth:`io.RawIOBase.read`.
        """
        try:
            return os.fdopen(self._open(rel), "rb", buffering=0)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise self._unreadable(rel, error) from error

    def open_memory(self, rel: str) -> BinaryIO | None:
        """A device of memory (``dev/mem``) or a tree's copy of it, or None if it is absent."""
        try:
            return os.fdopen(self._open(rel, device=True), "rb", buffering=0)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            raise self._unreadable(rel, error) from error

    def kernel_log(self) -> bytes | None:
        """The kernel's log: the tree's ``dmesg``, else on a live machine ``/dev/kmsg``.

        None when a tree has none. Raises :class:`~tracekit.errors.SourceError` when it cannot be
        read.
        """
        if not self.live:
            return self.get("dmesg")
        try:
            fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise self._unreadable("dev/kmsg", error) from error
        try:
            return _read_kmsg(fd)
        except OSError as error:
            raise self._unreadable("dev/kmsg", error) from error
        finally:
            os.close(fd)


def _read_kmsg(fd: int) -> bytes:
    """All records present now. Each read returns one; EPIPE says older ones were overwritten."""
    lines: list[str] = []
    while len(lines) < _MAX_NAMES:
        try:
            record = os.read(fd, _KMSG_RECORD)
        except BlockingIOError:
            break
        except BrokenPipeError:
            continue
        if not record:
            break
        if line := format_kmsg(record.decode("utf-8", "backslashreplace")):
            lines.append(line)
    return "".join(f"{line}\n" for line in lines).encode()


def find_tracefs(root: Sysroot) -> str | None:
    """Where tracefs is mounted, which its ``events`` shows; None where it is not."""
    return next((place for place in TRACEFS if root.exists(f"{place}/events")), None)
