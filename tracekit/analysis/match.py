"""Begins matched with ends, and what lies inside what: on arrays, without a loop over events."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.frozen import dataclass
from tracekit.query.groups import stable_order

__all__ = ["Matched", "combined", "innermost", "levels", "matched", "running"]

_Array = npt.NDArray[Any]
_ROOM = 1 << 62


@dataclass(frozen=True, slots=True)
class Matched:
    """Positions in the arrays that were matched (int64).

    ``begin[i]`` and ``end[i]`` belong together. ``lone_begins`` have no end; ``last`` says of each
    that nothing of its key follows, so that it may still go on. ``lone_ends`` have no begin.
    """

    begin: _Array
    end: _Array
    lone_begins: _Array
    last: _Array
    lone_ends: _Array


def _codes(values: _Array) -> tuple[_Array, int]:
    """(numbers from 0 on that compare as the values do, what they are below)."""
    if not len(values):
        return np.zeros(0, np.int64), 1
    least, most = int(values.min()), int(values.max())
    if most - least >= _ROOM:
        return _dense(values)
    return (values - values.dtype.type(least)).astype(np.int64), most - least + 1


def _dense(values: _Array) -> tuple[_Array, int]:
    """The same, below the number of different values."""
    unique, which = np.unique(values, return_inverse=True)
    return which.reshape(-1).astype(np.int64), max(len(unique), 1)


def combined(*columns: _Array) -> _Array:
    """One number (int64) for each row: they compare as the rows do, by the first column first."""
    code, size = _codes(columns[0])
    for column in columns[1:]:
        other, count = _codes(column)
        if size * count >= _ROOM:
            (code, size), (other, count) = _dense(code), _dense(other)
        code, size = code * count + other, size * count
    return code


def matched(key: _Array, begins: _Array, *, first: bool = False) -> Matched:
    """Match each begin with the next of its key, if that is an end.

    ``key`` (int64) and ``begins`` (bool) are in the order of time. ``first``: a begin that follows
    one of its key is that one, begun again.
    """
    order = stable_order(key)
    same = key[order][1:] == key[order][:-1]
    if first:
        again = np.append(False, same & begins[order][:-1]) & begins[order]
        order = order[~again]
        same = key[order][1:] == key[order][:-1]
    begin = begins[order]
    pair = same & begin[:-1] & ~begin[1:]
    lone_begin = begin & ~np.append(pair, False)
    lone_end = ~begin & ~np.append(False, pair)
    return Matched(
        order[:-1][pair], order[1:][pair], order[lone_begin],
        ~np.append(same, False)[lone_begin], order[lone_end],
    )  # fmt: skip


def levels(key: _Array, begins: _Array) -> _Array:
    """How many of its key each begin or end lies inside of: equal for the two of a pair."""
    order = stable_order(key)
    change = np.where(begins[order], 1, -1)
    total = np.cumsum(change)
    starts = np.flatnonzero(np.append(True, key[order][1:] != key[order][:-1])[: len(order)])
    before = np.zeros(len(order), np.int64)
    if len(starts):
        counts = np.diff(np.append(starts, len(order)))
        before = np.repeat(total[starts] - change[starts], counts)
    level = np.empty(len(key), np.int64)
    level[order] = total - before - (change > 0)
    return level


def innermost(context: _Array, begin: _Array, end: _Array) -> _Array:
    """The index of the innermost interval that each lies in, of the same context; -1 for none.

    Intervals are of positions (int64), ``begin <= end``, and in one context lie beside or inside
    one another. What only overlaps another one is not inside it.
    """
    count = len(context)
    parent = np.full(count, -1, np.int64)
    if not count:
        return parent
    owner, owners = _codes(context)
    first = int(begin.min())
    width = int(end.max()) - first + 2
    if owners * width >= _ROOM >> 1:
        owner, owners = _dense(owner)
    depth = _depth(owner, begin - first, end - first, width)
    deepest = int(depth.max()) + 1
    group = owner * deepest + depth
    if owners * deepest * width >= _ROOM:  # more tasks and levels than there can be
        return parent
    place = group * width + (begin - first)
    order = stable_order(place)
    inside = np.flatnonzero(depth > 0)
    above = place[inside] - width  # the same begin, one level further out
    ranks = np.searchsorted(place[order], above, "right") - 1
    outer = order[ranks]
    fits = (ranks >= 0) & (group[outer] == group[inside] - 1) & (end[outer] >= end[inside])
    parent[inside[fits]] = outer[fits]
    return parent


def _depth(owner: _Array, begin: _Array, end: _Array, width: int) -> _Array:
    """How many intervals of its owner each lies in, if none only overlap."""
    count = len(owner)
    place = (np.concatenate([owner, owner]) * width + np.concatenate([begin, end])) * 2
    place[count:] += 1  # at one place, begins come before ends
    order = stable_order(place)
    opens, place_in_order = order < count, place[order]
    if np.any((place_in_order[1:] == place_in_order[:-1]) & opens[1:]):
        # of two that begin at one place the longer one is the outer one
        ends = np.concatenate([-end, np.zeros(count, np.int64)])
        order = np.lexsort((ends, place))
        opens = order < count
    depth = np.empty(count, np.int64)
    level = np.cumsum(np.where(opens, 1, -1))  # every owner's intervals all end
    depth[order[opens]] = level[opens] - 1
    return depth


def running(key: _Array, values: _Array) -> _Array:
    """The smallest value of each key from each position on, not counting its own.

    ``key`` is ascending; the last of a key has the largest int64.
    """
    result = np.full(len(key), np.iinfo(np.int64).max)
    if len(key) < 2:
        return result
    span = int(values.max()) - int(values.min()) + 1
    number = np.cumsum(np.append(0, key[1:] != key[:-1]))
    shifted = (values - values.min()) + number * span
    least = np.minimum.accumulate(shifted[::-1])[::-1]
    inner = np.flatnonzero(key[1:] == key[:-1])
    result[inner] = least[inner + 1] - number[inner] * span + values.min()
    return result
