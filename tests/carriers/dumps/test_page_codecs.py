"""The decompressors of a dump's pages."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.memory.kdump_writer import CODECS, LZO, SNAPPY, ZLIB, ZSTD
from tracekit.carriers.dumps.page_codecs import lzo1x, snappy, unzlib, zstd
from tracekit.errors import ParseError

DECODERS = {LZO: lzo1x, SNAPPY: snappy, ZLIB: unzlib, ZSTD: zstd}
each = pytest.mark.parametrize("codec", DECODERS)
# liblzo2 2.10's lzo1x_1_compress() of "abcdefgh" 100 times, and of 4096 zeros
LZO_REPEATED = bytes.fromhex(
    "056162636465666768200000e51c0000026566676861626364656667686162636465666768110000"
)
LZO_ZEROS = bytes.fromhex(
    "02000000000020000000000000000000000000000000da10000c000000000000000000000000000000110000"
)


def samples(size: int) -> list[bytes]:
    """Data that makes use of every kind of literal and match."""
    source = random.Random(size)
    words = [source.randbytes(source.randrange(1, 40)) for _ in range(30)]
    mixed = b"".join(source.choice(words) for _ in range(size))
    distant = source.randbytes(min(size // 2, 20000)) * 3
    ramp = bytes(source.randrange(0, 1 + i * 8 // size) for i in range(size))
    return [bytes(size), b"ab" * size, mixed[:size], distant[:size].ljust(size, b"."), ramp]


@each
@pytest.mark.parametrize("size", [4096, 16384, 65536])
def test_round_trips(codec: int, size: int) -> None:
    for data in (data[:size] for data in samples(size)):
        assert DECODERS[codec](CODECS[codec](data), size) == data


def test_what_the_library_wrote() -> None:
    assert lzo1x(LZO_REPEATED, 800) == b"abcdefgh" * 100
    assert lzo1x(LZO_ZEROS, 4096) == bytes(4096)


def test_matches_that_lzo_describes() -> None:
    """Documentation/staging/lzo.rst: the codes that compressors seldom write, by hand."""
    end = b"\x11\0\0"
    first = bytes([17 + 5]) + b"abcde"
    assert lzo1x(first + end, 5) == b"abcde"
    # after a run of literals 0..15 are 3 bytes from 2 KiB and more away
    stored = bytes([0]) + bytes(8) + bytes([2304 - 18 - 8 * 255]) + bytes(range(256)) * 9
    assert lzo1x(stored + bytes([0, 0]) + end, 2307)[-3:] == bytes([255, 0, 1])
    # after one to three literals they are 2 bytes from up to 1 KiB away
    assert lzo1x(bytes([17 + 3]) + b"abc" + bytes([0b1000, 0]) + end, 5) == b"abcab"
    # 64 and up: 3 to 8 bytes from up to 2 KiB away, two literals behind
    assert lzo1x(first + bytes([0b11101110, 0]) + b"xy" + end, 15) == b"abcde" + b"bcdebcde" + b"xy"


@each
def test_sizes_are_exact(codec: int) -> None:
    packed = CODECS[codec](samples(4096)[2])
    for size in (0, 1, 4095, 4097):
        with pytest.raises(ParseError):
            DECODERS[codec](packed, size)
    for cut in (0, 1, len(packed) // 2, len(packed) - 1):
        with pytest.raises(ParseError):
            DECODERS[codec](packed[:cut], 4096)


@each
@given(data=st.data())
def test_damage(codec: int, data: st.DataObject) -> None:
    packed = bytearray(CODECS[codec](samples(4096)[data.draw(st.integers(0, 4))][:4096]))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert len(DECODERS[codec](bytes(packed), 4096)) == 4096
    except ParseError as error:
        assert str(error)


@each
@given(data=st.binary(max_size=200))
def test_rubbish(codec: int, data: bytes) -> None:
    try:
        assert len(DECODERS[codec](data, 64)) == 64
    except ParseError as error:
        assert str(error)
