"""One argument of many events as a plain array, and what people call its values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.analysis.columns import pairs_of
from tracekit.ftrace.columns import as_numpy, flat, known
from tracekit.timeline.events import Events
from tracekit.timeline.rows import pieces

__all__ = [
    "Labels", "integers", "labels_of_functions", "labels_of_texts", "numbered",
    "values_as_texts",
]  # fmt: skip

_Array = npt.NDArray[Any]
Labels = tuple[_Array, list[str]]


def integers(events: Events, rows: _Array, field: str, null: int = 0) -> tuple[_Array, _Array]:
    """(an integer argument of events, int64 modulo 2**64; whether each event has it).

    A text or an array is not one.
    """
    found, has = np.full(len(rows), null, np.int64), np.zeros(len(rows), bool)
    for part, values in events.values(rows, field):
        values = flat(values)
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.uint8())
        if pa.types.is_integer(values.type):
            found[part] = as_numpy(values).astype(np.int64)
            has[part] = True
            if values.null_count:
                missing = part[~known(values)]
                found[missing], has[missing] = null, False
    return found, has


def numbered(texts: Sequence[str], which: _Array) -> Labels:
    """(for each row the index into the names, the names): equal texts are one."""
    names: dict[str, int] = {}
    table = [names.setdefault(text, len(names)) for text in texts]
    return np.array([*table, -1], np.int32)[which], list(names)


class _Names:
    """Names, numbered as they come, however many rows are looked at together."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def of(self, which: _Array, texts: Sequence[str]) -> _Array:
        """For each row the number of its name (int32), which is ``texts[which]``."""
        codes, first = np.unique(which, return_index=True)
        table = np.empty(len(texts), np.int32)
        for code in codes[np.argsort(first)].tolist():
            table[code] = self._known.setdefault(texts[code], len(self._known))
        return table[which]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)


def labels_of_functions(events: Events, boots: _Array, addresses: _Array) -> Labels:
    """The kernel functions at addresses, by their boot's symbols; ``0x...`` where there is none."""
    symbols = {boot.index: boot.context.symbols for boot in events.boots}
    which, names = np.empty(len(addresses), np.int32), _Names()
    for some in pieces(len(addresses)):
        numbers, found, _, mine = pairs_of(boots[some], addresses[some])
        texts = []
        for boot, address in zip(numbers.tolist(), found.tolist(), strict=True):
            address &= (1 << 64) - 1
            symbol = symbols[boot].lookup(address)
            texts.append(symbol.name if symbol else f"{address:#x}")
        which[some] = names.of(mine, texts)
    return which, [*names]


def labels_of_texts(events: Events, rows: _Array, patterns: Sequence[str]) -> Labels:
    """What the first pattern that matches finds in each event's printed arguments.

    Where none does, all that is printed.
    """
    searches = [re.compile(pattern) for pattern in patterns]
    which, names = np.empty(len(rows), np.int32), _Names()

    def name(text: str) -> str:
        hits = (search.search(text) for search in searches)
        hit = next((hit for hit in hits if hit), None)
        return str(hit[1]) if hit else text

    for some in pieces(len(rows)):
        rendered = events.render(events.rows.take(rows[some]))
        texts = [name(text) for text in rendered.dictionary.to_pylist()]
        which[some] = names.of(as_numpy(rendered.indices), texts)
    return which, [*names]


def values_as_texts(events: Events, rows: _Array, fields: Sequence[str]) -> Labels:
    """The arguments' values, joined by a space; ``unknown`` where an event has none of them."""
    which, names = np.empty(len(rows), np.int32), _Names()
    for some in pieces(len(rows)):
        code, texts = _joined(events, rows[some], fields)
        which[some] = names.of(code, texts)
    return which, [*names]


def _joined(events: Events, rows: _Array, fields: Sequence[str]) -> tuple[_Array, list[str]]:
    """(for each row the index into the texts, the texts), of which some may be equal."""
    code, texts = np.zeros(len(rows), np.int64), [""]
    for field in fields:
        mine, names = np.zeros(len(rows), np.int64), [""]
        for part, values in events.values(rows, field):
            coded = flat(values).dictionary_encode()
            mine[part] = np.where(known(coded.indices), as_numpy(coded.indices) + len(names), 0)
            names += [str(value) for value in coded.dictionary.to_pylist()]
        both, which = np.unique(code * len(names) + mine, return_inverse=True)
        texts = [f"{texts[b // len(names)]} {names[b % len(names)]}".strip() for b in both.tolist()]
        code = which.reshape(-1).astype(np.int64)
    return code, [text or "unknown" for text in texts]
