"""Columns of the derived tables as plain arrays, and names made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.ftrace.columns import as_arrow, as_numpy, as_strings

__all__ = ["ints", "labels", "pairs_of", "tasks", "wakers", "with_unknown"]

_Array = npt.NDArray[Any]
_UNNAMED = "<...>"
_NOTHING = frozenset(("count", "total_ns", "cut", "self_ns"))  # 0 of what never ended


def ints(table: pa.Table, column: str, null: int = 0) -> _Array:
    """A column of integers, ``null`` for nulls; int64 where that would not fit otherwise."""
    values = table[column].combine_chunks()
    if values.null_count and null < 0:
        values = values.cast(pa.int64())
    return as_numpy(values, null)


def labels(table: pa.Table, column: str) -> tuple[_Array, list[str]]:
    """(index of each row's name, -1 for null; the names)."""
    values = table[column].combine_chunks()
    return as_numpy(values.indices, -1), values.dictionary.to_pylist()


def pairs_of(one: _Array, other: _Array) -> tuple[_Array, _Array, _Array, _Array]:
    """The distinct pairs of two columns of integers, ascending: (first halves, second halves,
    where each comes first, for every row the index of its pair).

    Each column is sorted by itself: sorting pairs is slow, and holds up all other threads.
    """
    (first, a), (second, b) = (np.unique(column, return_inverse=True) for column in (one, other))
    key, at, which = np.unique(a * len(second) + b, return_index=True, return_inverse=True)
    return first[key // len(second)], second[key % len(second)], at, which


def tasks(table: pa.Table, with_boot: bool) -> tuple[_Array, list[str]]:
    """The tasks of turns, as ``name-pid``, of each boot apart."""
    boot, pid = ints(table, "boot").astype(np.int64), ints(table, "pid").astype(np.int64)
    codes, comms = labels(table, "comm")
    unique, first, key = np.unique(boot << 32 | pid, return_index=True, return_inverse=True)
    names = []
    for one, at in zip(unique.tolist(), first.tolist(), strict=True):
        comm = comms[codes[at]] if codes[at] >= 0 else _UNNAMED
        suffix = f" (boot {one >> 32})" if with_boot else ""
        names.append(f"{comm}-{one & 0xFFFFFFFF}{suffix}")
    return key.reshape(-1), names


def wakers(table: pa.Table) -> tuple[_Array, list[str]]:
    """Who woke, as ``name-pid``, or in what kind of interrupt."""
    columns = (table[c].to_pylist() for c in ("waker_pid", "waker_comm", "waker_context"))
    texts = [
        f"{comm or _UNNAMED}-{pid}" if pid is not None else str(context)
        for pid, comm, context in zip(*columns, strict=True)
    ]
    names = dict.fromkeys(texts)
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[text] for text in texts], np.int64), list(names)


def with_unknown(table: pa.Table, names: list[str]) -> pa.Table:
    """With rows for what never ended: a count of 0, and nothing known of the time."""
    if not names:
        return table
    columns = {
        f.name: as_arrow(np.zeros(len(names), np.int64)) if f.name in _NOTHING
        else pa.nulls(len(names), f.type)
        for f in table.schema if f.name != "name"
    }  # fmt: skip
    more = pa.table({"name": as_strings(names).dictionary_encode(), **columns})
    more = more.select(table.column_names)
    return pa.concat_tables([table, more]).unify_dictionaries().combine_chunks()
