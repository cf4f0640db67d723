"""What counts as a finding."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.fuzz.check import TooSlow, examine, run, stretched, variants
from tests.fuzz.targets import Target


def _takes(seconds: Callable[[int], float]) -> Callable[[bytes], None]:
    """A parser that takes so many seconds of CPU for so many bytes."""

    def parse(data: bytes) -> None:
        end = time.process_time() + seconds(len(data))
        while time.process_time() < end:
            pass

    return parse


_spinning = _takes(lambda n: 1)  # a second: twenty times what a few bytes are allowed


def _raising(data: bytes) -> None:
    raise KeyError("boom")


@pytest.mark.slow
def test_more_time_than_the_bytes_allow_is_a_finding() -> None:
    with pytest.raises(TooSlow, match="spinning"):
        examine(Target("spinning", _spinning), b"ab")


@pytest.mark.slow
def test_a_long_variant_may_be_slow_if_a_shorter_one_is_as_slow() -> None:
    data = next(d for d in (b"%d" % n for n in range(999)) if len(variants(d)) == 2)
    examine(Target("linear", _takes(lambda n: n * 30e-6)), data)
    with pytest.raises(TooSlow, match="quadratic"):
        examine(Target("quadratic", _takes(lambda n: n * n * 5e-10)), data)


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
