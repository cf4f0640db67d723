"""Arrays that lie in a file: they are as any other, and memory is given back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit import spill
from tracekit._native import arrays
from tracekit.analysis import spilled
from tracekit.query.groups import stable_order

NONE_FIT = (
    "import resource, numpy as np\n"
    "from tracekit.analysis import spilled\n"
    "spilled._HELD = 0\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
    "with spilled.spilled():\n"
    "    np.zeros(1 << 20)\n"
)


@contextmanager
def in_files(least: int = 1) -> Iterator[None]:
    """Every array from so many bytes on is in the file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spilled, "_HELD", 0)
        patch.setattr(spilled, "_SMALL", least)
        with spilled.spilled():
            yield


def resident() -> int:
    """Bytes of files that are mapped and in memory."""
    words = Path("/proc/self/statm").read_text().split()
    return int(words[2]) * os.sysconf("SC_PAGE_SIZE")


def mapped(array: np.ndarray[Any, Any]) -> str:
    """The name of what the kernel has mapped where an array lies."""
    at = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, *about = line.split(maxsplit=5)
        first, last = (int(edge, 16) for edge in span.split("-"))
        if first <= at < last:
            return about[-1]
    return ""


def test_arrays_lie_in_a_file_and_hold_what_was_put_there() -> None:
    with in_files():
        some = np.arange(100_000)
        empty = np.zeros(100_000, np.int64)
    assert "(deleted)" in mapped(some) and "(deleted)" in mapped(empty)
    assert "(deleted)" not in mapped(np.arange(100_000))
    arrays.release()
    assert (some == np.arange(100_000)).all() and not empty.any()


def test_what_is_small_and_what_fits_is_in_memory() -> None:
    with in_files(least=4000):
        small, large = np.zeros(3999, np.uint8), np.zeros(4000, np.uint8)
    assert "(deleted)" not in mapped(small) and "(deleted)" in mapped(large)
    with spilled.spilled():
        held = np.zeros(1 << 20, np.uint8)
    assert "(deleted)" not in mapped(held)


def test_a_place_that_was_left_is_used_again_and_zeros_are_zeros() -> None:
    with in_files():
        first = np.full(50_000, 7, np.uint8)
        place = first.__array_interface__["data"][0]
        del first
        again = np.zeros(40_000, np.uint8)
        assert again.__array_interface__["data"][0] == place
        assert not again.any()


def test_an_array_keeps_what_it_has_when_it_grows() -> None:
    for least in (1, 1000, 1 << 20):
        with in_files(least):
            some = np.arange(100)
            for size in (5000, 60, 300_000, 10):
                some.resize(size, refcheck=False)
                assert (some[:10] == np.arange(10)).all() and not some[100:].any()


def test_memory_that_was_released_is_not_resident() -> None:
    with in_files():
        some = np.ones(8 << 20, np.int64)
    arrays.release()
    before = resident()
    assert int(some.sum()) == 8 << 20
    assert resident() - before > 32 << 20
    arrays.release()
    assert resident() - before < 8 << 20


def test_other_mappings_are_let_go_of_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a spill had before, too, and nobody has to be asked."""
    monkeypatch.setattr(spill, "_HELD", 0)
    column = np.frombuffer(spill.Spill().room(256 << 20).view, np.int64)
    before = resident()
    with spilled.spilled():
        column[:] = 7
        while resident() - before > 128 << 20:
            pass
        assert (column == 7).all()
    del column


def test_no_room_on_the_disk_is_said() -> None:
    made = subprocess.run(
        [sys.executable, "-c", NONE_FIT], capture_output=True, text=True, check=False
    )
    last = made.stderr.splitlines()[-1]
    assert "SourceError: " in last and "TMPDIR=DIR" in last and "File too large" in last


def test_a_method_is_bounded_where_there_are_many_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Some:
        def __len__(self) -> int:
            return 1000

        @spilled.bounded
        def made(self, *, nested: Callable[[], object] | None = None) -> np.ndarray[Any, Any]:
            """With another one called first."""
            if nested:
                nested()
            return np.zeros(100_000)

    monkeypatch.setattr(spilled, "_HELD", 0)
    some = Some()
    assert "(deleted)" not in mapped(some.made())
    monkeypatch.setattr(spilled, "_FEW", 1000)
    assert "(deleted)" in mapped(some.made(nested=some.made))
    assert "(deleted)" not in mapped(np.zeros(100_000))


@given(
    st.lists(st.integers(0, 40) | st.integers(-(1 << 63), (1 << 63) - 1), max_size=60),
    st.integers(0, 60),
)
def test_the_order_is_that_of_a_stable_sort(values: list[int], shift: int) -> None:
    for key in (np.array(values, np.int64), np.array(values, np.int64) >> shift):
        assert stable_order(key).tolist() == np.argsort(key, kind="stable").tolist()


@pytest.mark.parametrize("most", [2, 4000, 1 << 16, 1 << 40, 1 << 62])
def test_the_order_of_many_in_several_pieces(most: int) -> None:
    key = np.random.default_rng(most).integers(0, most, 600_000)
    assert (stable_order(key) == np.argsort(key, kind="stable")).all()
