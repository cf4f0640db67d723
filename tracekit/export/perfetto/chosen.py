"""The events that go into a trace, by kernel, buffer and CPU, however many they are."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.recording import Recording
from tracekit.timeline.filter import Filter
from tracekit.timeline.rows import PIECE, grouped, new_column, pieces

__all__ = ["Chosen"]

_Array = npt.NDArray[Any]


class Chosen:
    """The rows that a filter chooses, in their order.

    ``last``: (boot, CPU, kind) -> the last of them of each kind that is asked for, and of kind -1,
    which is any.
    """

    def __init__(self, recording: Recording, wanted: Filter, kinds: Collection[int]) -> None:
        self._recording = recording
        self.last: dict[tuple[int, int, int], int] = {}
        self._counts: dict[int, int] = {}  # by key
        self._kinds = np.array([*kinds], np.int64)
        spill = recording.session.spill
        parts = (self._looked_at(rows).tobytes() for rows in self._parts(wanted))
        self._rows = np.frombuffer(spill.collected(parts, 8 * len(recording)), np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def first_ns(self) -> int:
        """When the first of them was, on the axis; 0 where there is none."""
        return int(self._recording.axis.ts_ns[self._rows[0]]) if len(self._rows) else 0

    def _parts(self, wanted: Filter) -> Iterator[_Array]:
        for rows in self._recording.row_batches(wanted, PIECE):
            yield np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows

    def _keys(self, at: _Array) -> _Array:
        rows = self._recording.rows
        key = (rows.boot[at].astype(np.int64) << 40) + (rows.buffer[at].astype(np.int64) << 20)
        return key + rows.cpu[at]

    def _looked_at(self, at: _Array) -> _Array:
        """Count rows, and note the last ones."""
        for key, mine in grouped(self._keys(at), at).items():
            self._counts[key] = self._counts.get(key, 0) + len(mine)
            boot, cpu = key >> 40, key & 0xFFFFF
            last = self.last.get((boot, cpu, -1), -1)
            self.last[boot, cpu, -1] = max(last, int(mine[-1]))
            kind = self._recording.rows.kind[mine]
            there = np.isin(kind, self._kinds)
            for code, of_kind in grouped(kind[there], mine[there]).items():
                last = self.last.get((boot, cpu, code), -1)
                self.last[boot, cpu, code] = max(last, int(of_kind[-1]))
        return at.astype(np.int64)

    def groups(self, size: int) -> Iterator[_Array]:
        """The rows of each CPU of each buffer of each boot, at most ``size`` at a time."""
        keys = sorted(self._counts)
        ends = np.cumsum([0, *(self._counts[key] for key in keys)]).tolist()
        place = dict(zip(keys, ends, strict=False))
        order = new_column(self._recording.session.spill, len(self), np.int64)
        for piece in pieces(len(self)):
            at = self._rows[piece]
            for key, mine in grouped(self._keys(at), at).items():
                order[place[key] : place[key] + len(mine)] = mine
                place[key] += len(mine)
        for begin, end in pairwise(ends):
            for start in range(begin, end, size):
                yield order[start : min(start + size, end)]
