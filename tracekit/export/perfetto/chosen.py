"""The events that go into a trace, by kernel, buffer and CPU, however many they are."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.recording import Recording
from tracekit.timeline.filter import Filter
from tracekit.timeline.rows import PIECE, grouped, numbers, row_column

__all__ = ["Chosen"]

_Array = npt.NDArray[Any]
_STRETCH = 1 << 20  # rows that are told apart by CPU


class Chosen:
    """The rows that a filter chooses, in their order.

    ``last``: (boot, CPU, kind) -> the last of them of each kind that is asked for, and of kind -1,
    which is any.
    """

    def __init__(self, recording: Recording, wanted: Filter, kinds: Collection[int]) -> None:
        self._recording = recording
        self.last: dict[tuple[int, int, int], int] = {}
        self._kinds = np.array([*kinds], np.int64)
        parts = map(self._looked_at, map(numbers, recording.row_batches(wanted, PIECE)))
        self._rows = row_column(parts, len(recording), recording.session.spill)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def first_ns(self) -> int:
        """When the first of them was, on the axis; 0 where there is none."""
        return int(self._recording.axis.ts_ns[self._rows[0]]) if len(self._rows) else 0

    def _keys(self, at: _Array) -> _Array:
        rows = self._recording.rows
        key = (rows.boot[at].astype(np.int64) << 40) + (rows.buffer[at].astype(np.int64) << 20)
        return key + rows.cpu[at]

    def _looked_at(self, at: _Array) -> _Array:
        """The rows, of which the last ones are noted."""
        for key, mine in grouped(self._keys(at), at).items():
            boot, cpu = key >> 40, key & 0xFFFFF
            last = self.last.get((boot, cpu, -1), -1)
            self.last[boot, cpu, -1] = max(last, int(mine[-1]))
            kind = self._recording.rows.kind[mine]
            there = np.isin(kind, self._kinds)
            for code, of_kind in grouped(kind[there], mine[there]).items():
                last = self.last.get((boot, cpu, code), -1)
                self.last[boot, cpu, code] = max(last, int(of_kind[-1]))
        return at

    def groups(self, size: int) -> Iterator[_Array]:
        """The rows of each CPU of each buffer of each boot, at most ``size`` at a time.

        From one stretch of time after the other: the rows of one CPU alone lie far apart, and of
        512 CPUs so many touch all of a large recording.
        """
        for start in range(0, len(self), _STRETCH):
            some = self._rows[start : start + _STRETCH]
            for mine in grouped(self._keys(some), some).values():
                for first in range(0, len(mine), size):
                    yield mine[first : first + size]
