"""The selection: the events that are shown, all or those that pass a filter, in their order."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tracekit.frozen import dataclass

__all__ = ["Selection", "among"]

_Array = npt.NDArray[Any]
_PIECE = 1 << 18


def among(rows: _Array, at: npt.ArrayLike, side: Literal["left", "right"] = "left") -> _Array:
    """The insertion positions of row numbers in ``rows`` (ascending).

    As :func:`numpy.searchsorted`, which would copy all of ``rows`` if the types differed.
    """
    return np.searchsorted(rows, np.asarray(at, rows.dtype), side)


@dataclass(frozen=True, eq=False)
class Selection:
    """Rows of a session that has ``total`` of them.

    ``rows``: their numbers, ascending (uint32), None for all. ``order``: the same numbers in the
    order they are shown in, if that is not by time.
    """

    total: int
    rows: _Array | None = None
    order: _Array | None = None

    def __len__(self) -> int:
        return self.total if self.rows is None else len(self.rows)

    def page(self, start: int, stop: int) -> _Array:
        """The rows shown at positions ``start`` to ``stop``, int64."""
        start, stop = max(0, start), min(len(self), stop)
        shown = self.order if self.order is not None else self.rows
        if shown is None:
            return np.arange(start, max(start, stop), dtype=np.int64)
        page: _Array = shown[start : max(start, stop)].astype(np.int64)
        return page

    def ends(self) -> tuple[int, int]:
        """The first and the last row in time; of a selection that is not empty."""
        if self.rows is None:
            return 0, self.total - 1
        return int(self.rows[0]), int(self.rows[-1])

    def nearest(self, row: int) -> int | None:
        """``row`` if it is shown, else the next in time that is, else the one before it."""
        if not len(self):
            return None
        if self.rows is None:
            return min(max(row, 0), self.total - 1)
        position = int(among(self.rows, min(max(row, 0), self.total)))
        return int(self.rows[min(position, len(self.rows) - 1)])

    def position(self, row: int) -> int:
        """The position at which ``row``, or the :meth:`nearest` to it, is shown; 0 if none is."""
        shown = self.nearest(row)
        if shown is None:
            return 0
        if self.order is not None:
            return self._in_order(shown)
        return shown if self.rows is None else int(among(self.rows, shown))

    def _in_order(self, row: int) -> int:
        """The position of ``row`` in ``order``, searched in pieces to use little memory."""
        assert self.order is not None
        for start in range(0, len(self.order), _PIECE):
            hits = np.flatnonzero(self.order[start : start + _PIECE] == row)
            if len(hits):
                return start + int(hits[0])
        raise ValueError(f"row {row} is not in the order")

    def within(self, rows: _Array) -> _Array:
        """Those of ``rows`` (ascending) that are shown, ascending."""
        if self.rows is None or not len(rows):
            return rows
        first, last = among(self.rows, rows[0]), among(self.rows, rows[-1], "right")
        mine = self.rows[first:last]  # only where both overlap
        few, many = (rows, mine) if len(rows) < len(mine) else (mine, rows)
        if not len(few):
            return few
        places = np.minimum(among(many, few), len(many) - 1)
        kept: _Array = few[many[places] == few]
        return kept
