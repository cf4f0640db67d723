"""The lab's directory: what was built, under names that hold a digest of its inputs.

Everything is made under a temporary name and renamed when it is complete, so that a killed run
leaves nothing that counts. Whoever makes something holds a lock; temporary directories that
nobody has locked are removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tracekit.errors import SourceError

__all__ = ["cached", "digest", "lab_directory", "locked", "scratch"]

_TEMPORARY = ".tmp-"


def lab_directory() -> Path:
    """``$TRACEKIT_LAB_DIR``, else ``tracekit/lab`` in the user's cache directory; it is created."""
    chosen = os.environ.get("TRACEKIT_LAB_DIR")
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    path = Path(chosen) if chosen else Path(caches).expanduser() / "tracekit" / "lab"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be made: {error.strerror}: set TRACEKIT_LAB_DIR to a directory with"
            " room for the lab"
        ) from error
    return path.resolve()


def digest(inputs: object) -> str:
    """12 hexadecimal digits that change when anything in ``inputs`` (plain JSON data) does."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]


@contextmanager
def locked(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[None]:
    """Hold a lock on a file, made if need be; waits for whoever has it."""
    held = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _sweep(directory: Path) -> None:
    """Remove the temporary directories below ``directory`` that no process holds any more."""
    for path in directory.glob(f"{_TEMPORARY}*"):
        try:
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(held)


@contextmanager
def scratch(directory: Path) -> Iterator[Path]:
    """A temporary directory below ``directory``, removed afterwards.

    When this process is killed first, the next one removes it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with locked(
        directory, os.O_RDONLY | os.O_DIRECTORY
    ):  # a new one is not swept before it is locked
        _sweep(directory)
        path = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=directory))
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(held)


def cached(path: Path, make: Callable[[Path], None]) -> Path:
    """``path``; if it is not there, ``make(temporary path)`` is called first and renamed to it.

    Two processes that want the same thing do not make it twice: the second one waits.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent / ".lock"):
        if not path.exists():
            with scratch(path.parent) as place:
                make(place / path.name)
                (place / path.name).rename(path)
    return path
