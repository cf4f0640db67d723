"""What counts as a finding."""

from __future__ import annotations

import time

import pytest

from tests.fuzz.check import TooSlow, examine, run, stretched, variants
from tests.fuzz.targets import Target


def _spinning(data: bytes) -> None:
    """Uses the processor for a second, twenty times what a few bytes are allowed."""
    end = time.process_time() + 1
    while time.process_time() < end:
        pass


def _raising(data: bytes) -> None:
    raise KeyError("boom")


@pytest.mark.slow
def test_more_time_than_the_bytes_allow_is_a_finding() -> None:
    with pytest.raises(TooSlow, match="spinning"):
        examine(Target("spinning", _spinning), b"ab")


def test_time_is_measured_by_what_the_parser_reads() -> None:
    examine(Target("spinning", _spinning, size=lambda data: 1 << 20), b"ab")


def test_an_undocumented_error_is_a_finding() -> None:
    with pytest.raises(KeyError):
        run(Target("raising", _raising, (ValueError,)), b"")
    run(Target("raising", _raising, (LookupError,)), b"")


def test_an_input_always_has_the_same_variants() -> None:
    inputs = [bytes([n]) * (n % 7) + b"tail" for n in range(256)]
    assert [variants(data) for data in inputs] == [variants(data) for data in inputs]
    assert any(len(variants(data)) == 2 for data in inputs)


@pytest.mark.parametrize("data", [b"a", b"abc", bytes(range(200))])
def test_the_long_variant_repeats_a_piece(data: bytes) -> None:
    long = stretched(data)
    assert 1 << 16 >= len(long) - len(data) > 60_000
    assert set(long) <= set(data)


def test_nothing_has_no_long_variant() -> None:
    assert stretched(b"") == b""
