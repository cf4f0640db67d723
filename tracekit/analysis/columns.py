"""Columns of the derived tables as plain arrays, and names made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.ftrace.columns import as_arrow, as_mask, as_numpy, as_signed, as_strings, known

__all__ = [
    "dictionary",
    "ints",
    "labels",
    "nullable",
    "pairs_of",
    "taken",
    "whole",
    "whose",
    "with_unknown",
]  # fmt: skip

_Array = npt.NDArray[Any]
_UNNAMED = "<...>"
_NOTHING = frozenset(("count", "total_ns", "cut", "self_ns"))  # 0 of what never ended


def whole(table: pa.Table, column: str) -> pa.Array:
    """A column in one piece, without a copy where it is one."""
    values = table[column]
    return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()


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


def _tasks(table: pa.Table, with_boot: bool) -> tuple[_Array, list[str]]:
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


def _wakers(table: pa.Table) -> tuple[_Array, list[str]]:
    """Who woke, as ``name-pid``, or in what kind of interrupt."""
    pids = whole(table, "waker_pid")
    told = known(pids)
    (comm, comms), (context, contexts) = (labels(table, f"waker_{n}") for n in ("comm", "context"))
    pid, who, where = as_numpy(pids), [*comms, _UNNAMED], [*contexts, str(None)]
    boot = ints(table, "boot").astype(np.int64)  # a task has one name in a boot
    of_task = np.where(told, boot << 32 | pid.astype(np.int64) & 0xFFFFFFFF, -1 - context)
    _, first, key = np.unique(of_task, return_index=True, return_inverse=True)
    texts = [
        f"{who[comm[at]]}-{pid[at]}" if told[at] else where[context[at]] for at in first.tolist()
    ]
    number: dict[str, int] = {}
    by = np.argsort(first)
    codes = np.empty(len(first), np.int64)
    for at in by.tolist():
        codes[at] = number.setdefault(texts[at], len(number))
    return codes[key.reshape(-1)], list(number)


def whose(table: pa.Table, by: str, with_boot: bool) -> tuple[_Array, list[str]]:
    """(for each row the index of its CPU or task, or of who woke it; their names)."""
    if by == "waker":
        return _wakers(table)
    if by != "cpu":
        return _tasks(table, with_boot)
    key = ints(table, "cpu").astype(np.int64)
    return key, [f"cpu {n}" for n in range(int(key.max(initial=-1)) + 1)]


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
