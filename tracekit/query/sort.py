"""Sorts any number of rows by a column or an argument, in small steps.

Every value becomes a number that sorts alike; the numbers are radix-sorted by 16-bit digits, the
least significant first, and each pass over the rows is cut into pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.errors import UsageError
from tracekit.ftrace.columns import as_numpy, flat
from tracekit.ftrace.columns import known as known_of
from tracekit.query.expr import ARGUMENT
from tracekit.query.match import argument_names
from tracekit.timeline.checks import check_below
from tracekit.timeline.events import Events
from tracekit.timeline.saved.bpf_format import source_of

__all__ = ["ARGS_ROWS", "ARGUMENT", "COLUMNS", "order_by"]

_Array = npt.NDArray[Any]
Step = Callable[[int, int], None]
_Keys = tuple[_Array, ...]  # of every row; the most significant key is the last

#: What rows can be sorted by, besides arguments; ``delta`` is the time since the row before.
COLUMNS = (
    "ts_ns", "delta", "boot", "cpu", "pid", "comm", "event", "source", "flags", "preempt", "args",
    "ts_raw",
)  # fmt: skip
ARGS_ROWS = 1 << 20  #: rows that can be sorted by their rendered arguments
_TEXTS = 1 << 20  # different texts of one argument that can be sorted
_CHUNK = 1 << 17  # rows at a time
_DECODED = 1 << 12  # rows decoded at a time
_RENDERED = 1 << 9
_DIGIT = 16
_NEGATIVE, _NUMBER, _TEXT, _NONE = range(4)  # in this order; a missing value is always last


def _chunks(total: int, size: int | None = None) -> Iterator[slice]:
    size = size or _CHUNK
    for start in range(0, total, size):
        yield slice(start, min(total, start + size))


def _rank(texts: Sequence[str | None]) -> _Array:
    """The alphabetical rank of every text, uint32; equal texts share one."""
    order = {text: n for n, text in enumerate(sorted({t for t in texts if t is not None}))}
    return np.array([len(order) if t is None else order[t] for t in texts] or [0], np.uint32)


class _Sorter:
    """Sorts ``rows``; calls ``step(done, total)`` between its pieces."""

    def __init__(self, events: Events, rows: _Array, step: Step) -> None:
        self._events, self._rows, self._step = events, rows, step

    # -- keys ---------------------------------------------------------------------------------

    def _gathered(self, values: _Array, dtype: str, table: _Array | None = None) -> _Array:
        """``values`` of the rows (or ``table`` at those values), as ``dtype``."""
        out = np.empty(len(self._rows), dtype)
        for part in _chunks(len(out)):
            some = values[self._rows[part]]
            if table is not None:
                check_below(some + 1, len(table) + 1, "events or tasks")  # -1: no task is known
                some = table[some]
            out[part] = some
            self._step(part.stop, len(out))
        return out

    def _signed(self, values: _Array, bits: int) -> _Array:
        """``values``, signed, as unsigned numbers in the same order."""
        keys = self._gathered(values, f"i{bits // 8}").view(f"u{bits // 8}")
        keys ^= keys.dtype.type(1 << (bits - 1))
        return keys

    def _column(self, column: str) -> _Keys:
        events, rows = self._events, self._events.rows
        if column == "args":
            return (self._rendered(),)
        if column == "comm":
            codes, names = events.comm_codes
            return (self._gathered(codes, "u4", _rank([*names, None])),)
        if column in ("event", "source"):
            texts = [k.name if column == "event" else source_of(k.id) for k in events.kinds]
            return (self._gathered(rows.kind, "u4", _rank(texts)),)
        if column == "delta":
            times = self._gathered(events.axis.ts_ns, "i8")
            return (np.diff(times, prepend=times[:1]).view("u8"),)
        if column == "pid":
            return (self._signed(rows.pid, 32),)
        widths = {"ts_raw": "u8", "cpu": "u2", "boot": "u1", "flags": "u1", "preempt": "u1"}
        return (self._gathered(getattr(rows, column), widths[column]),)

    def _rendered(self) -> _Array:
        if len(self._rows) > ARGS_ROWS:
            raise UsageError(
                f"{len(self._rows):,} events are too many to sort by their arguments as text: "
                f"filter to {ARGS_ROWS:,} or fewer, or sort by one argument"
            )
        texts, codes = dict[str, int](), np.empty(len(self._rows), np.uint32)
        for part in _chunks(len(self._rows), _RENDERED):
            rendered = self._events.render(self._events.rows.take(self._rows[part]))
            self._coded(texts, rendered, codes[part])
            self._step(part.stop, len(self._rows))
        return _rank(list(texts))[codes]

    def _coded(self, texts: dict[str, int], rendered: pa.DictionaryArray, out: _Array) -> None:
        """Number the texts of ``rendered`` in the order they are met."""
        numbers = [texts.setdefault(text, len(texts)) for text in rendered.dictionary.to_pylist()]
        out[:] = np.array([*numbers, 0], np.uint32)[as_numpy(rendered.indices, len(numbers))]

    def _argument(self, name: str) -> _Keys:
        """By the kind of value (see ``_NEGATIVE``), then by the value."""
        events, total = self._events, len(self._rows)
        sort_keys, kinds = np.zeros(total, np.uint64), np.full(total, _NONE, np.uint8)
        texts = dict[str, int]()
        has = np.array([*(name in names for names in argument_names(events)), False])
        for part in _chunks(total, _DECODED):
            mine = np.flatnonzero(has[events.rows.kind[self._rows[part]]]) + part.start
            for which, values in events.values(self._rows[mine], name) if len(mine) else ():
                keys, kind = self._typed(texts, values)
                sort_keys[mine[which]], kinds[mine[which]] = keys, kind
            if len(texts) > _TEXTS:
                raise UsageError(
                    f"{name} has more than {_TEXTS:,} different values, too many to sort: filter "
                    "to fewer events"
                )
            self._step(part.stop, total)
        if texts:
            rank = _rank(list(texts))
            for part in _chunks(total):
                text_rows = np.flatnonzero(kinds[part] == _TEXT) + part.start
                sort_keys[text_rows] = rank[sort_keys[text_rows]]
        return sort_keys, kinds

    @staticmethod
    def _typed(texts: dict[str, int], values: pa.Array) -> tuple[_Array, _Array]:
        """(numbers that sort as the values do, or the numbers of their texts; their kinds)."""
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.uint8())
        known = known_of(flat(values))
        if pa.types.is_integer(values.type):
            numbers = as_numpy(values)
            kinds = np.where(numbers < 0, _NEGATIVE, _NUMBER)
            keys = numbers.astype(np.int64 if numbers.dtype.kind == "i" else np.uint64)
        else:
            plain = (v if isinstance(v, str) else str(v) for v in values.to_pylist())
            keys = np.array([texts.setdefault(text, len(texts)) for text in plain], np.uint64)
            kinds = np.full(len(values), _TEXT)
        return keys.astype(np.uint64), np.where(known, kinds, _NONE).astype(np.uint8)

    # -- sorting ------------------------------------------------------------------------------

    def sort(self, column: str, descending: bool) -> _Array:
        """The rows, sorted by a column or by the argument that ``column`` names."""
        if column == "ts_ns":
            return self._rows[::-1].copy() if descending else self._rows
        keys = (
            self._column(column)
            if column in COLUMNS
            else self._argument(column.removeprefix(ARGUMENT))
        )
        order = np.arange(len(self._rows), dtype=np.uint32)
        for key in keys:
            if descending:
                self._turn(key, by_kind=len(keys) > 1 and key is keys[-1])
            order = self._by(key, order)
        return self._rows[order]

    def _turn(self, key: _Array, by_kind: bool) -> None:
        """Invert the order of a key; of kinds, ``_NONE`` stays last."""
        for part in _chunks(len(key)):
            some = key[part]
            key[part] = np.where(some == _NONE, _NONE, _TEXT - some) if by_kind else ~some
            self._step(part.stop, len(key))

    def _by(self, key: _Array, order: _Array) -> _Array:
        """``order``, stably sorted by ``key``."""
        bits = key.dtype.itemsize * 8
        for shift in range(0, bits, _DIGIT):
            counts = np.zeros(1 << min(bits, _DIGIT), np.int64)
            for part in _chunks(len(key)):
                counts += np.bincount(self._digit(key[part], shift), minlength=len(counts))
                self._step(part.stop, len(key))
            if len(key) and counts.max() < len(key):
                order = self._pass(key, order, shift, np.cumsum(counts) - counts)
        return order

    @staticmethod
    def _digit(key: _Array, shift: int) -> _Array:
        return key.astype(np.uint16) if not shift else (key >> shift).astype(np.uint16)

    def _pass(self, key: _Array, order: _Array, shift: int, places: _Array) -> _Array:
        """One radix pass: ``places`` is where the first row of each digit goes."""
        out = np.empty_like(order)
        for part in _chunks(len(order)):
            rows = order[part]
            digit = self._digit(key[rows], shift)
            by = np.argsort(digit, kind="stable")
            digit = digit[by]
            counts = np.bincount(digit, minlength=len(places))
            within = np.arange(len(by)) - (np.cumsum(counts) - counts)[digit]
            out[places[digit] + within] = rows[by]
            places = places + counts
            self._step(part.stop, len(order))
        return out


def order_by(
    events: Events, rows: _Array | None, column: str, descending: bool, step: Step
) -> _Array:
    """``rows`` (ascending; None: all) in the order of ``column``, uint32; equal ones by time.

    ``column`` is one of :data:`COLUMNS`, or the name of an argument (after :data:`ARGUMENT` where
    a column is called the same): then the events that have it come first, numbers before texts,
    and all others last, whichever way it is sorted. Names sort by the alphabet.
    ``step(done, total)`` is called between small pieces of the work; it may raise to end it.
    Raises :class:`~tracekit.errors.UsageError` if there are too many texts.
    """
    every = np.arange(len(events), dtype=np.uint32) if rows is None else rows.astype(np.uint32)
    return _Sorter(events, every, step).sort(column, descending)
