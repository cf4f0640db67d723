"""Columns of the derived tables as plain arrays, and names made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.ftrace.columns import as_arrow, as_mask, as_numpy, as_signed, as_strings, flat, known

__all__ = [
    "dictionary",
    "ints",
    "labels",
    "nullable",
    "pairs_of",
    "taken",
    "whole",
    "with_unknown",
]  # fmt: skip

_Array = npt.NDArray[Any]
_NOTHING = frozenset(("count", "total_ns", "cut", "self_ns"))  # 0 of what never ended


def whole(table: pa.Table, column: str) -> pa.Array:
    """A column in one piece, without a copy where it is one."""
    return flat(table[column])


def ints(table: pa.Table, column: str, null: int = 0) -> _Array:
    """A column of integers, ``null`` for nulls; int64 where that would not fit otherwise."""
    values = whole(table, column)
    if not values.null_count or null >= 0:
        return as_numpy(values, null)
    signed: _Array | None = as_signed(values, null)
    assert signed is not None
    return signed


def taken(table: pa.Table, rows: _Array) -> pa.Table:
    """Some rows of a table whose columns are integers, booleans or dictionaries.

    Arrow's own ``take()`` is not asked: the memory would be Arrow's, all of it.
    """
    return pa.table({name: _taken(whole(table, name), rows)
                     for name in table.column_names})  # fmt: skip


def _taken(values: pa.Array, rows: _Array) -> pa.Array:
    if isinstance(values, pa.DictionaryArray):
        return pa.DictionaryArray.from_arrays(_taken(values.indices, rows), values.dictionary)
    if pa.types.is_boolean(values.type):
        return as_arrow(as_mask(values)[rows])
    numbers = as_numpy(values)[rows]
    return nullable(numbers, known(values)[rows]) if values.null_count else as_arrow(numbers)


def labels(table: pa.Table, column: str) -> tuple[_Array, list[str]]:
    """(index of each row's name, -1 for null; the names)."""
    values = whole(table, column)
    return as_numpy(values.indices, -1), values.dictionary.to_pylist()


def pairs_of(one: _Array, other: _Array) -> tuple[_Array, _Array, _Array, _Array]:
    """The distinct pairs of two columns of integers, ascending: (first halves, second halves,
    where each comes first, for every row the index of its pair).

    Each column is sorted by itself: sorting pairs is slow, and holds up all other threads.
    """
    (first, a), (second, b) = (np.unique(column, return_inverse=True) for column in (one, other))
    key, at, which = np.unique(a * len(second) + b, return_index=True, return_inverse=True)
    return first[key // len(second)], second[key % len(second)], at, which


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


def dictionary(labels: tuple[_Array, list[str]]) -> pa.DictionaryArray:
    """Labels as an Arrow column; null where the index is -1."""
    indices, names = labels
    plain = np.ascontiguousarray(indices, np.int32)
    return pa.DictionaryArray.from_arrays(nullable(plain, plain >= 0), as_strings(names))


def nullable(values: _Array, valid: _Array) -> pa.Array:
    """Integers as an Arrow column, null where they are not known."""
    column = as_arrow(values)
    if valid.all():
        return column
    bits = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(column.type, len(values), [bits, column.buffers()[1]])
