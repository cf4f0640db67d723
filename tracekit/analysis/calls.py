"""Call trees: the calls of the function graph, or sampled stacks, merged where they are alike.

A tree is a table, a row a node: see :func:`merge_paths`. Both ways down it are made of the same
paths: from the outermost function inwards, or from each function outwards to its callers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.analysis.arguments import Labels, labels_of_functions
from tracekit.analysis.columns import dictionary, ints, nullable, whole
from tracekit.analysis.match import combined
from tracekit.ftrace.columns import as_arrow, as_numpy
from tracekit.timeline.events import Events

__all__ = ["DEEPEST", "bottom_up", "call_tree", "folded", "stack_tree"]

_Array = npt.NDArray[Any]
DEEPEST = 256  #: levels of a tree; deeper calls count in the total of the one that is that deep
_SCHEMA = pa.schema([
    ("parent", pa.int64()), ("depth", pa.int32()), ("function", pa.string()),
    ("count", pa.int64()), ("total_ns", pa.int64()), ("self_ns", pa.int64()),
])  # fmt: skip
_END = (1 << 64) - 1  # of a stack that is shorter than its array: ULONG_MAX


def call_tree(spans: pa.Table, chosen: _Array, names: Labels) -> pa.Table:
    """The calls among ``spans`` of kind ``function``, merged from the outermost inwards.

    ``chosen`` are numbers of spans, ``names`` the names of these: a call whose caller is not chosen
    is outermost. Columns: ``parent`` (int64: the node of the caller, null for outermost calls),
    ``depth`` (int32, 0 is the outermost), ``function`` (string), ``count``, ``total_ns`` and
    ``self_ns`` (int64: of the calls whose duration is known; self is without the calls made). Nodes
    come after their parents, the largest total first.
    """
    outer = ints(spans, "parent", -1)
    duration = ints(spans, "duration_ns", -1)[chosen]
    place = np.full(len(spans) + 1, -1, np.int64)
    place[chosen] = np.arange(len(chosen))
    caller = _calling(outer, place, chosen)
    used = np.zeros(len(chosen), np.int64)
    inner = np.flatnonzero((caller >= 0) & (duration >= 0))
    np.add.at(used, caller[inner], duration[inner])
    alone = np.where(duration >= 0, np.maximum(duration - used, 0), 0)
    return _merged(caller, names[0].astype(np.int64), names[1], np.maximum(duration, 0), alone)


def _calling(outer: _Array, place: _Array, chosen: _Array) -> _Array:
    """For each chosen span the nearest chosen one around it, as a number among them; -1 for none.

    Between a call and its caller there may be an interrupt, which is no call.
    """
    above = outer[chosen]
    while True:
        skip = np.flatnonzero((above >= 0) & (place[above] < 0))
        if not len(skip):
            return place[above]  # place[-1] is -1
        above[skip] = outer[above[skip]]


def _depths(caller: _Array) -> _Array:
    """How many callers each has."""
    depth = np.zeros(len(caller), np.int64)
    level = np.flatnonzero(caller >= 0)
    above = caller[level]
    while len(level):
        depth[level] += 1
        above = caller[above]
        inside = above >= 0
        level, above = level[inside], above[inside]
    return depth


def _merged(
    caller: _Array, name: _Array, names: Sequence[str], total: _Array, alone: _Array
) -> pa.Table:
    """Merge calls of the same name whose callers were merged, level by level."""
    depth = _depths(caller)
    node = np.full(len(caller), -1, np.int64)
    parts: list[tuple[_Array, ...]] = []
    made = 0
    for level in range(min(int(depth.max(initial=-1)) + 1, DEEPEST)):
        mine = np.flatnonzero(depth == level)
        above = node[caller[mine]] if level else np.full(len(mine), -1, np.int64)
        _, first, which = np.unique(combined(above, name[mine]), return_index=True,
                                    return_inverse=True)  # fmt: skip
        which = which.reshape(-1)
        sums = [np.zeros(len(first), np.int64) for _ in range(2)]
        np.add.at(sums[0], which, total[mine])
        np.add.at(sums[1], which, alone[mine])
        node[mine] = made + which
        count = np.bincount(which, minlength=len(first))
        parts.append((above[first], np.full(len(first), level), name[mine][first], count, *sums))
        made += len(first)
    return _table(parts, names)


def _table(parts: Sequence[tuple[_Array, ...]], names: Sequence[str]) -> pa.Table:
    # an empty_table() would import pandas
    parts = parts or [(np.empty(0, np.int64),) * 6]
    parent, depth, name, count, total, alone = (
        np.concatenate(column).astype(np.int64) for column in zip(*parts, strict=True)
    )
    # level by level, the largest total first: a parent is always before its children
    order = np.lexsort((-total, depth))
    place = np.empty(len(order) + 1, np.int64)
    place[order], place[-1] = np.arange(len(order)), -1
    above = place[parent[order]]
    functions = dictionary((name[order].astype(np.int32), list(names))).cast(pa.string())
    return pa.table(
        [nullable(above, above >= 0), as_arrow(depth[order].astype(np.int32)), functions,
         *(as_arrow(column[order]) for column in (count, total, alone))], schema=_SCHEMA,
    )  # fmt: skip


# -- the other way, and as text -------------------------------------------------------------------


def bottom_up(tree: pa.Table) -> pa.Table:
    """The same tree from each function outwards to its callers.

    Columns as of :func:`call_tree`: depth 0 are the functions themselves; ``self_ns`` of a node is
    the own time that the function at depth 0 had when called this way, ``total_ns`` its time with
    what it called, that of calls inside a call of the same function counted once.
    """
    parent, name = ints(tree, "parent", -1), whole(tree, "function").dictionary_encode()
    names, key = name.dictionary.to_pylist(), as_numpy(name.indices).astype(np.int64)
    count, own = ints(tree, "count"), ints(tree, "self_ns")
    total = np.where(_recursive(parent, key), 0, ints(tree, "total_ns"))
    at, above = np.arange(len(tree)), np.full(len(tree), -1, np.int64)
    origin, parts, made = at.copy(), list[tuple[_Array, ...]](), 0
    for level in range(DEEPEST):
        if not len(origin):
            break
        _, first, which = np.unique(combined(above, key[at]), return_index=True,
                                    return_inverse=True)  # fmt: skip
        which = which.reshape(-1)
        sums = [np.zeros(len(first), np.int64) for _ in range(3)]
        for column, values in zip(sums, (count, total, own), strict=True):
            np.add.at(column, which, values[origin])
        parts.append((above[first], np.full(len(first), level), key[at][first], *sums))
        going = parent[at] >= 0
        above = (made + which)[going]
        made += len(first)
        origin, at = origin[going], parent[at][going]
    return _table(parts, names)


def _recursive(parent: _Array, key: _Array) -> _Array:
    """Which nodes lie inside a node of the same function."""
    inside = np.zeros(len(parent), bool)
    above = parent.copy()
    while (above >= 0).any():
        inside |= (above >= 0) & (key[above] == key)
        above = np.where(above >= 0, parent[above], -1)
    return inside


def folded(tree: pa.Table, weight: str = "self_ns") -> Iterator[str]:
    """The lines that flame graph tools read: ``outer;inner;function NUMBER``, those above 0."""
    paths: list[str] = []
    columns = (tree[name].to_pylist() for name in ("parent", "function", weight))
    for parent, function, value in zip(*columns, strict=True):
        name = function.replace(";", ":").replace(" ", "_").replace("\n", "_")
        paths.append(name if parent is None else f"{paths[parent]};{name}")
        if value > 0:
            yield f"{paths[-1]} {value}"


# -- stacks ---------------------------------------------------------------------------------------


def stack_tree(events: Events, rows: _Array, field: str = "caller") -> pa.Table:
    """Stack traces (``ftrace:kernel_stack``) merged from the outermost caller inwards.

    Columns as of :func:`call_tree`; ``count`` is how many stacks pass a node; no time is known, so
    that ``total_ns`` is 0, and ``self_ns`` is how many stacks end there.
    """
    stacks: dict[tuple[int, bytes], int] = {}
    for part, values in events.values(rows, field):
        boots = events.rows.boot[rows[part]].tolist()
        for boot, addresses in zip(boots, values.to_pylist(), strict=True):
            if addresses:
                raw = np.array(addresses, np.uint64).tobytes()
                stacks[boot, raw] = stacks.get((boot, raw), 0) + 1
    frames: list[_Array] = []
    for _, raw in stacks:
        whole = np.frombuffer(raw, np.uint64)
        ends = np.flatnonzero((whole == _END) | (whole == 0))
        frames.append(whole[: ends[0]] if len(ends) else whole)
    return _of_stacks(events, [boot for boot, _ in stacks], frames, list(stacks.values()))


def _of_stacks(
    events: Events, boots: Sequence[int], frames: Sequence[_Array], times: Sequence[int]
) -> pa.Table:
    frames = [stack[::-1][:DEEPEST] for stack in frames]  # the record has the innermost first
    lengths = np.array([len(stack) for stack in frames], np.int64)
    if not lengths.sum():
        return _table([], [])
    flat = np.concatenate(frames).astype(np.int64)
    name, names = labels_of_functions(events, np.repeat(np.array(boots, np.uint8), lengths), flat)
    first = np.cumsum(lengths) - lengths
    level = np.arange(len(flat)) - np.repeat(first, lengths)
    caller = np.where(level > 0, np.arange(len(flat)) - 1, -1)
    weight = np.repeat(np.array(times, np.int64), lengths)
    leaf = np.zeros(len(flat), np.int64)
    ends = (first + lengths - 1)[lengths > 0]
    leaf[ends] = weight[ends]
    tree = _merged(caller, name.astype(np.int64), names, weight, leaf)
    counts = tree["total_ns"]
    nothing = as_arrow(np.zeros(len(tree), np.int64))
    tree = tree.set_column(3, "count", counts)
    return tree.set_column(4, "total_ns", nothing)
