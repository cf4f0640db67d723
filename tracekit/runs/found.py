"""The sessions that words on the command line mean: sessions, folders of them, patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tracekit.errors import SessionError, UsageError
from tracekit.session.manifest import MANIFEST

__all__ = ["find_sessions", "is_session"]

_ARCHIVES = (".tar.zst", ".tar.gz", ".tgz")


def is_session(path: Path) -> bool:
    """Whether it looks like a session: a directory with a manifest, or an archive by its name."""
    if path.is_dir():
        return (path / MANIFEST).exists()
    return path.name.endswith(_ARCHIVES) and path.is_file()


def _below(folder: Path) -> Iterator[Path]:
    """The sessions in a folder and its folders, in order; symlinks to folders are not followed."""
    for where, folders, files in os.walk(folder):
        here = Path(where)
        sessions = sorted(f for f in folders if (here / f / MANIFEST).exists())
        yield from (here / f for f in sessions)
        yield from (here / f for f in sorted(files) if f.endswith(_ARCHIVES))
        folders[:] = sorted(f for f in folders if f not in sessions and not f.startswith("."))


def _meant(word: str) -> Iterator[Path]:
    path = Path(word)
    if is_session(path) or path.is_file():
        yield path
    elif path.is_dir():
        found = False
        for one in _below(path):
            found = True
            yield one
        if not found:
            raise SessionError(f"{word}: no session in it: a session has a {MANIFEST}")
    elif any(c in word for c in "*?["):
        matches = sorted(glob.glob(word, recursive=True))  # noqa: PTH207 - Path() would drop "./"
        if not matches:
            raise SessionError(f"{word}: nothing is called that")
        for name in matches:
            one = Path(name)
            if is_session(one):
                yield one
            elif one.is_dir():
                yield from _below(one)
    else:
        yield path  # opening it says what is wrong with it


def find_sessions(words: Iterable[str]) -> list[Path]:
    """Every session that is meant, each once, in the order of the words.

    A folder means all sessions below it, a pattern (``*``, ``?``, ``[…]``, ``**``) all that it
    matches. Raises :class:`~tracekit.errors.TracekitError` where a word means none.
    """
    given = list(words)
    if not given:
        raise UsageError("name sessions, folders of sessions, or patterns")
    found: dict[str, Path] = {}
    for word in given:
        for path in _meant(word):
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())
