"""makedumpfile's flattened form, read without putting it together."""

from __future__ import annotations

import io
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.elf_core_writer import Segment, write_core
from tests.support.memory.kdump_writer import FLAT_HEADER, flatten, flattened
from tracekit.carriers.dumps.elf_core import ElfCore
from tracekit.carriers.dumps.flattened import Flattened
from tracekit.errors import ParseError, SourceError


def opened(data: bytes) -> Flattened:
    return Flattened(io.BytesIO(data), "flat")


def test_the_file_inside() -> None:
    data = os.urandom(100_000)
    inside = opened(flattened(data))
    assert (inside.size, inside.complete) == (len(data), True)
    assert inside.read() == data
    assert inside.read(1) == b""
    assert inside.seek(-10, io.SEEK_END) == 99_990
    assert inside.read(100) == data[-10:]
    assert inside.seek(50) == 50
    assert inside.seek(5, io.SEEK_CUR) == inside.tell() == 55
    assert inside.read(5000) == data[55:5055]
    assert inside.seek(1 << 40) == 1 << 40
    assert inside.read(1) == b""
    with pytest.raises(ValueError, match="negative"):
        inside.seek(-1)


def test_a_core_inside() -> None:
    core = write_core([Segment(0x1000, b"abc" * 5000), Segment(0x100000, b"def")])
    with ElfCore(opened(flattened(core, (7, 64, 1000))), "flat") as memory:  # type: ignore[arg-type]
        assert memory.read(0x1000, 15000) == b"abc" * 5000
        assert memory.read(0x100000, 3) == b"def"


def test_later_pieces_win_and_holes_are_zeros() -> None:
    inside = opened(flatten([(100, b"A" * 50), (0, b"B" * 10), (110, b"C" * 5), (105, b"D" * 7)]))
    expected = b"B" * 10 + bytes(90) + b"A" * 5 + b"D" * 7 + b"C" * 3 + b"A" * 35
    assert inside.read() == expected


def test_one_that_was_cut_off_is_read_as_far_as_it_goes() -> None:
    whole = flatten([(0, b"A" * 50), (50, b"B" * 50)], end=False)
    assert not opened(whole).complete
    assert opened(whole).read() == b"A" * 50 + b"B" * 50
    assert opened(whole[:-20]).read() == b"A" * 50 + b"B" * 30
    assert opened(whole[:-60]).read() == b"A" * 50
    assert opened(FLAT_HEADER).read() == b""
    assert opened(FLAT_HEADER[:32]).read() == b""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"makedumpfile",
        b"KDUMP   " + bytes(5000),
        struct.pack(">16sqq", b"makedumpfile", 1, 2) + bytes(5000),
        FLAT_HEADER + struct.pack(">qq", -2, 5),
        FLAT_HEADER + struct.pack(">qq", 5, -5),
        FLAT_HEADER + struct.pack(">qq", (1 << 63) - 1, 1),
    ],
)
def test_what_is_none(data: bytes) -> None:
    with pytest.raises(ParseError, match=r"^flat: .*flattened dump"):
        opened(data)


def test_a_pipe_is_refused() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    with os.fdopen(reader, "rb", buffering=0) as stream, pytest.raises(SourceError, match="pipe"):
        Flattened(stream, "flat")


def test_far_pieces_take_no_memory() -> None:
    inside = opened(flatten([((1 << 62) - 4, b"last"), (0, b"first")]))
    assert inside.size == 1 << 62
    inside.seek(-8, io.SEEK_END)
    assert inside.read() == bytes(4) + b"last"


@given(
    st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=60)), max_size=20),
    st.integers(0, 220),
    st.integers(0, 300),
)
def test_any_pieces(pieces: list[tuple[int, bytes]], offset: int, size: int) -> None:
    """Against pieces written one after the other."""
    expected = bytearray()
    for begin, data in pieces:
        if data:
            expected.extend(bytes(max(0, begin + len(data) - len(expected))))
            expected[begin : begin + len(data)] = data
    inside = opened(flatten(pieces))
    assert inside.read() == expected
    inside.seek(offset)
    assert inside.read(size) == expected[offset : offset + size]


@given(st.binary(max_size=400))
def test_rubbish_after_the_header(data: bytes) -> None:
    try:
        inside = opened(FLAT_HEADER + data)
        inside.read(1000)
        inside.seek(max(0, inside.size - 100))
        assert len(inside.read(200)) == min(100, inside.size)
    except SourceError as error:
        assert "flat" in str(error)
