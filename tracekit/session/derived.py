"""Files derived from a session: kept in it, and remade when anything they depend on changes.

Beside ``timeline.parquet`` is ``timeline.json`` with a stamp of the session's files and of this
tracekit (names, sizes, times of change, as make does it) and the derived file's own sha256. A
derived file that is stale or damaged counts as absent; one that cannot be written is no error.
Derived directories (``index``) have the stamp inside.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tracekit.errors import SessionError
from tracekit.session.compression import content_size
from tracekit.session.files import Directory
from tracekit.session.reader import Session

__all__ = [
    "fetch_derived",
    "keep_derived",
    "raw_sizes",
    "replacing",
    "replacing_directory",
    "scratch_directory",
    "stamp",
]

_PACKAGE = Path(__file__).parent.parent
_CODE = (".py", ".so")
_HEADER = 32  # bytes of a compressed file that tell how large it is
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


def _files(directory: Path) -> Iterator[tuple[str, int, int]]:
    """(path from there, size, ns of the last change) of every file below ``directory``."""
    waiting = [""]  # of any depth, so this does not recurse
    while waiting:
        prefix = waiting.pop()
        with os.scandir(directory / prefix) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{prefix}{entry.name}/")
                else:
                    about = entry.stat(follow_symlinks=False)
                    yield prefix + entry.name, about.st_size, about.st_mtime_ns


def stamp(session: Session) -> str:
    """A digest of what derived files depend on: the manifest, the boots' files, this tracekit."""
    about = (session.path / "manifest.json").stat()
    code = sorted(f for f in _files(_PACKAGE) if f[0].endswith(_CODE))
    boots = sorted(_files(session.path / "boots"))
    basis = [str(_PACKAGE), about.st_size, about.st_mtime_ns, code, boots]
    return hashlib.sha256(json.dumps(basis).encode("utf-8", "backslashreplace")).hexdigest()


def _sha256(path: Path) -> str:
    """Of a plain file: no link out of the session is followed, no FIFO waited for."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(errno.EINVAL, "not a plain file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(target: Path, mode: int = 0o666) -> Iterator[Path]:
    """A new, empty file beside ``target`` that replaces it if the block ends without an error."""
    part = target.with_name(f".{target.name}.part-{os.getpid()}")
    try:
        part.unlink(missing_ok=True)  # a session from elsewhere may have a link of that name
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def fetch_derived(session: Session, name: str, target: Path) -> int | None:
    """Copy derived file ``name`` to ``target``: the rows in it, None if there is no valid one."""
    kept, target = session.path / name, target.resolve()
    if target.exists() and not target.is_file():
        return None
    try:
        about = session.json(kept.with_suffix(".json").name)
        if about["stamp"] != stamp(session) or about["sha256"] != _sha256(kept):
            return None
        rows = int(about["rows"])
        with replacing(target) as part:
            shutil.copyfile(kept, part)
    except (OSError, SessionError, ValueError, KeyError, TypeError):
        return None
    return rows


def keep_derived(session: Session, name: str, source: Path, rows: int) -> None:
    """Keep a copy of ``source`` as derived file ``name`` of the session, where that is possible."""
    if not session.path.is_dir():
        return
    kept = session.path / name
    with contextlib.suppress(OSError):
        about = {"stamp": stamp(session), "sha256": _sha256(source), "rows": rows}
        with replacing(kept, 0o600) as part:
            shutil.copyfile(source, part)
        with replacing(kept.with_suffix(".json"), 0o600) as part:
            part.write_text(json.dumps(about))


# -- derived directories ----------------------------------------------------------------------


def raw_sizes(session: Session) -> tuple[int, int | None]:
    """(bytes on disk, bytes unpacked as the files say) of the files that hold recorded events.

    Unpacked is None where a file does not say, and for an archive, all of which counts.
    """
    if not session.path.is_dir():
        return session.path.stat().st_size, None
    names = [n for n in session.list("boots/") if n.endswith((".raw", "/trace_pipe_raw"))]
    sizes = [_sizes(session.path, name) for name in names]
    known = [unpacked for _, unpacked in sizes if unpacked is not None]
    return sum(stored for stored, _ in sizes), sum(known) if len(known) == len(sizes) else None


def _sizes(directory: Path, name: str) -> tuple[int, int | None]:
    for suffix in ("", ".zst", ".gz"):
        with contextlib.suppress(OSError):
            fd = os.open(directory / f"{name}{suffix}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(fd, "rb", buffering=0) as file:
                stored = os.fstat(fd).st_size
                unpacked = content_size(file.read(_HEADER), suffix) or None
                return stored, unpacked if suffix else stored
    return 0, 0


def _sweep(directory: Directory, prefix: str) -> None:
    """Remove what builds that were killed left behind: nobody holds its lock any more."""
    with os.scandir(directory.fd) as entries:
        left = [entry.name for entry in entries if entry.name.startswith(prefix)]
    for name in left:
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=directory.fd)
        except OSError:  # not a directory, so not what a build leaves: it is in the way
            with contextlib.suppress(OSError):
                directory.remove(name)
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            directory.remove(name)
        except OSError:
            continue
        finally:
            os.close(fd)


def _locked(directory: Directory, part: str) -> int:
    """A new directory (its file descriptor), locked so that nobody's sweep removes it."""
    while True:
        os.mkdir(part, 0o700, dir_fd=directory.fd)
        with contextlib.suppress(FileNotFoundError):  # a sweep was faster
            fd = os.open(part, _DIRECTORY, dir_fd=directory.fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                status = os.stat(part, dir_fd=directory.fd, follow_symlinks=False)
                if os.path.samestat(status, os.fstat(fd)):
                    return fd
            except OSError:
                os.close(fd)
                raise
            os.close(fd)


@contextlib.contextmanager
def replacing_directory(session: Session, name: str) -> Iterator[int]:
    """A new directory (its file descriptor) that becomes ``name`` if all goes well.

    The old ``name`` is removed first: it is stale, and takes room. Raises OSError where the
    session cannot be written. Nothing in it is written through a symlink.
    """
    directory = Directory(session.path)
    part = f".{name}.part-{os.getpid()}"
    try:
        _sweep(directory, f".{name}.part-")
        directory.remove(name)
        fd = _locked(directory, part)
        try:
            yield fd
            directory.remove(name)  # another process may have been as fast
            directory.replace(part, name)
        finally:
            directory.remove(part)
            os.close(fd)
    finally:
        directory.close()


@contextlib.contextmanager
def scratch_directory() -> Iterator[tuple[Path, int]]:
    """(path, file descriptor) of a directory for large files; it is removed afterwards.

    Not in memory as /tmp often is, unless TMPDIR says so.
    """
    large = None if os.environ.get("TMPDIR") or not os.access("/var/tmp", os.W_OK) else "/var/tmp"
    with tempfile.TemporaryDirectory(prefix="tracekit-", dir=large) as made:
        fd = os.open(made, _DIRECTORY)
        try:
            yield Path(made), fd
        finally:
            os.close(fd)
