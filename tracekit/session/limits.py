"""How much of a session is read: of each file, and of all together.

A file's limit is far above what any kernel writes. All together may unpack to so many times what
they take on disk, or to so much as does no harm: sessions of empty buffers compress ten
thousandfold, those that were recorded into tenfold.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache

from tracekit.errors import SessionError, TooLarge

__all__ = [
    "LIMITS",
    "MAX_FILE",
    "MAX_JSON",
    "MAX_REGION",
    "RECORDED",
    "Budget",
    "Oversized",
    "file_limit",
]

MAX_REGION = 4 << 30  # bytes of one region or trace buffer, decompressed
MAX_FILE = 256 << 20  # bytes of any other file, decompressed
MAX_JSON = 24 << 20  # bytes of a document: as objects it takes thirty times that
#: What the names of files that hold recorded events end in.
RECORDED = (".raw", "/trace_pipe_raw", "/snapshot_raw")
#: What the names of files end in -> bytes. Their texts are taken apart, which takes memory.
LIMITS = {
    **dict.fromkeys(RECORDED, MAX_REGION),
    "/bpf.bin": MAX_FILE,
    "/kallsyms": 64 << 20,  # a kernel with debugging symbols has 20 MiB
    ".json": MAX_JSON,
}
_OTHER = 32 << 20
_RATIO = 64  # bytes unpacked per byte on disk: recorded events have up to 20
_UNPACKED = 512 << 20  # bytes of all files that are always allowed
_FILLED = 32 << 20  # bytes of recorded events: decoded they take twenty times that
_VARIABLE = "TRACEKIT_MAX_UNPACKED"
_SIZE = re.compile(r"(\d{1,15})([KMGT]?)")


class Oversized(SessionError):
    """A file that is, or unpacks to, more than its limit."""


def file_limit(name: str) -> int:
    """Bytes that a file of this name, without a suffix of compression, may have unpacked."""
    return next((limit for end, limit in LIMITS.items() if name.endswith(end)), _OTHER)


def _by_user() -> int:
    """What the user allows, in bytes."""
    size = _SIZE.fullmatch(os.environ.get(_VARIABLE, "").upper())
    return int(size[1]) << {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[size[2]] if size else 0


class _Sums:
    """Sizes by name, and their sum; files are read in several threads."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._lock = threading.Lock()
        self.total = 0

    def others(self, name: str) -> int:
        """The sum without that of ``name``."""
        with self._lock:
            return self.total - self._sizes.get(name, 0)

    def note(self, name: str, size: int) -> int:
        """Note a size, in place of an earlier one of that name; returns the sum."""
        with self._lock:
            self.total += size - self._sizes.get(name, 0)
            self._sizes[name] = size
            return self.total


class Budget:
    """What the files of one session may unpack to together.

    ``stored`` tells how many bytes they take on disk; it is called only where that matters.
    """

    def __init__(self, what: str, stored: Callable[[], int]) -> None:
        self._what = what
        self._stored = lru_cache(1)(stored)
        self._unpacked, self._filled = _Sums(), _Sums()

    def _more(self) -> int:
        """What is allowed where as much is on disk, or the user says so."""
        return max(_by_user(), _RATIO * self._stored())

    def _exceeded(self, problem: str) -> TooLarge:
        return TooLarge(
            f"{self._what}: {problem}, far more than its {self._stored():,} bytes on disk can "
            "hold: it is damaged, or made to exhaust memory. If it is yours and mostly empty, set "
            f"{_VARIABLE}=4G, or as much as this machine has"
        )

    def rooms(self, name: str, wanted: int) -> Iterator[int]:
        """How many bytes file ``name`` may unpack to, of ``wanted``; then more, if that is needed.

        What is on disk is only looked at for the second.
        """
        others = self._unpacked.others(name)
        always = max(0, min(wanted, _UNPACKED - others))
        yield always
        if always < wanted and (more := min(wanted, self._more() - others)) > always:
            yield more

    def exceeded(self, name: str) -> TooLarge:
        """The error for a file that unpacks to more than all of :meth:`rooms`."""
        return self._exceeded(f"its files unpack to too much, the last of them {name}")

    def unpacked(self, name: str, size: int) -> None:
        """Note what file ``name`` has unpacked to."""
        self._unpacked.note(name, size)

    def filled(self, name: str, size: int) -> None:
        """Note that ``name`` holds so many bytes of events; raises :class:`TooLarge`."""
        total = self._filled.note(name, size)
        if total > _FILLED and total > self._more():
            raise self._exceeded(f"it holds {total:,} bytes of recorded events")
