"""One argument of many events as a plain array, and what people call its values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.analysis.columns import pairs_of
from tracekit.ftrace.columns import as_arrow, as_numpy, as_strings
from tracekit.timeline.events import Events

__all__ = [
    "Labels", "dictionary", "integers", "labels_of_functions", "labels_of_texts", "nullable",
    "numbered", "values_as_texts",
]  # fmt: skip

_Array = npt.NDArray[Any]
Labels = tuple[_Array, list[str]]


def _flat(values: pa.Array) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def integers(events: Events, rows: _Array, field: str, null: int = 0) -> tuple[_Array, _Array]:
    """(an integer argument of events, int64 modulo 2**64; whether each event has it).

    A text or an array is not one.
    """
    found, has = np.full(len(rows), null, np.int64), np.zeros(len(rows), bool)
    for part, values in events.values(rows, field):
        values = _flat(values)
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.uint8())
        if pa.types.is_integer(values.type):
            found[part] = as_numpy(values).astype(np.int64)
            has[part] = True
            if values.null_count:
                missing = part[np.array(values.is_null().to_pylist(), bool)]
                found[missing], has[missing] = null, False
    return found, has


def numbered(texts: Sequence[str], which: _Array) -> Labels:
    """(for each row the index into the names, the names): equal texts are one."""
    known: dict[str, int] = {}
    table = [known.setdefault(text, len(known)) for text in texts]
    return np.array([*table, -1], np.int32)[which], list(known)


def labels_of_functions(events: Events, boots: _Array, addresses: _Array) -> Labels:
    """The kernel functions at addresses, by their boot's symbols; ``0x...`` where there is none."""
    if not len(addresses):
        return np.empty(0, np.int32), []
    numbers, found, _, which = pairs_of(boots, addresses)
    symbols = {boot.index: boot.context.symbols for boot in events.boots}
    texts = []
    for boot, address in zip(numbers.tolist(), found.tolist(), strict=True):
        address &= (1 << 64) - 1
        symbol = symbols[boot].lookup(address)
        texts.append(symbol.name if symbol else f"{address:#x}")
    return numbered(texts, which)


def labels_of_texts(events: Events, rows: _Array, patterns: Sequence[str]) -> Labels:
    """What the first pattern that matches finds in each event's printed arguments.

    Where none does, all that is printed.
    """
    if not len(rows):
        return np.empty(0, np.int32), []
    rendered = events.render(events.rows.take(rows))
    searches = [re.compile(pattern) for pattern in patterns]
    texts = []
    for text in rendered.dictionary.to_pylist():
        hits = (search.search(text) for search in searches)
        hit = next((hit for hit in hits if hit), None)
        texts.append(hit[1] if hit else text)
    return numbered(texts, as_numpy(rendered.indices))


def values_as_texts(events: Events, rows: _Array, fields: Sequence[str]) -> Labels:
    """The arguments' values, joined by a space; ``unknown`` where an event has none of them."""
    code, texts = np.zeros(len(rows), np.int64), [""]
    for field in fields:
        mine, names = np.zeros(len(rows), np.int64), [""]
        for part, values in events.values(rows, field):
            coded = _flat(values).dictionary_encode()
            mine[part] = as_numpy(coded.indices) + len(names)
            mine[part[np.array(coded.is_null().to_pylist(), bool)]] = 0
            names += [str(value) for value in coded.dictionary.to_pylist()]
        both, which = np.unique(code * len(names) + mine, return_inverse=True)
        texts = [f"{texts[b // len(names)]} {names[b % len(names)]}".strip() for b in both.tolist()]
        code = which.reshape(-1).astype(np.int64)
    return numbered([text or "unknown" for text in texts], code)


def dictionary(labels: Labels) -> pa.DictionaryArray:
    """Labels as an Arrow column; null where the index is -1."""
    indices, names = labels
    plain = np.ascontiguousarray(indices, np.int32)
    if not len(plain) or int(plain.min()) >= 0:
        return pa.DictionaryArray.from_arrays(as_arrow(plain), as_strings(names))
    valid = pa.py_buffer(np.packbits(plain >= 0, bitorder="little"))
    column = pa.Array.from_buffers(pa.int32(), len(plain), [valid, pa.py_buffer(plain)])
    return pa.DictionaryArray.from_arrays(column, as_strings(names))


def nullable(values: _Array, known: _Array) -> pa.Array:
    """Integers as an Arrow column, null where they are not known."""
    column = as_arrow(values)
    if known.all():
        return column
    valid = pa.py_buffer(np.packbits(known, bitorder="little"))
    return pa.Array.from_buffers(column.type, len(values), [valid, column.buffers()[1]])
