"""Typed columns: what the record holds, nothing shifted, nulls where it does not reach."""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ring.event_payloads import (
    FORMATS,
    data_loc_string,
    dynamic_u64,
    function,
    rel_loc_string,
)
from tracekit.ftrace.columns import (
    Payloads,
    as_arrow,
    as_numpy,
    as_signed,
    as_strings,
    render_column,
    typed_columns,
)
from tracekit.ftrace.format import parse_format


def payloads(records: list[bytes]) -> Payloads:
    lengths = np.array([len(r) for r in records], np.uint32)
    ends = np.cumsum(lengths, dtype=np.uint64) if records else np.empty(0, np.uint64)
    return Payloads(b"".join(records), ends - lengths, lengths)


def columns(name: str, records: list[bytes]) -> dict[str, list[object]]:
    fmt = parse_format(FORMATS[name], name.split(":", maxsplit=1)[0], name)
    return {k: v.to_pylist() for k, v in typed_columns(payloads(records), fmt).items()}


words = st.integers(0, (1 << 64) - 1)


@given(st.lists(st.tuples(words, words, st.lists(words, max_size=4), st.integers(0, 1))))
def test_flexible_arrays_of_records_padded_to_four_bytes(
    calls: list[tuple[int, int, list[int], int]],
) -> None:
    records = [function(ip, parent, args) + bytes(4 * pad) for ip, parent, args, pad in calls]
    found = columns("ftrace:function", records)
    assert found["ip"] == [c[0] for c in calls]
    assert found["parent_ip"] == [c[1] for c in calls]
    assert found["args"] == [c[2] for c in calls]


@given(st.lists(st.lists(words, max_size=5)))
def test_dynamic_arrays(arrays: list[list[int]]) -> None:
    found = columns("test:dynamic", [dynamic_u64(a) for a in arrays])
    assert found["values"] == arrays
    assert found["count"] == [len(a) for a in arrays]


@given(st.lists(st.tuples(st.integers(-(1 << 31), (1 << 31) - 1), st.binary(max_size=30))))
def test_strings_of_any_bytes(items: list[tuple[int, bytes]]) -> None:
    clean = [(n, b.replace(b"\0", b"")) for n, b in items]
    for name, make in (("test:data_loc", data_loc_string), ("test:rel_loc", rel_loc_string)):
        found = columns(name, [make(n, b) for n, b in clean])
        assert found["number"] == [n for n, _ in clean]
        assert found["text"] == [b.decode("utf-8", "backslashreplace") for _, b in clean]


@given(st.lists(st.binary(min_size=8, max_size=40), max_size=10))
def test_any_bytes_give_columns_of_the_same_length(records: list[bytes]) -> None:
    for name in FORMATS:
        for values in columns(name, records).values():
            assert len(values) == len(records)


def test_what_the_record_does_not_reach_is_null() -> None:
    whole, short = function(1, 2), function(1, 2)[:20]
    found = columns("ftrace:function", [whole, short])
    assert (found["ip"], found["parent_ip"]) == ([1, 1], [2, None])
    beyond = bytearray(data_loc_string(5, b"text"))
    beyond[12:16] = struct.pack("<HH", 12, 4000)
    assert columns("test:data_loc", [bytes(beyond)])["text"] == [None]


def test_equal_payloads_are_rendered_once() -> None:
    seen: list[bytes] = []

    def render(payload: memoryview | bytes) -> str:
        seen.append(bytes(payload))
        return bytes(payload[8:]).hex()

    records = [function(i % 3, 7, pid=i) for i in range(100)]
    known: dict[bytes, str] = {}
    codes, texts = render_column(payloads(records), render, 8, known)
    assert [texts[c] for c in codes] == [r[8:].hex() for r in records]
    assert len(seen) == 3
    render_column(payloads(records), render, 8, known)
    assert len(seen) == 3


@given(st.lists(st.text()))
def test_strings_as_arrow(texts: list[str]) -> None:
    expected = [t.encode("utf-8", "backslashreplace").decode() for t in texts]
    assert as_strings(texts).to_pylist() == expected


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "?"])
def test_arrays_there_and_back(dtype: str) -> None:
    values = np.array([0, 1, 1, 0, 1], dtype)
    assert as_arrow(values).to_pylist() == values.tolist()
    assert as_arrow(values[::2]).to_pylist() == values[::2].tolist()
    if dtype != "?":
        assert as_numpy(as_arrow(values)[1:4]).tolist() == values[1:4].tolist()


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint32", "int64", "uint64"])
def test_integers_with_nulls_as_signed(kind: str) -> None:
    values = pa.array([9, None, 3, None, 7], kind)
    found = as_signed(values, -1)
    assert found is not None
    assert found.tolist() == [9, -1, 3, -1, 7]
    part = as_signed(values[1:4], -1)
    assert part is not None
    assert part.tolist() == [-1, 3, -1]
    assert as_signed(pa.array(["a"]), -1) is None
