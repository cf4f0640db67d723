"""The Live Update Orchestrator's blob, as ``struct luo_ser`` lays it out."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import ParseError
from tracekit.kho.luo import LuoHeader, parse_luo


def test_reads_the_header() -> None:
    blob = struct.pack("<8sQQQ", b"luo-v5", 3, 0x1234000, 0)
    assert parse_luo(blob) == LuoHeader("luo-v5", 3, 0x1234000, 0)


@pytest.mark.parametrize("compatible", [b"luo-v4", b"luo-v50", b"", b"\xff" * 8])
def test_another_version_is_not_guessed_at(compatible: bytes) -> None:
    with pytest.raises(ParseError, match="luo-v5 is known"):
        parse_luo(struct.pack("<8sQQQ", compatible, 3, 1, 2))


@given(st.binary(max_size=31))
def test_a_short_blob_is_a_parse_error(data: bytes) -> None:
    with pytest.raises(ParseError):
        parse_luo(b"luo-v5\0\0"[:8] + data[:23])
