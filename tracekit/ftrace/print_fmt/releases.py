"""Releases of the kernel whose sources and texts the tables here were compared with."""

from __future__ import annotations

__all__ = ["NEWEST", "Version", "is_known"]

#: Version and patch level; None: not known.
Version = tuple[int, int] | None
_OLDEST = (6, 1)
NEWEST = (7, 3)


def is_known(version: Version) -> bool:
    """Whether what the tables have is all that a kernel of that version has."""
    return version is not None and _OLDEST <= version <= NEWEST
