"""Names inside a session: which are valid, and safe ones made from the rest.

Region names, events and CPUs come from device trees, command lines and directory listings that
anybody may have written. None of them ever decides where a file goes.
"""

from __future__ import annotations

import hashlib
import re

from tracekit.errors import SessionError

__all__ = [
    "INCOMING",
    "LEFTOVER",
    "PART",
    "SUFFIXES",
    "check_name",
    "check_relative",
    "safe_name",
    "strip_suffix",
]

#: Regions that are safe on disk, but whose owner is not known yet.
INCOMING = "incoming/"
LEFTOVER = ".tmp-"  # temporary names begin with this; a run that was killed leaves them behind
PART = ".part"  # files that are being filled; the next run continues them
#: What stored names end in; see :mod:`tracekit.session.packing.compression`.
SUFFIXES = (".sparse.zst", ".sparse.gz", ".shared.zst", ".shared.gz", ".zst", ".gz")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}")
_SOUND = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_+-]{0,63}/){0,14}[A-Za-z0-9_][A-Za-z0-9_+-]{0,63}")
_MAX_PATH = 1024
_MAX_COMPONENT = 255  # NAME_MAX


def safe_name(name: str) -> str:
    """``name`` itself when it is a plain file name, else a plain one made from it.

    A digest of the original makes up for what was replaced, so two names never become one.
    """
    if _PLAIN.fullmatch(name) and not name.endswith((*SUFFIXES, PART)):
        return name
    plain = re.sub(r"[^A-Za-z0-9_+-]", "_", name)[:40] or "_"
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"x{plain}-{digest}"


def check_relative(rel: str) -> tuple[str, ...]:
    """The components of a path inside the session.

    Raises :class:`~tracekit.errors.SessionError` for anything that could lead elsewhere or that
    no file can be called.
    """
    parts = tuple(rel.split("/"))
    bad = (
        len(rel) > _MAX_PATH
        or any(part in ("", ".", "..") or len(part) > _MAX_COMPONENT for part in parts)
        or not rel.isprintable()
    )
    if bad:
        raise SessionError(f"{rel[:120]!r}: not a path inside a session")
    return parts


def check_name(rel: str) -> str:
    """``rel``, if it is a valid name for a permanent file.

    Raises :class:`~tracekit.errors.SessionError`, also for names of temporary files.
    """
    if _SOUND.fullmatch(rel):  # most are, and there are thousands
        return rel
    if any(part.startswith(".") or part.endswith(PART) for part in check_relative(rel)):
        raise SessionError(f"{rel[:120]!r}: not a name for a file of a session")
    return rel


def strip_suffix(rel: str) -> str:
    """``rel`` without the suffix of its compression."""
    for suffix in SUFFIXES:
        if rel.endswith(suffix):
            return rel.removesuffix(suffix)
    return rel
