"""Files derived from a session: kept in it, and remade when anything they depend on changes.

Beside ``timeline.parquet`` is ``timeline.json`` with a stamp of the session's files and of this
tracekit (names, sizes, times of change, as make does it), the derived file's sha256 and its marks.
It is believed only if both are this user's own and unchanged since (:mod:`tracekit.session.owned`):
one that came with a session from elsewhere is not. What is not believed counts as absent; what
cannot be written is no error. Derived directories (``index``) have the stamp inside, and are
believed by the same rules.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tracekit.errors import SessionError
from tracekit.session.files import Directory
from tracekit.session.names import SUFFIXES
from tracekit.session.owned import marks, open_plain, opened_own
from tracekit.session.packing.compression import stated_sizes
from tracekit.session.parts import part_directory, replacing, sweep
from tracekit.session.reader import Session

__all__ = [
    "INDEX",
    "fetch_derived",
    "fetch_text",
    "keep_derived",
    "keep_text",
    "raw_sizes",
    "replacing_directory",
    "scratch_directory",
    "stamp",
    "sweep_derived",
]

INDEX = "index"  #: the directory that browse/index/ makes of a large session
_PACKAGE = Path(__file__).parent.parent
_CODE = (".py", ".so")
_LONGEST = 4096  # bytes of the file that vouches for a derived one
_CHUNK = 1 << 20
_NOT_VALID = (OSError, ValueError, LookupError, TypeError, RecursionError)
_SCRATCH = "tracekit-index"  # beginning of the names of scratch directories


def _files(directory: Path, *, own: bool) -> Iterator[tuple[str, int, int, int]]:
    """(path from there, size, mtime, ctime in ns) of every file below ``directory``.

    The ctime, which tells of a changed file whose mtime was put back, is 0 for those of a package:
    it also changes when a file is given a second name.
    """
    waiting = [""] if directory.is_dir() else []  # of any depth, so this does not recurse
    while waiting:
        prefix = waiting.pop()
        with os.scandir(directory / prefix) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{prefix}{entry.name}/")
                else:
                    about = entry.stat(follow_symlinks=False)
                    changed = about.st_ctime_ns if own else 0
                    yield prefix + entry.name, about.st_size, about.st_mtime_ns, changed


def stamp(session: Session) -> str:
    """A digest of what derived files depend on: the manifest, the boots' files, this tracekit."""
    about = (session.path / "manifest.json").stat()
    code = sorted(f for f in _files(_PACKAGE, own=False) if f[0].endswith(_CODE))
    boots = [
        sorted(_files(session.path / part, own=True)) for part in ("boots", "formats", "symbols")
    ]
    manifest = about.st_size, about.st_mtime_ns, about.st_ctime_ns
    basis = [str(_PACKAGE), manifest, code, boots]
    return hashlib.sha256(json.dumps(basis).encode("utf-8", "backslashreplace")).hexdigest()


# -- derived files ----------------------------------------------------------------------------


def _copy(source: BinaryIO, target: BinaryIO | None) -> str:
    """Copy all of a file, or only read it; returns its sha256."""
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        if target is not None:
            target.write(chunk)
    return digest.hexdigest()


def _beside(name: str) -> str:
    """The file that vouches for derived file ``name``."""
    return str(Path(name).with_suffix(".json"))


def _fetch(session: Session, name: str, target: contextlib.AbstractContextManager[BinaryIO]) -> int:
    """Copy a valid derived file: the rows in it; one of ``_NOT_VALID`` is raised without one."""
    with opened_own(session.path / _beside(name)) as fd:
        about = json.loads(os.read(fd, _LONGEST))
    rows = int(about["rows"])
    with opened_own(session.path / name) as fd, os.fdopen(os.dup(fd), "rb") as source:
        if list(marks(fd)) != about["marks"] or about["stamp"] != stamp(session):
            raise ValueError(f"{name} is stale")
        with target as part:
            if _copy(source, part) != about["sha256"]:
                raise ValueError(f"{name} is damaged")
    return rows


def fetch_derived(session: Session, name: str, target: Path) -> int | None:
    """Copy derived file ``name`` to ``target``: the rows in it, None if there is no valid one."""
    target = target.resolve()
    if target.exists() and not target.is_file():
        return None
    try:
        return _fetch(session, name, replacing(target))
    except _NOT_VALID:
        return None


def fetch_text(session: Session, name: str) -> str | None:
    """What is in the derived file ``name``, None if there is no valid one."""
    found = io.BytesIO()
    try:
        _fetch(session, name, contextlib.nullcontext(found))
        return found.getvalue().decode()
    except _NOT_VALID:
        return None


def keep_derived(session: Session, name: str, source: Path, rows: int) -> None:
    """Keep a copy of ``source`` as derived file ``name`` of the session, where that is possible."""
    if session.path.is_dir():
        with contextlib.suppress(OSError), source.open("rb") as file:
            _keep(session, name, file, rows, stamp(session))


def keep_text(session: Session, name: str, text: str, made: str) -> None:
    """Keep a text of a session of which :func:`stamp` was ``made`` before the text was."""
    with contextlib.suppress(OSError):
        if made == stamp(session):
            _keep(session, name, io.BytesIO(text.encode()), 0, made)


def _keep(session: Session, name: str, file: BinaryIO, rows: int, made: str) -> None:
    kept = session.path / name
    with replacing(kept, 0o600) as part:
        written, sha256 = os.fstat(part.fileno()), _copy(file, part)
    with opened_own(kept) as fd:  # the renaming has changed its ctime
        if not os.path.samestat(os.fstat(fd), written):
            return
        about = {"stamp": made, "sha256": sha256, "marks": marks(fd), "rows": rows}
    with replacing(session.path / _beside(name), 0o600) as part:
        part.write(json.dumps(about).encode())


def sweep_derived(session: Session) -> None:
    """Remove the parts of derived files that a killed process has left in the session."""
    with contextlib.suppress(OSError):
        directory = Directory(session.path)
        try:
            sweep(directory.fd)
        finally:
            directory.close()


# -- derived directories ----------------------------------------------------------------------


def raw_sizes(session: Session) -> tuple[int, int | None]:
    """(bytes on disk, bytes unpacked as the files say) of the files that hold recorded events.

    Unpacked is None where a file does not say, and for an archive, all of which counts.
    """
    if not session.path.is_dir():
        return session.path.stat().st_size, None
    sizes = [_sizes(session.path, name) for name in session.recorded]
    known = [unpacked for _, unpacked in sizes if unpacked is not None]
    return sum(stored for stored, _ in sizes), sum(known) if len(known) == len(sizes) else None


def _sizes(directory: Path, name: str) -> tuple[int, int | None]:
    for suffix in ("", *SUFFIXES):
        with contextlib.suppress(OSError):
            fd = open_plain(directory / f"{name}{suffix}", os.O_RDONLY)
            with os.fdopen(fd, "rb") as file:
                stored = os.fstat(fd).st_size
                with contextlib.suppress(SessionError):  # reading it says what is wrong
                    stated, size = stated_sizes(file, suffix)
                    return stored, size if stated else None
                return stored, None
    return 0, 0


@contextlib.contextmanager
def replacing_directory(session: Session, name: str) -> Iterator[int]:
    """A new directory (its file descriptor) that becomes ``name`` if all goes well.

    The old ``name`` is removed first: it is stale, and takes room. Raises OSError where the
    session cannot be written. Nothing in it is written through a symlink.
    """
    directory = Directory(session.path)
    try:
        directory.remove(name)
        with part_directory(name, directory.fd) as (part, fd):
            yield fd
            directory.remove(name)  # another process may have been as fast
            directory.replace(part, name)
    finally:
        directory.close()


@contextlib.contextmanager
def scratch_directory() -> Iterator[tuple[Path, int]]:
    """(path, file descriptor) of a directory for large files; it is removed afterwards.

    Not in memory as /tmp often is, unless TMPDIR says so.
    """
    import tempfile  # slow to import, and rarely needed

    large = None if os.environ.get("TMPDIR") or not os.access("/var/tmp", os.W_OK) else "/var/tmp"
    base = Directory(Path(large or tempfile.gettempdir()))
    try:
        with part_directory(_SCRATCH, base.fd) as (part, fd):
            yield base.path / part, fd
    finally:
        base.close()
