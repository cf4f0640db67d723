"""What ``regions/NAME.json`` says of the bytes in ``NAME.raw``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tracekit.errors import SessionError
from tracekit.session.reader import Session
from tracekit.spans import Span, filled, join_spans

__all__ = [
    "RegionBytes",
    "listed_writers",
    "read_region",
    "region_address",
    "region_reader",
    "region_unread",
    "region_writers",
    "unread_spans",
]

_MAX_OFFSET = 1 << 48
_MAX_WRITERS = 64


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
    """A region's bytes, with the filler in the spans that could not be read."""

    data: bytes
    unread: tuple[Span, ...]


def read_region(session: Session, path: str) -> RegionBytes:
    """The region whose bytes are in ``path``; without a sound description it is taken as whole.

    Raises :class:`~tracekit.errors.SessionError` when the bytes cannot be read.
    """
    data, unread = session.read(path), region_unread(session, path)
    return RegionBytes(filled(data, unread), unread)


def _about(session: Session, path: str) -> Mapping[str, Any]:
    try:
        return session.json(f"{path.removesuffix('.raw')}.json")
    except SessionError:
        return {}


def region_unread(session: Session, path: str) -> tuple[Span, ...]:
    """The spans of the region whose bytes are in ``path`` that could not be read."""
    return unread_spans(_about(session, path))


def region_address(session: Session, path: str) -> int | None:
    """The physical address of the region whose bytes are in ``path``; None if it is not known."""
    address = _about(session, path).get("address")
    return address if type(address) is int and address > 0 else None


def region_reader(session: Session, path: str) -> str:
    """What identifies the boot that read the region: ``file`` for none, '' if it is not known."""
    reader = _about(session, path).get("read_in")
    return reader if isinstance(reader, str) else ""


def listed_writers(document: Mapping[str, Any]) -> tuple[str, ...]:
    """What identifies the boots that recorded into a region, oldest first; none if it was one."""
    listed = document.get("writers")
    sound = isinstance(listed, list) and all(isinstance(writer, str) for writer in listed)
    return tuple(listed[-_MAX_WRITERS:]) if isinstance(listed, list) and sound else ()


def region_writers(session: Session, path: str) -> tuple[str, ...]:
    """:func:`listed_writers` of the region whose bytes are in ``path``."""
    return listed_writers(_about(session, path))
