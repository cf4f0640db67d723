"""Spans of bytes that could not be read, and the filler that stands there."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["Span", "filled", "filler", "join_spans", "overlaps"]

Span = tuple[int, int]  #: (offset, size) in bytes
# As a sub-buffer's commit it lies beyond every sub-buffer; as an event's header it says that the
# next word is the event's length, which is then beyond every sub-buffer too.
_FILLER = b"\0???"


def filler(offset: int, size: int) -> bytes:
    """``size`` bytes that stand at ``offset`` for bytes that could not be read.

    They are those of no ring buffer: zeros would be an empty one.
    """
    shift = offset % len(_FILLER)
    return (_FILLER * (size // len(_FILLER) + 2))[shift : shift + size]


def join_spans(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The spans in order, those that touch or overlap as one; none of them empty."""
    joined: list[Span] = []
    for start, size in sorted(span for span in spans if span[1] > 0):
        end = joined[-1][0] + joined[-1][1] if joined else -1
        if start <= end:
            joined[-1] = joined[-1][0], max(end, start + size) - joined[-1][0]
        else:
            joined.append((start, size))
    return tuple(joined)


def overlaps(spans: Sequence[Span], start: int, size: int) -> bool:
    """Whether any byte of a range lies in one of the spans, as :func:`join_spans` gives them."""
    before = bisect_left(spans, (start + size, 0))
    return before > 0 and start < sum(spans[before - 1])


def filled(data: bytes, spans: Sequence[Span]) -> bytes:
    """The data with the filler in the spans, whatever was there; a writable view is changed."""
    if not spans:
        return data
    view: Any = data
    writable = isinstance(view, memoryview) and not view.readonly
    copy = view if writable else bytearray(view)
    for offset, size in spans:
        size = min(size, len(copy) - offset)
        if size > 0:
            copy[offset : offset + size] = filler(offset, size)
    return data if writable else bytes(copy)
