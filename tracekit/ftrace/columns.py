"""Arrow columns from records and formats: typed arguments, and arguments rendered as text."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit._native import columns
from tracekit.arrow import pa
from tracekit.frozen import dataclass
from tracekit.ftrace.format import EventFormat, Field

__all__ = [
    "Payloads",
    "as_arrow",
    "as_mask",
    "as_numpy",
    "as_signed",
    "as_strings",
    "coded_texts",
    "fixed_size",
    "flat",
    "intern",
    "known",
    "outside_record",
    "packed_texts",
    "render_column",
    "signed_numbers",
    "typed_column",
    "typed_columns",
]

_SEED = int.from_bytes(os.urandom(8), "little")  # so that nobody can craft payloads that collide
#: The integers, which have one name in numpy and in Arrow.
_INTEGERS = {
    name: np.dtype(name)
    for name in ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
}
_KNOWN_TEXTS = 1 << 17
_MOST_BYTES = (1 << 31) - 1  # of a column with offsets of 32 bits
_DATA_LOC, _REL_LOC, _FLEXIBLE, _FIXED = range(4)


@dataclass(frozen=True, slots=True)
class Payloads:
    """Where the payloads of some records lie: ``data`` and, per record, u64 offset, u32 length."""

    data: bytes | memoryview
    offsets: npt.NDArray[np.uint64]
    lengths: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.offsets)

    def take(self, rows: npt.NDArray[Any]) -> Payloads:
        """The payloads at ``rows`` (indices or a mask)."""
        return Payloads(self.data, self.offsets[rows], self.lengths[rows])

    def bytes_at(self, row: int) -> memoryview:
        """One payload, without a copy."""
        start = int(self.offsets[row])
        return memoryview(self.data)[start : start + int(self.lengths[row])]


def as_arrow(values: npt.NDArray[Any]) -> pa.Array:
    """An integer or boolean array as Arrow, integers without a copy.

    ``pa.array()`` would import pandas to ask whether it is one of its own.
    """
    if values.dtype == bool:
        packed = np.packbits(values, bitorder="little")
        return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(packed)])
    plain = np.ascontiguousarray(values)
    kind = pa.type_for_alias(plain.dtype.name)
    return pa.Array.from_buffers(kind, len(plain), [None, pa.py_buffer(plain)])


def as_numpy(values: pa.Array, null: int = 0) -> npt.NDArray[Any]:
    """An integer array as numpy (without pandas), ``null`` for nulls; no copy without nulls."""
    dtype = _INTEGERS[str(values.type)]
    part = slice(values.offset, values.offset + len(values))
    raw = values.buffers()[1]
    numbers = np.frombuffer(raw, dtype)[part] if len(values) else np.empty(0, dtype)
    if not values.null_count:
        return numbers
    # a ``null`` that does not fit is an error
    return np.where(known(values), numbers, dtype.type(null))


def _bits(values: pa.Array, buffer: int) -> npt.NDArray[np.bool_]:
    packed = np.frombuffer(values.buffers()[buffer], np.uint8)
    end = values.offset + len(values)
    unpacked = np.unpackbits(packed, count=end, bitorder="little")
    mask: npt.NDArray[np.bool_] = unpacked[values.offset :].view(bool)
    return mask


def flat(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column in one piece; what is one already is not copied, as ``combine_chunks()`` would."""
    if not isinstance(values, pa.ChunkedArray):
        return values
    return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()


def known(values: pa.Array) -> npt.NDArray[np.bool_]:
    """Which of the values of an Arrow column are not null."""
    return _bits(values, 0) if values.null_count else np.ones(len(values), bool)


def as_mask(values: pa.BooleanArray) -> npt.NDArray[np.bool_]:
    """An Arrow mask without nulls as numpy's."""
    return _bits(values, 1) if len(values) else np.zeros(0, bool)


def as_signed(values: pa.Array, null: int) -> npt.NDArray[np.int64] | None:
    """Integers as int64 (without pandas), ``null`` for nulls; None where they are no integers."""
    if not pa.types.is_integer(values.type):
        return None
    numbers = as_numpy(values).astype(np.int64)
    if not values.null_count:
        return numbers
    return np.where(known(values), numbers, np.int64(null))


def packed_texts(texts: Sequence[str] | Sequence[bytes]) -> tuple[npt.NDArray[np.int64], bytes]:
    """(offset of each text, and of the end; all texts joined as UTF-8, as bytes already are)."""
    encoded = [
        text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")
        for text in texts
    ]
    ends = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(e) for e in encoded], out=ends[1:])
    return ends, b"".join(encoded)


def as_strings(texts: Sequence[str] | Sequence[bytes]) -> pa.Array:
    """Strings, or bytes in UTF-8, as Arrow (without pandas)."""
    ends, values = packed_texts(texts)
    buffers = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers)


def _too_short(p: Payloads, end: int) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = p.lengths < end
    return mask


def _if_else(null: pa.Array, column: pa.Array) -> pa.Array:
    """``column`` with nulls where ``null`` is true."""
    import pyarrow.compute  # slow to import, and rarely needed

    return pyarrow.compute.if_else(null, None, column)


def _integer_name(f: Field, size: int) -> str | None:
    name = f"{'' if f.signed else 'u'}int{8 * size}"
    return name if name in _INTEGERS else None


def _integer_type(f: Field, size: int) -> pa.DataType | None:
    name = _integer_name(f, size)
    return pa.type_for_alias(name) if name else None


def _scalar(p: Payloads, f: Field) -> pa.Array:
    raw, short = columns.gather(p.data, p.offsets, p.lengths, f.offset, max(1, f.size))
    type_ = _integer_type(f, f.size) or pa.binary(max(1, f.size))
    column = pa.Array.from_buffers(type_, len(p), [None, pa.py_buffer(raw)])
    if f.type == "bool" and f.size == 1:
        column = column.cast(pa.bool_())
    if short:
        column = _if_else(as_arrow(_too_short(p, f.offset + f.size)), column)
    return column


def outside_record(p: Payloads, f: Field) -> npt.NDArray[np.bool_]:
    """Which records' variable field does not lie inside the record."""
    if not f.loc:
        return _too_short(p, f.offset + f.size)
    raw, _ = columns.gather(p.data, p.offsets, p.lengths, f.offset, 4)
    loc = np.frombuffer(raw, np.uint32).astype(np.int64)
    start = (loc & 0xFFFF) + (f.offset + 4 if f.loc == "rel_loc" else 0)
    outside: npt.NDArray[np.bool_] = start + (loc >> 16) > p.lengths
    return outside | _too_short(p, f.offset + 4)


def _mode(f: Field) -> int:
    if f.loc:
        return _DATA_LOC if f.loc == "data_loc" else _REL_LOC
    return _FIXED if f.size else _FLEXIBLE


def _text(raw: pa.Array) -> pa.Array:
    """Binary -> string; bytes that are not UTF-8 are shown as ``\\xNN``."""
    try:  # a cast does the same, and imports all of pyarrow.compute
        texts = pa.Array.from_buffers(
            pa.string(), len(raw), raw.buffers(), raw.null_count, raw.offset
        )
        texts.validate(full=True)
        return texts
    except pa.ArrowInvalid:
        return as_strings([b.decode("utf-8", "backslashreplace") for b in raw.to_pylist()])


def _none_has(p: Payloads, f: Field) -> bool:
    """Whether no record has a flexible array's data: ftrace:function without arguments."""
    return not f.loc and not f.size and (not len(p) or int(p.lengths.max()) < f.offset + f.element)


def _binary(count: int, ends: npt.NDArray[np.int64], values: bytes | bytearray) -> pa.Array:
    """A column of bytes; a cast would import all of pyarrow.compute."""
    if ends[-1] <= _MOST_BYTES:
        buffers = [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(values)]
        return pa.Array.from_buffers(pa.binary(), count, buffers)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.large_binary(), count, buffers).cast(pa.binary())


def _variable(p: Payloads, f: Field) -> pa.Array:
    text = f.is_string
    element = None if text or f.element == 1 else _integer_type(f, f.element)
    unit = f.element if element is not None else 1
    if element is not None and _none_has(p, f):
        empty = pa.Array.from_buffers(element, 0, [None, pa.py_buffer(b"")])
        return pa.LargeListArray.from_arrays(as_arrow(np.zeros(len(p) + 1, np.int64)), empty)
    ends, values, bad = columns.gather_var(
        p.data, p.offsets, p.lengths, _mode(f), f.offset, f.size, text, unit
    )
    if element is None:
        column = _binary(len(p), np.frombuffer(ends, np.int64), values)
        column = _text(column) if text else column
    else:
        flat = pa.Array.from_buffers(element, len(values) // unit, [None, pa.py_buffer(values)])
        column = pa.LargeListArray.from_arrays(as_arrow(np.frombuffer(ends, np.int64)), flat)
    if bad:
        column = _if_else(as_arrow(outside_record(p, f)), column)
    return column


def typed_column(p: Payloads, f: Field) -> pa.Array:
    """One field of all records: integers, strings, binary, or lists of integers.

    A value that does not lie inside its record is null.
    """
    return _scalar(p, f) if f.length is None else _variable(p, f)


def typed_columns(p: Payloads, fmt: EventFormat) -> dict[str, pa.Array]:
    """Every argument of an event (the common fields are the timeline's own columns)."""
    return {f.name: typed_column(p, f) for f in fmt.fields}


def intern(p: Payloads, skip: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """(a code for every record such that equal ones share it, the first record of every code).

    Payloads are compared from byte ``skip`` on.
    """
    codes, firsts = columns.intern(p.data, p.offsets, p.lengths, skip, _SEED)
    return np.frombuffer(codes, np.int32), np.frombuffer(firsts, np.int64)


def fixed_size(values: npt.NDArray[Any]) -> Payloads:
    """Numbers as payloads, so that equal ones can be told without sorting."""
    count, size = len(values), values.itemsize
    offsets = np.arange(count, dtype=np.uint64) * np.uint64(size)
    return Payloads(values.tobytes(), offsets, np.full(count, size, np.uint32))


def signed_numbers(p: Payloads, f: Field, null: int) -> npt.NDArray[np.int64] | None:
    """An integer field of all records as int64, ``null`` where it lies outside; None of others."""
    name = None if f.length is not None or f.type == "bool" else _integer_name(f, f.size)
    if name is None:
        return None
    raw, short = columns.gather(p.data, p.offsets, p.lengths, f.offset, f.size)
    numbers = np.frombuffer(raw, _INTEGERS[name]).astype(np.int64)
    return np.where(_too_short(p, f.offset + f.size), null, numbers) if short else numbers


def coded_texts(p: Payloads, f: Field) -> tuple[npt.NDArray[np.int32], list[str]]:
    """(a code for every record such that equal texts of a field share it, the text of each code).

    The field is a string; what lies outside a record is an empty text.
    """
    found, values, _ = columns.gather_var(
        p.data, p.offsets, p.lengths, _mode(f), f.offset, f.size, True, 1
    )
    ends = np.frombuffer(found, np.int64)
    texts = Payloads(values, ends[:-1].astype(np.uint64), np.diff(ends).astype(np.uint32))
    code, firsts = intern(texts, 0)
    every = (bytes(texts.bytes_at(first)) for first in firsts.tolist())
    return code, [text.decode("utf-8", "backslashreplace") for text in every]


def render_column(
    p: Payloads,
    render: Callable[[memoryview | bytes], str],
    skip: int,
    known: dict[bytes, str] | None = None,
) -> tuple[npt.NDArray[np.int32], list[str]]:
    """(index into the texts for every record, the texts); each distinct payload is rendered once.

    Payloads are compared from byte ``skip`` on. ``known`` keeps texts from one call to the next,
    up to a limit.
    """
    codes, firsts = intern(p, skip)
    known = {} if known is None or len(known) > _KNOWN_TEXTS else known
    texts = []
    for row in firsts.tolist():
        payload = p.bytes_at(row)
        key = bytes(payload[skip:])
        if (text := known.get(key)) is None:
            text = known[key] = render(payload)
        texts.append(text)
    return codes, texts
