"""Statistics of many numbers by what they belong to; on arrays, pure.

A quantile is one of the values: the smallest that at least that share of them does not exceed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit._native import columns as native
from tracekit.analysis.columns import dictionary, nullable
from tracekit.frozen import dataclass
from tracekit.ftrace.columns import as_arrow
from tracekit.query.groups import stable_order
from tracekit.timeline.rows import PIECE, grouping

__all__ = ["Clipped", "Piece", "clip", "durations", "histogram", "intervals", "per_second"]

_Array = npt.NDArray[Any]
_QUANTILES = {"p50": 50, "p99": 99}
_WIDTH = 65  # buckets of a histogram


@dataclass(frozen=True, slots=True)
class Clipped:
    """Which intervals lie in a window at all, and the length of each in it (ns)."""

    which: _Array
    length: _Array


def clip(start: _Array, end: _Array, since: _Array, until: _Array) -> Clipped:
    """The parts of intervals in ``[since, until]`` (ns, one for each); one that only touches it is
    not in it.
    """
    least, most = np.maximum(start, since), np.minimum(end, until)
    inside = (most > least) | ((most == least) & (start == end))  # some take no time at all
    return Clipped(np.flatnonzero(inside), (most - least)[inside])


def _quantiles(values: _Array) -> list[int]:
    places = [(len(values) * percent + 99) // 100 - 1 for percent in _QUANTILES.values()]
    found: list[int] = np.partition(values, places)[places].tolist()
    return found


def _of_group(values: _Array, rows: _Array) -> tuple[list[int], int]:
    """(the quantiles of some values, the position of the largest; of equal ones the first row)."""
    found = _quantiles(values)
    largest = np.flatnonzero(values == values.max())
    return found, int(largest[np.argmin(rows[largest])])


def durations(
    key: _Array, names: Sequence[str], values: _Array, at: _Array, rows: _Array
) -> pa.Table:
    """Of each name: count, total, mean, p50, p99 and max in ns, and where the worst is.

    ``key``: for each value (int64, ns) the index of its name; ``at`` and ``rows``: when it began
    (ns) and its event. Columns: ``name``, ``count`` (int64), ``total_ns``, ``mean_ns``, ``p50_ns``,
    ``p99_ns``, ``max_ns``, ``max_at_ns``, ``max_row`` (int64), ``histogram`` (list of int64: how
    many took 0 ns, 1, 2 to 3, 4 to 7, ... ns). The largest total comes first. Of equally bad ones
    the first in time is the worst.
    """
    order, starts, counts = grouping(key, stable_order(key))
    quantiles, worst = np.zeros((len(starts), len(_QUANTILES)), np.int64), starts.copy()
    for n, (start, count) in enumerate(zip(starts.tolist(), counts.tolist(), strict=True)):
        mine = order[start : start + count]  # a group at a time: many millions are many bytes
        quantiles[n], place = _of_group(values[mine], rows[mine])
        worst[n] = mine[place]
    group = key[order[starts]].astype(np.int32)
    total, table = _sums(key, values, group, len(names))
    columns: dict[str, pa.Array] = {
        "name": dictionary((group, list(names))),
        "count": as_arrow(counts.astype(np.int64)),
        "total_ns": as_arrow(total),
        "mean_ns": as_arrow(total // np.maximum(counts, 1)),
    }
    for number, label in enumerate(_QUANTILES):
        columns[f"{label}_ns"] = as_arrow(quantiles[:, number])
    columns["max_ns"] = as_arrow(values[worst])
    columns["max_at_ns"] = as_arrow(at[worst])
    columns["max_row"] = as_arrow(rows[worst].astype(np.int64))
    columns["histogram"] = _histograms(table)
    made = pa.table(columns)
    return made.take(as_arrow(np.argsort(-total, kind="stable")))


def _sums(key: _Array, values: _Array, group: _Array, names: int) -> tuple[_Array, _Array]:
    """(the sum of each group's values, how many have each number of bits), some at a time.

    ``group``: the keys that occur, of so many names.
    """
    place = np.zeros(names, np.int64)
    place[group] = np.arange(len(group))
    total, table = np.zeros(len(group), np.int64), np.zeros((len(group), _WIDTH), np.int64)
    for start in range(0, len(key), PIECE):
        some = slice(start, start + PIECE)
        at = place[key[some]]
        np.add.at(total, at, values[some])
        np.add.at(table.reshape(-1), at * _WIDTH + _buckets(values[some]), 1)
    return total, table


def _buckets(values: _Array) -> _Array:
    """0 for 0, 1 for 1, 2 for 2 and 3, 3 for 4 to 7, ...: the bits that a value takes."""
    bits = np.frexp(values.astype(np.float64))[1].astype(np.int64)
    rounded = np.flatnonzero(values >= 1 << 53)  # what a double cannot tell exactly
    bits[rounded] = [value.bit_length() for value in values[rounded].tolist()]
    return bits


def _histograms(table: _Array) -> pa.Array:
    """One list for each row of counts, up to its last bucket that is not empty."""
    lengths = _WIDTH - np.argmax(table[:, ::-1] > 0, axis=1)
    keep = np.arange(_WIDTH)[None, :] < lengths[:, None]
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
    return pa.LargeListArray.from_arrays(as_arrow(offsets), as_arrow(table[keep]))


def histogram(counts: Sequence[int]) -> list[tuple[int, int, int]]:
    """(from, up to and with, how many) of the buckets of a ``histogram`` column, from the first
    that is not empty on.
    """
    first = next((i for i, n in enumerate(counts) if n), len(counts))
    return [(1 << i - 1 if i else 0, (1 << i) - 1, n) for i, n in enumerate(counts) if i >= first]


def per_second(counts: _Array, recorded_ns: int) -> pa.Array:
    """Events a second of the time that was recorded; null where that is none."""
    rate = counts * (1e9 / recorded_ns) if recorded_ns > 0 else np.zeros(len(counts))
    known = None if recorded_ns > 0 else pa.py_buffer(bytes(len(counts) // 8 + 1))
    # pa.array() would import pandas
    return pa.Array.from_buffers(pa.float64(), len(counts), [known, pa.py_buffer(rate)])


@dataclass(frozen=True, slots=True)
class Piece:
    """Some events, in the order of time, from the row ``start`` on; ``chosen``: a mask, None for
    all. ``kind`` int32, ``ts`` int64, ``boot`` uint8.
    """

    start: int
    chosen: _Array | None
    kind: _Array
    ts: _Array
    boot: _Array


#: The columns of :func:`tracekit._native.columns.gaps_counted`.
_COUNT, _FIRST, _LAST, _LAST_BOOT, _TIMES, _LONGEST, _WHERE, _P50, _P99 = 0, 1, 2, 4, 5, 6, 7, 9, 12
_KNOWN = 14
_FIRST_COUNTS, _COUNTS = 56 << 8, 2 << 12  # of a name, in a pass


def _counted(
    names: int, table: _Array, events: Callable[[], Iterable[Piece]], timed: bytes
) -> _Array:
    """What the passes found out of each name."""
    known = np.zeros((names, _KNOWN), np.int64)
    known[:, _LAST_BOOT] = -1
    left, is_first = names, True
    while left:
        counts = np.zeros((names, _FIRST_COUNTS if is_first else _COUNTS), np.uint64)
        for some in events():
            native.gaps_counted(
                known, counts, is_first, some.kind, some.chosen, some.ts, some.boot, some.start,
                table, timed,
            )  # fmt: skip
        left = native.gaps_settled(known, counts, is_first, *_QUANTILES.values())
        is_first = False
    return known


def intervals(
    names: Sequence[str], table: _Array, events: Callable[[], Iterable[Piece]],
    at: tuple[_Array, _Array], timed: Collection[int], recorded_ns: int,
) -> pa.Table:  # fmt: skip
    """Of each name: how many events, how many a second, and the times between one and the next.

    ``table`` (int32) gives each kind's index in ``names``. ``events`` gives the chosen ones, as
    often as it is called; ``at`` are ``ts`` and ``boot`` of all. Nothing is between two of
    different boots, or of one that is not among ``timed``, whose clocks count time. Columns:
    ``name``, ``count``, ``rate`` (float64, a second; null if the recorded time is not known),
    ``first_ns``, ``last_ns``, ``first_row``, and of the times between: ``p50_ns``, ``p99_ns``,
    ``max_ns``, ``max_at_ns`` (when the longest began), ``max_row``; null where there is none. The
    most come first.
    """
    counting = np.array([boot in timed for boot in range(256)], np.uint8)
    known = _counted(len(names), table, events, counting.tobytes())
    order = np.argsort(-known[:, _COUNT], kind="stable")
    order = order[known[order, _COUNT] > 0]
    known = known[order]
    ts, boots = at
    first, last, many = known[:, _FIRST], known[:, _LAST], known[:, _TIMES] > 0
    worst = np.where(many, known[:, _WHERE], 0)
    columns: dict[str, pa.Array] = {
        "name": dictionary((np.arange(len(known), dtype=np.int32), [names[i] for i in order])),
        "count": as_arrow(known[:, _COUNT].copy()),
        "rate": per_second(known[:, _COUNT], recorded_ns),
        "first_ns": nullable(ts[first], counting[boots[first]] > 0),
        "last_ns": nullable(ts[last], counting[boots[last]] > 0),
        "first_row": as_arrow(first.copy()),
    }
    for name, values in (
        ("p50_ns", known[:, _P50]), ("p99_ns", known[:, _P99]), ("max_ns", known[:, _LONGEST]),
        ("max_at_ns", ts[worst]), ("max_row", worst),
    ):  # fmt: skip
        columns[name] = nullable(values.copy(), many)
    return pa.table(columns)
