"""Files derived from a session: kept in it, and made again when anything they rest on changes.

Beside ``timeline.parquet`` stands ``timeline.json`` with a stamp of the session's files and of
this tracekit (names, sizes, times of change, as make does it) and the derived file's own sha256.
A derived file that is stale or damaged does not exist; one that cannot be written is no error.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from tracekit.session.reader import Session

__all__ = ["fetch_derived", "keep_derived", "replacing"]

_PACKAGE = Path(__file__).parent.parent
_CODE = (".py", ".so")


def _files(directory: Path) -> Iterator[tuple[str, int, int]]:
    """(path, size, ns of the last change) of every file below ``directory``."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            else:
                about = entry.stat(follow_symlinks=False)
                yield entry.path, about.st_size, about.st_mtime_ns


def _stamp(session: Session) -> str:
    """What the derived files rest on: the manifest, the boots' files, this tracekit."""
    about = (session.path / "manifest.json").stat()
    code = sorted(f for f in _files(_PACKAGE) if f[0].endswith(_CODE))
    boots = sorted(_files(session.path / "boots"))
    found = [about.st_size, about.st_mtime_ns, code, boots]
    return hashlib.sha256(json.dumps(found).encode("utf-8", "backslashreplace")).hexdigest()


def _sha256(path: Path) -> str:
    """Of a plain file: no link out of the session is followed, no FIFO waited for."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(errno.EINVAL, "not a plain file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path beside ``target`` that takes its place when all went well."""
    part = target.with_name(f".{target.name}.part-{os.getpid()}")
    try:
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
        about = json.loads(kept.with_suffix(".json").read_bytes())
        if about["stamp"] != _stamp(session) or about["sha256"] != _sha256(kept):
            return None
        rows = int(about["rows"])
        with replacing(target) as part:
            shutil.copyfile(kept, part)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return rows


def keep_derived(session: Session, name: str, source: Path, rows: int) -> None:
    """Keep a copy of ``source`` as derived file ``name`` of the session, where that is possible."""
    if not session.path.is_dir():
        return
    kept = session.path / name
    with contextlib.suppress(OSError):
        about = {"stamp": _stamp(session), "sha256": _sha256(source), "rows": rows}
        with replacing(kept) as part:
            shutil.copyfile(source, part)
            part.chmod(0o600)
        with replacing(kept.with_suffix(".json")) as part:
            part.write_text(json.dumps(about))
            part.chmod(0o600)
