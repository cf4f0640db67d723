"""Columns and rows to be filled, in memory or, where that is too much, in files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.spill import Spill
from tracekit.timeline.rows import ROW_TYPES, Rows

__all__ = ["NewColumn", "NewRows", "new_column"]

_Array = npt.NDArray[Any]


class NewColumn:
    """A column of zeros, to be filled: ``values`` shows it."""

    def __init__(self, spill: Spill, size: int, dtype: npt.DTypeLike) -> None:
        wanted = np.dtype(dtype)
        self._room = spill.room(size * wanted.itemsize)
        self.values: _Array = np.frombuffer(self._room.view, wanted)

    def put(self, at: _Array | slice, parts: Sequence[_Array], order: _Array | None = None) -> None:
        """Write to the rows ``at``, a slice if there is an order: the parts one after the other,
        or in ``order``.
        """
        if not isinstance(at, slice):
            self.values[at] = np.concatenate(parts)
        elif self._room.in_file:
            some = np.empty(sum(map(len, parts)), self.values.dtype)
            _fill(some, parts, order)
            self._room.put(at.start * some.itemsize, some.view(np.uint8).data)
        else:
            _fill(self.values[at], parts, order)


def _fill(out: _Array, parts: Sequence[_Array], order: _Array | None) -> None:
    if order is None:
        np.concatenate(parts, out=out)
    else:  # clipping does nothing to what is in range, and needs no buffer
        np.take(np.concatenate(parts), order, out=out, mode="clip")


def new_column(spill: Spill, size: int, dtype: npt.DTypeLike) -> _Array:
    """A column of zeros, to be filled in any order."""
    return NewColumn(spill, size, dtype).values


class NewRows:
    """So many rows of zeros, to be filled: ``rows`` shows them."""

    def __init__(self, spill: Spill, size: int) -> None:
        self._columns = [NewColumn(spill, size, t) for t in ROW_TYPES]
        self.rows = Rows(*(column.values for column in self._columns))

    def put(self, start: int, parts: Sequence[Rows], order: _Array | None = None) -> None:
        """Write from row ``start`` on: the parts one after the other, or in ``order``."""
        at = slice(start, start + sum(map(len, parts)))
        for f, column in zip(fields(Rows), self._columns, strict=True):
            column.put(at, [getattr(part, f.name) for part in parts], order)
