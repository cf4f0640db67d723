"""Physical memory through ``/dev/mem``, which holds what is no System RAM.

mmap gives every such range (``mmap_mem()`` in ``drivers/char/mem.c``); read() only those below the
last System RAM. Kernel lockdown forbids both.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterable
from typing import BinaryIO

from tracekit.carriers.memory import PhysicalMemory, Range
from tracekit.errors import SourceError
from tracekit.parameters import RegionSpec

__all__ = ["DeviceMemory", "mapped"]


def mapped(fd: int, offset: int, size: int, unit: int = 0) -> bytes:
    """``size`` bytes at ``offset`` of what can be mapped, in multiples of ``unit`` (0: of a page).

    Raises OSError, ValueError or OverflowError where it cannot be.
    """
    start = offset - offset % max(unit, mmap.ALLOCATIONGRANULARITY)
    length = offset - start + size
    length += -length % unit if unit else 0
    with mmap.mmap(fd, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=start) as window:
        return window[offset - start : offset - start + size]


class DeviceMemory(PhysicalMemory):
    """The ``regions`` of physical memory that are read through ``/dev/mem``, or a copy of it.

    Reading maps a piece at a time; where that is refused, it reads at the position instead.
    """

    def __init__(self, stream: BinaryIO, source: str, regions: Iterable[RegionSpec]) -> None:
        """``source`` names ``stream`` in errors."""
        super().__init__(stream, source, (Range(r.address, r.size, r.address) for r in regions))
        status = os.fstat(stream.fileno())
        self._end = status.st_size if stat.S_ISREG(status.st_mode) else None

    def _read_at(self, offset: int, size: int) -> bytes:
        if self._end is not None:  # a file that is mapped past its end kills who reads there
            size = min(size, max(self._end - offset, 0))
        if size == 0:
            return b""
        fd = self._stream.fileno()
        try:
            return mapped(fd, offset, size)
        except (OSError, ValueError, OverflowError) as mapping:
            try:
                return os.pread(fd, size, offset)
            except (OSError, OverflowError) as error:
                why = getattr(error, "strerror", None) or error
                raise SourceError(
                    f"{self.source}: {size} bytes at {offset:#x} can neither be mapped ({mapping}) "
                    f"nor read ({why})"
                ) from error
