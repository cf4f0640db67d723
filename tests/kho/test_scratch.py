"""Scratch areas, what meminfo says of them, and ``kho_scratch=``."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import ParseError
from tracekit.kho.scratch import Scratch, parse_meminfo, parse_scratch, scratch_parameter


def test_areas() -> None:
    found = parse_scratch(
        b"0x73400000\n0x7fc00000\n0x4d400000\n0x1\n", b"0x9800000\n0x0\n0x1\n0x2\n"
    )
    assert found == [
        Scratch("low", 0x73400000, 0x9800000), Scratch("global", 0x7FC00000, 0),
        Scratch("node 0", 0x4D400000, 1), Scratch("node 1", 1, 2),
    ]  # fmt: skip
    assert parse_scratch(b"", b"") == []


@pytest.mark.parametrize(
    ("addresses", "sizes"),
    [(b"0x1", b""), (b"zz", b"0x1"), (b"-0x1", b"0x1"), (b"0x1", b"0x" + b"f" * 17),
     (b"0x1 " * (1 << 16), b"0x1")],
)  # fmt: skip
def test_what_makes_no_sense(addresses: bytes, sizes: bytes) -> None:
    with pytest.raises(ParseError):
        parse_scratch(addresses, sizes)


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_rubbish(addresses: bytes, sizes: bytes) -> None:
    with suppress(ParseError):
        assert all(area.size >= 0 for area in parse_scratch(addresses, sizes))
    parse_meminfo(addresses)
    scratch_parameter(addresses.decode("latin-1"))


def test_meminfo() -> None:
    text = (
        b"MemTotal:        2014656 kB\nCmaTotal:              0 kB\nCmaFree:          556412 kB\n"
    )
    found = parse_meminfo(text)
    assert (found.total, found.cma_total, found.cma_free) == (2014656 << 10, 0, 556412 << 10)
    assert parse_meminfo(b"").total is None


@pytest.mark.parametrize(
    ("cmdline", "value", "meaning"),
    [
        ("kho=on", "", ""),
        ("kho_scratch=150% quiet", "150%", "150% of what"),
        ("kho_scratch=16M,512M,256M", "16M,512M,256M", "16M in low memory, 512M anywhere, 256M in"),
        ("kho_scratch=1G kho_scratch=2%", "2%", "2% of"),
        ("kho_scratch=1G,2G", "1G,2G", "not as the kernel"),
        ("kho_scratch", "", "not as the kernel"),
    ],
)
def test_the_parameter(cmdline: str, value: str, meaning: str) -> None:
    found = scratch_parameter(cmdline)
    assert found[0] == value and found[1].startswith(meaning)
