"""Messages of records that are damaged: whatever is in them, the messages are whole."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit._native import perfetto
from tracekit.export.perfetto.programs import Kind, Programs, known_events
from tracekit.ftrace.format import parse_format

FORMAT = """name: made
ID: 7
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:int number;\toffset:8;\tsize:4;\tsigned:1;
\tfield:u8 byte;\toffset:12;\tsize:1;\tsigned:0;
\tfield:char fixed[8];\toffset:16;\tsize:8;\tsigned:0;
\tfield:__data_loc char[] text;\toffset:24;\tsize:4;\tsigned:0;
\tfield:__rel_loc char[] near;\toffset:28;\tsize:4;\tsigned:0;
\tfield:__data_loc s16[] numbers;\toffset:32;\tsize:4;\tsigned:1;
\tfield:unsigned long args[];\toffset:40;\tsize:0;\tsigned:0;

print fmt: "%d", REC->number
"""
KIND = Kind(0, 7, "made:made", "made", parse_format(FORMAT, "made", "test"))


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of a message; raises IndexError where it is not whole."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
            continue
        assert tag & 7 == 2
        size = varint()
        if at + size > len(data):
            raise IndexError
        yield tag >> 3, data[at : at + size]
        at += size


def encode(payload: bytes) -> bytes:
    packed = Programs.of([KIND]).packed()
    one = np.zeros(1, np.uint64), np.array([len(payload)], np.uint32)
    columns = np.array([5], np.uint64), np.array([-1], np.int32), np.zeros(1, np.int32)
    return perfetto.events((payload, *one), columns, packed, ())


def arguments(data: bytes) -> dict[str, int | bytes]:
    (event,) = [value for number, value in fields(data) if number == 2]
    assert isinstance(event, bytes)
    found = dict(fields(event))
    generic = found[327]
    assert (found[1], found[2]) == (5, 0xFFFFFFFF)
    assert isinstance(generic, bytes)
    named = {}
    for number, value in fields(generic):
        if number == 2:
            assert isinstance(value, bytes)
            (_, name), (_, argument) = fields(value)
            assert isinstance(name, bytes)
            named[name.decode()] = argument
    return named


def test_every_form_of_an_argument() -> None:
    head = struct.pack("<HHiiB3x8s", 7, 0, 1, -2, 255, b"ab\0cd")
    locs = struct.pack("<III4x", 5 << 16 | 56, 3 << 16 | 29, 4 << 16 | 64)
    payload = (
        head + locs + struct.pack("<2Q", 1, 1 << 63) + b"text\0\0\0\0" + struct.pack("<hh", -1, 2)
    )
    found = arguments(encode(payload))
    assert found["number"] == (1 << 64) - 2
    assert found["byte"] == 255
    assert (found["fixed"], found["text"]) == (b"ab", b"text")
    assert found["numbers"] == b"[-1, 2]"
    args = found["args"]
    assert isinstance(args, bytes)
    assert args.startswith(b"[1, 9223372036854775808, ")


@given(payload=st.binary(min_size=0, max_size=80))
def test_damaged_records_make_whole_messages(payload: bytes) -> None:
    assert arguments(encode(payload)).keys() <= {
        "number", "byte", "fixed", "text", "near", "numbers", "args",
    }  # fmt: skip


def test_what_does_not_fit_is_refused() -> None:
    programs, ops, heads = Programs.of([KIND]).packed()
    one = b"", np.zeros(1, np.uint64), np.zeros(1, np.uint32)
    columns = np.zeros(1, np.uint64), np.zeros(1, np.int32), np.zeros(1, np.int32)
    for broken in ((b"", ops, heads), (programs, ops, heads[:5]), (programs, ops[:32], heads)):
        with pytest.raises(ValueError, match="do not fit"):
            perfetto.events(one, columns, broken, ())


def test_the_table_is_that_of_the_schema() -> None:
    number, members = known_events()["sched_switch"]
    assert number == 4
    assert members["next_pid"] == (6, "i")
