"""A directory of a session that is made beside the one it replaces."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping

from tracekit.session.files import Directory, write_all
from tracekit.session.names import LEFTOVER, check_name, strip_suffix
from tracekit.session.packing.compression import compress

__all__ = ["StagedTree", "sibling"]


def sibling(rel: str, prefix: str) -> str:
    """``a/b`` -> ``a/PREFIXb``."""
    above, slash, name = rel.rpartition("/")
    return f"{above}{slash}{prefix}{name}"


class StagedTree:
    """Files of a directory that appears, or replaces the one of that name, all at once.

    Files that the directory of that name has already, and with the same content, are not written
    again; where that is all, nothing is.
    """

    def __init__(
        self, directory: Directory, rel: str, suffix: str, before: Mapping[str, str]
    ) -> None:
        """``before``: stored name below ``rel`` -> sha256 of what is there."""
        self._directory = directory
        self._rel = rel
        self._staging = sibling(rel, LEFTOVER)
        self._suffix = suffix
        self._before = before
        self._same: set[str] = set()
        self.files: dict[str, str] = {}

    def write(self, rel: str, data: bytes, *, compressed: bool = False) -> None:
        """Add one file; ``compressed`` compresses it and appends the suffix."""
        stored = check_name(rel) + self._suffix if compressed else check_name(rel)
        content = compress(data, self._suffix) if compressed else data
        digest = hashlib.sha256(content).hexdigest()
        self.files[stored] = digest
        there = f"{self._rel}/{stored}"
        if self._before.get(stored) == digest and self._directory.holds(there, content):
            self._same.add(stored)
            return
        self._same.discard(stored)
        with self._directory.guard(rel):
            fd = self._directory.create(f"{self._staging}/{stored}")
            try:
                write_all(fd, content)
            finally:
                os.close(fd)

    def carry_over(self, keep: Callable[[str], bool]) -> None:
        """Add the files there are whose name meets ``keep``, unless they were written."""
        written = {strip_suffix(stored) for stored in self.files}
        for stored, digest in self._before.items():
            name = strip_suffix(stored)
            there = self._directory.exists(f"{self._rel}/{stored}")
            if there and name not in written and keep(name):
                self.files[stored] = digest
                self._same.add(stored)

    @property
    def changed(self) -> bool:
        """Whether anything differs from what is there."""
        return len(self._same) < len(self.files) or len(self.files) < len(self._before)

    def complete(self) -> None:
        """Put what stays the same beside what was written."""
        for stored in self._same:
            self._directory.link(f"{self._rel}/{stored}", f"{self._staging}/{stored}")
