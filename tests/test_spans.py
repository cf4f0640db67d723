"""Spans that could not be read, and the filler in them, against plain sets of bytes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tracekit.ftrace.format import HeaderPage
from tracekit.ftrace.ring.page import RecordHeader, read_pages
from tracekit.spans import filled, filler, join_spans, overlaps

spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=8)


def covered(listed: list[tuple[int, int]]) -> set[int]:
    return {n for start, size in listed for n in range(start, start + size)}


@given(spans, st.integers(0, 80), st.integers(1, 20))
def test_joined_spans_cover_the_same(listed: list[tuple[int, int]], start: int, size: int) -> None:
    joined = join_spans(listed)
    assert covered(list(joined)) == covered(listed)
    assert all(a + n < b for (a, n), (b, _) in pairwise(joined))
    assert overlaps(joined, start, size) == bool(covered(listed) & set(range(start, start + size)))


@given(spans, st.binary(max_size=80))
def test_filled_in_the_spans_alone(listed: list[tuple[int, int]], data: bytes) -> None:
    joined = join_spans(listed)
    whole = filler(0, len(data))
    wanted = bytes(whole[n] if n in covered(listed) else data[n] for n in range(len(data)))
    assert filled(data, joined) == wanted


@given(st.integers(0, 9), st.integers(4096, 65536).map(lambda n: n // 4096 * 4096))
def test_the_filler_is_no_sub_buffer(offset: int, size: int) -> None:
    """Wherever it begins, in sub-buffers of any size: unreadable, and not empty."""
    data = filler(offset, size)
    records = read_pages(data, [0], size, 0, "", HeaderPage(), RecordHeader())
    assert (len(records), records.unreadable) == (0, 1)
