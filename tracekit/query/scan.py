"""Scans for the rows that meet an expression, piece by piece: the first ones come at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.frozen import dataclass
from tracekit.query.compare import is_negated, number_mask, ordered
from tracekit.query.expr import Compare, Expr, column_of, terms
from tracekit.query.groups import Groups, Index
from tracekit.query.match import Matcher, wanted_events
from tracekit.query.selection import Selection, among
from tracekit.timeline.events import Events

__all__ = ["Found", "Hits", "candidates", "scan"]

_Array = npt.NDArray[Any]
_FIRST, _LEAST = 1 << 9, 1 << 7  # rows in a piece
_PIECE = 0.004  # seconds that a piece should take
_MERGED = 8  # groups are merged where they hold less than this part of the rows


@dataclass(frozen=True, eq=False)
class Found:
    """A piece of a scan: the rows that were found in it (uint32, ascending).

    ``done`` of ``total`` rows have been evaluated.
    """

    rows: _Array
    done: int
    total: int


class Hits:
    """What a scan that began at row ``start`` has found so far."""

    def __init__(self, start: int = 0) -> None:
        self._start = start
        self._ahead: list[_Array] = []
        self._behind: list[_Array] = []
        self._count = 0

    def add(self, rows: _Array) -> None:
        """Take the rows of a piece."""
        if len(rows):
            (self._ahead if int(rows[0]) >= self._start else self._behind).append(rows)
            self._count += len(rows)

    def __len__(self) -> int:
        return self._count

    def rows(self) -> _Array:
        """All of them, ascending (uint32)."""
        both = np.concatenate([np.empty(0, np.uint32), *self._behind, *self._ahead])
        # so that the next call has less to concatenate
        behind = sum(map(len, self._behind))
        self._behind, self._ahead = [both[:behind]], [both[behind:]]
        return both


def scan(
    events: Events, expr: Expr, index: Index, within: Selection, start: int = 0
) -> Iterator[Found]:
    """The rows of ``within`` that meet ``expr``, from row ``start`` to the end, then those before.

    A piece takes a few milliseconds. ``expr`` has passed :func:`~.match.check`.
    """
    matcher = Matcher(events, expr)
    rows = candidates(events, expr, index, within)
    total = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
    if isinstance(rows, slice):
        middle = min(max(start - rows.start, 0), total)
    else:
        middle = int(among(rows, start))
    size, done = _FIRST, 0
    for position, end in ((middle, total), (0, middle)):
        while position < end:
            stop, begun = min(position + size, end), time.perf_counter()
            hits = _piece(matcher, rows, position, stop)
            done += stop - position
            position = stop
            yield Found(hits, done, total)
            size = min(_fitting(size, time.perf_counter() - begun), matcher.most)


def _fitting(size: int, took: float) -> int:
    """How large the next piece should be."""
    if took < _PIECE / 2:
        return size * 2
    return max(size // 2, _LEAST) if took > _PIECE * 2 else size


def _piece(matcher: Matcher, rows: _Array | slice, position: int, stop: int) -> _Array:
    if isinstance(rows, slice):
        part = slice(rows.start + position, rows.start + stop)
        hits: _Array = np.flatnonzero(matcher.at(part)) + part.start
    else:
        some = rows[position:stop].astype(np.int64)
        hits = some[matcher.at(some)]
    return hits.astype(np.uint32)


# -- which rows can be skipped --------------------------------------------------------------------


def candidates(events: Events, expr: Expr, index: Index, within: Selection) -> _Array | slice:
    """The rows of ``within`` that can meet ``expr``, by its conditions on time, event and CPU.

    Ascending indices, or a slice ``start:stop`` if they are contiguous.
    """
    needed = [term for term in terms(expr) if isinstance(term, Compare)]
    first, last = _stretch(events.axis.ts_ns, needed)
    groups = [g for term in needed if (g := _groups(events, term, index)) is not None]
    few = min(groups, key=_size, default=None)
    if few is None or _size(few) * (_MERGED if len(few) > 1 else 1) > len(events):
        if within.rows is None:
            return slice(first, last)
        return _between(within.rows, first, last)
    rows = [_between(group, first, last) for group in few]
    merged = rows[0] if len(rows) == 1 else np.sort(np.concatenate([index.cpus.order[:0], *rows]))
    return within.within(merged)


def _size(groups: list[_Array]) -> int:
    return sum(map(len, groups))


def _between(rows: _Array, first: int, last: int) -> _Array:
    """Those of ``rows`` (ascending) from ``first`` to before ``last``."""
    start, stop = among(rows, [first, last]).tolist()
    between: _Array = rows[start:stop]
    return between


def _groups(events: Events, term: Compare, index: Index) -> list[_Array] | None:
    """The rows of the events or the CPUs that ``term`` asks for; None if it asks for neither."""
    column = column_of(term.name)
    if column == "event":
        return [index.events.rows(i) for i in wanted_events(term, events)]
    if column == "cpu":
        cpus: Groups = index.cpus
        asked = number_mask(term, np.array(cpus.keys, np.int32)) ^ is_negated(term)
        return [cpus.rows(i) for i in np.flatnonzero(asked).tolist()]
    return None


def _stretch(ts_ns: _Array, needed: list[Compare]) -> tuple[int, int]:
    """The rows [first, last) in the time that ``needed`` asks for."""
    first, last = 0, len(ts_ns)
    for term in needed:
        number = term.values[0].number if term.values else None
        if column_of(term.name) != "ts" or number is None or not -(1 << 63) <= number < 1 << 63:
            continue
        if term.op == "=" or ordered(term):
            left, right = (int(np.searchsorted(ts_ns, number, side=s)) for s in ("left", "right"))
            first = max(first, {">": right, ">=": left, "=": left}.get(term.op, 0))
            last = min(last, {"<": left, "<=": right, "=": right}.get(term.op, len(ts_ns)))
    return first, max(first, last)
