"""Evaluates comparisons with arithmetic (:class:`~.sums.Calc`), many rows at a time.

Numbers are numpy's long doubles: on the machines that trace, every 64-bit integer is exact.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.ftrace.columns import as_mask, as_numpy
from tracekit.query.parts import ARGUMENT, column_of
from tracekit.query.sums import Calc, Name, Number, Term
from tracekit.timeline.events import Events

__all__ = ["calculated", "since_before"]

_Array = npt.NDArray[Any]
_Rows = npt.NDArray[Any] | slice
_Values = tuple[_Array, _Array]  # (long doubles, which of them are known)
_COMPARE = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_SIGNS = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "%": np.remainder,
}  # fmt: skip


def since_before(events: Events, rows: _Rows) -> _Values:
    """(ns since the event before, of any CPU; which rows have one)."""
    at = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows.astype(np.int64)
    ts = events.axis.ts_ns
    return ts[at] - ts[np.maximum(at - 1, 0)], at > 0


def calculated(
    events: Events, calc: Calc, arguments: Sequence[Collection[str]]
) -> Callable[[_Rows], _Array]:
    """Which rows meet ``calc``; one that lacks a number, or divides by 0, does not.

    ``arguments``: the names of those of each of ``events.kinds``.
    """

    def run(rows: _Rows) -> _Array:
        with np.errstate(all="ignore"):
            left, known = _values(events, calc.left, rows, arguments)
            right, also = _values(events, calc.right, rows, arguments)
            mask: _Array = _COMPARE[calc.op](left, right) & known & also
            return mask & np.isfinite(left) & np.isfinite(right)

    return run


def _values(
    events: Events, term: Term, rows: _Rows, arguments: Sequence[Collection[str]]
) -> _Values:
    if isinstance(term, Number):
        size = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
        return np.full(size, term.value, np.longdouble), np.ones(size, bool)
    if isinstance(term, Name):
        return _named(events, term.name, rows, arguments)
    left, known = _values(events, term.left, rows, arguments)
    right, also = _values(events, term.right, rows, arguments)
    return _SIGNS[term.op](left, right), known & also


def _named(events: Events, name: str, rows: _Rows, arguments: Sequence[Collection[str]]) -> _Values:
    column = column_of(name)
    if column is None:
        return _argument(events, name.removeprefix(ARGUMENT), rows, arguments)
    if column == "delta":
        since, known = since_before(events, rows)
        return since.astype(np.longdouble), known
    columns = events.rows
    values = (
        events.axis.ts_ns
        if column == "ts"
        else getattr(columns, "ts_raw" if column == "raw" else column)
    )[rows]
    return values.astype(np.longdouble), np.ones(len(values), bool)


def _argument(
    events: Events, name: str, rows: _Rows, arguments: Sequence[Collection[str]]
) -> _Values:
    kinds = events.rows.kind[rows]
    values, known = np.zeros(len(kinds), np.longdouble), np.zeros(len(kinds), bool)
    has = np.array([*(name in names for names in arguments), False])
    where = np.flatnonzero(has[np.minimum(kinds, len(arguments))])
    if not len(where):
        return values, known
    mine = where + rows.start if isinstance(rows, slice) else rows[where]
    for part, found in events.values(mine, name):
        if pa.types.is_boolean(found.type):
            found = found.cast(pa.uint8())
        if pa.types.is_integer(found.type):
            values[where[part]] = as_numpy(found).astype(np.longdouble)
            known[where[part]] = as_mask(found.is_valid())
    return values, known
