"""What ``regions/NAME.json`` says of the bytes in ``NAME.raw``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tracekit.errors import SessionError
from tracekit.session.reader import Session
from tracekit.spans import Span, filled, join_spans

__all__ = ["RegionBytes", "read_region", "unread_spans"]

_MAX_OFFSET = 1 << 48


def unread_spans(document: Mapping[str, Any]) -> tuple[Span, ...]:
    """The (offset, size) of the bytes that could not be read; what is no such pair is left out."""
    listed = document.get("unread")
    return join_spans(
        (pair[0], pair[1])
        for pair in (listed if isinstance(listed, list) else ())
        if isinstance(pair, list)
        and len(pair) == 2
        and all(type(n) is int and 0 <= n < _MAX_OFFSET for n in pair)
    )


class RegionBytes(NamedTuple):
    """A region: its bytes, with the filler where they could not be read, and its description."""

    data: bytes
    unread: tuple[Span, ...]
    about: Mapping[str, Any]


def read_region(session: Session, path: str) -> RegionBytes:
    """The region whose bytes are in ``path``; without a sound description it is taken as whole.

    Raises :class:`~tracekit.errors.SessionError` when the bytes cannot be read.
    """
    data = session.read(path)
    try:
        about = session.json(f"{path.removesuffix('.raw')}.json")
    except SessionError:
        about = {}
    unread = unread_spans(about)
    return RegionBytes(filled(data, unread), unread, about)
