"""Ranges of which a part cannot be read: the rest is copied, and the part is named."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.elf_core_writer import Segment, write_core
from tracekit.carriers.dumps.elf_core import ElfCore
from tracekit.carriers.memory import CHUNK
from tracekit.errors import SourceError
from tracekit.spans import filler, join_spans

PAGE = 4096
BASE = 0x100000


class Faulty(io.BytesIO):
    """A core whose bytes from ``bad`` ranges fail; ``short`` reads end before such a range."""

    def __init__(self, data: bytes, bad: list[tuple[int, int]], short: bool = False) -> None:
        super().__init__(data)
        self.bad = bad
        self.short = short

    def read(self, size: int | None = -1, /) -> bytes:
        first = self.tell()
        want = len(self.getbuffer()) if size is None or size < 0 else size
        for start, end in self.bad:
            if first < end and start < first + want:
                if not self.short or first >= start:
                    raise OSError(14, os.strerror(14))
                want = start - first
        return super().read(want)


def pattern(size: int) -> bytes:
    return bytes(i * 7 % 251 for i in range(size))


def copied(memory: ElfCore, address: int, size: int) -> tuple[bytes, list[tuple[int, int]]]:
    out = io.BytesIO()
    seen: list[int] = []
    unread = memory.copy_to(address, size, out, seen.append)
    assert sum(seen) == size
    assert bool(unread.error) == bool(unread.spans)
    return out.getvalue(), list(unread.spans)


def with_filler(data: bytes, spans: list[tuple[int, int]]) -> bytes:
    wanted = bytearray(data)
    for start, size in spans:
        wanted[start : start + size] = filler(start, size)
    return bytes(wanted)


@given(
    st.integers(0, 3 * PAGE),
    st.integers(1, 9 * PAGE),
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 3)), max_size=4),
    st.booleans(),
)
def test_only_the_pages_that_fail_are_missing(
    first: int, size: int, bad: list[tuple[int, int]], short: bool
) -> None:
    """Against a plain list of bad pages; the range begins and ends anywhere in a page."""
    whole = pattern(12 * PAGE)
    core = write_core([Segment(BASE, whole)])
    data = len(core) - len(whole)
    ranges = [(data + n * PAGE, data + (n + count) * PAGE) for n, count in bad]
    stream = Faulty(core, [], short)
    memory = ElfCore(stream, "core")
    stream.bad = ranges
    spans = [
        (max(first, n * PAGE) - first, min(first + size, (n + 1) * PAGE) - max(first, n * PAGE))
        for start, count in bad
        for n in range(start, start + count)
        if n * PAGE < first + size and first < (n + 1) * PAGE
    ]
    wanted = list(join_spans(spans))
    size = min(size, len(whole) - first)
    if size - sum(n for _, n in wanted) < min(size, PAGE):
        with pytest.raises(SourceError, match="Bad address"):
            copied(memory, BASE + first, size)
        return
    assert copied(memory, BASE + first, size) == (
        with_filler(whole[first : first + size], wanted), wanted
    )  # fmt: skip


def test_a_read_error_far_into_a_large_range() -> None:
    whole = pattern(PAGE) * (3 * CHUNK // PAGE)
    core = write_core([Segment(BASE, whole)])
    bad = len(core) - len(whole) + CHUNK + 5 * PAGE
    memory = ElfCore(Faulty(core, [(bad, bad + 1)]), "core")
    spans = [(CHUNK + 5 * PAGE, PAGE)]
    assert copied(memory, BASE, len(whole)) == (with_filler(whole, spans), spans)
    assert memory.read(BASE, CHUNK) == whole[:CHUNK]
    with pytest.raises(SourceError, match="Bad address"):
        memory.read(BASE, len(whole))


def test_a_core_that_was_cut_off_in_the_range() -> None:
    whole = pattern(3 * PAGE)
    core = write_core([Segment(BASE, whole)])[: -PAGE - 100]
    spans = [(2 * PAGE - 100, PAGE + 100)]
    memory = ElfCore(io.BytesIO(core), "core")
    assert copied(memory, BASE, 3 * PAGE) == (with_filler(whole, spans), spans)


def test_segments_that_hold_parts_of_the_range() -> None:
    """Before the first, between two, and after the last nothing holds it."""
    whole = pattern(9 * PAGE)
    parts = [Segment(BASE + n * PAGE, whole[n * PAGE : (n + 1) * PAGE]) for n in (2, 5)]
    memory = ElfCore(io.BytesIO(write_core(parts)), "core")
    spans = [(0, 2 * PAGE), (3 * PAGE, 2 * PAGE), (6 * PAGE, 3 * PAGE)]
    assert copied(memory, BASE, 9 * PAGE) == (with_filler(whole, spans), spans)
    assert memory.held(BASE, 9 * PAGE) == 2 * PAGE
    assert not memory.holds(BASE, 9 * PAGE)
    with pytest.raises(SourceError, match="nothing holds 0x100000"):
        memory.copy_to(BASE, PAGE, io.BytesIO())


def test_a_read_that_would_block() -> None:
    class Blocking(io.BytesIO):
        ready = True

        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(size) if self.ready else None  # type: ignore[return-value]

    stream = Blocking(write_core([Segment(BASE, b"abc")]))
    memory = ElfCore(stream, "core")
    stream.ready = False
    with pytest.raises(SourceError, match="would block"):
        memory.copy_to(BASE, 3, io.BytesIO())
