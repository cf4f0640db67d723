"""What each CPU's ring buffer can tell: from when to when it was recorded, and with which holes.

Overwritten: the writer of a full ring takes the oldest sub-buffer, or the kernel flags that events
were lost before one (``RB_MISSED_EVENTS``). Unreadable: sub-buffers that could not be decoded, that
a cut region does not hold, that hold something older than their neighbours, or that are empty
although the writer had gone on to the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tracekit.analysis.stretches import Kind, Stretch
from tracekit.frozen import dataclass
from tracekit.ftrace.ring.layout import CpuBuffer
from tracekit.ftrace.ring.page import PageRow, Records
from tracekit.spill import release
from tracekit.timeline.boot import Boot, Buffer
from tracekit.timeline.events import Events

__all__ = ["RingRecord", "ring_records"]

_ToNs = Callable[[Sequence[int]], list[int]]
_NONE: Kind = "quiet"
_SHORT_RECORDS = 4  # the page status of records too short to decode, between others that are not


@dataclass(frozen=True, slots=True)
class RingRecord:
    """One CPU of one buffer. Times are ns on the session's axis.

    It was recorded in ``[start_ns, end_ns)``, apart from ``holes``, which may reach beyond.
    ``first_ns``: its oldest event. Both ``start_ns`` and ``first_ns`` are None if nothing tells.
    ``overwritten``: whether there were older ones; None if that is not known. ``online``: whether
    the kernel ever made a ring for this CPU.
    """

    cpu: int
    buffer: str
    start_ns: int | None
    end_ns: int | None
    first_ns: int | None
    overwritten: bool | None
    online: bool
    holes: tuple[Stretch, ...]


def ring_records(events: Events, boot: Boot, at_jump: bool) -> list[RingRecord]:
    """The rings of a boot; none if nothing tells when its events happened.

    ``at_jump``: its regions were copied when the kernel was gone, so that all their CPUs were
    recorded up to the same instant.
    """
    part = events.part(boot.index)
    made: list[RingRecord] = []
    for number, buffer in enumerate(part.buffers, part.first):
        to_ns = _to_ns(events, boot.index, number)
        if to_ns is not None and len(buffer):
            made += _of_buffer(buffer, to_ns, at_jump)
            release()  # the headers of sub-buffers lie in all of a region
    return made


def _to_ns(events: Events, boot: int, buffer: int) -> _ToNs | None:
    """The function that places raw stamps of a buffer on the axis, as those of its events."""
    axis = events.axis
    model, relation = axis.clocks.get(boot), axis.relations.get(buffer)
    if model is None:
        return None

    def to_ns(raw: Sequence[int]) -> list[int]:
        stamps = np.array(raw, np.uint64)
        placed = model.to_ns(relation.convert(stamps) if relation else stamps)
        found: list[int] = placed.tolist()
        return found

    return to_ns


def _of_buffer(buffer: Buffer, to_ns: _ToNs, at_jump: bool) -> Iterator[RingRecord]:
    checked = {r.cpu: _checked(r.pages()) for r in buffer.records}
    spans = {cpu: _span(pages) for cpu, pages in checked.items()}
    known = [span for span in spans.values() if span]
    (start,) = to_ns([min(first for first, _ in known)])
    end = None  # of what is known of all CPUs so far
    every = max(to_ns([last for _, last in known])) + 1
    rings = {c.cpu: c for c in buffer.layout.cpus} if buffer.layout else {}
    for records in buffer.records:
        ring, span, pages = rings.get(records.cpu), spans[records.cpu], checked[records.cpu]
        first, own = to_ns(span) if span else (None, None)
        own = None if own is None else own + 1
        if ring is None:  # each CPU's pages were read at a time of their own
            end = own
        elif at_jump:
            end = every
        elif own is not None:  # a region is copied from its start on, one CPU after the other
            end = max(own, end or own)
        online = ring is None or bool(records.page_offsets) or ring.wrapped is None
        cover = (start, end) if online and end is not None else None
        yield RingRecord(
            records.cpu,
            buffer.name,
            cover[0] if cover else None,
            cover[1] if cover else None,
            first,
            _overwritten(buffer, records, ring, pages),
            online,
            tuple(_holes(buffer, ring, pages, cover, to_ns)) if cover else (),
        )


def _span(pages: Sequence[_Page]) -> tuple[int, int] | None:
    """The raw stamps of the first and the last event."""
    sound = [page for page in pages if page.fits]
    if not sound:
        return None
    return min(page.row.first_ts for page in sound), max(page.last_ts for page in sound)


def _overwritten(
    buffer: Buffer, records: Records, ring: CpuBuffer | None, pages: Sequence[_Page]
) -> bool | None:
    """Whether older events than those in the ring were there once."""
    oldest = next((page.row for page in pages if page.row.events), None)
    if oldest is not None and oldest.missed:
        return True
    if ring is None or ring.wrapped is not None:
        return ring is not None and ring.wrapped
    counters = buffer.counters.get(records.cpu)
    if counters is None:
        return None
    return True if counters.overrun else False if 0 < counters.found >= counters.entries else None


# -- holes ---------------------------------------------------------------------------------------


class _Page(NamedTuple):
    """A sub-buffer. ``fits``: it has events, and they lie between those of its neighbours.

    ``damaged``: some of it is not what was written. ``last_ts`` is the raw stamp up to which its
    events are believed.
    """

    row: PageRow
    fits: bool
    damaged: bool
    last_ts: int


def _checked(rows: Iterable[PageRow]) -> list[_Page]:
    """The sub-buffers of a ring, in reading order."""
    every, latest = list(rows), 0
    in_order: list[bool] = []
    for row in every:
        in_order.append(row.events > 0 and row.first_ts >= latest)
        latest = max(latest, row.last_ts) if in_order[-1] else latest
    following: int | None = None
    made: list[_Page] = []
    for row, fits in zip(reversed(every), reversed(in_order), strict=True):
        beyond = fits and following is not None and row.first_ts <= following < row.last_ts
        odd = row.events > 0 and not fits
        given_up = not row.commit and row.missed != 0  # by a kernel that attached to the ring
        damaged = beyond or odd or given_up or row.status not in (0, _SHORT_RECORDS)
        # what precedes the first impossible record may be as wrong, as long as it is possible
        made.append(_Page(row, fits, damaged, row.first_ts if damaged else row.last_ts))
        following = row.first_ts if fits else following
    return made[::-1]


def _cut_after(buffer: Buffer, ring: CpuBuffer | None) -> int | None:
    """The offset of the page after which the region's end is missing."""
    if ring is None:
        return None
    size = ring.subbuf_size
    present = (len(buffer.data) - ring.start) // size
    return ring.start + (present - 1) * size if 0 < present < ring.nr_subbufs else None


def _holes(
    buffer: Buffer,
    ring: CpuBuffer | None,
    pages: Sequence[_Page],
    cover: tuple[int, int],
    to_ns: _ToNs,
) -> Iterator[Stretch]:
    """The holes between the events of a ring, each from the event before it to the one after."""
    cut = _cut_after(buffer, ring)
    since, kind, note, damaged = cover[0], _NONE, "", 0
    seen = False
    begins = to_ns([page.row.first_ts for page in pages])
    ends = to_ns([page.last_ts for page in pages])
    for (page, fits, hurt, _), begin, until in zip(pages, begins, ends, strict=True):
        if page.missed and kind == _NONE and seen:  # before the first: the whole ring's matter
            kind, note = "overwritten", _lost(page.missed)
        if fits:
            if kind != _NONE:
                yield Stretch(since, max(begin, since + 1), kind, note)
            since, kind, damaged, seen = until, _NONE, 0, True
        if page.status == _SHORT_RECORDS and fits:
            yield Stretch(begin, since + 1, "unreadable", f"{page.unreadable:,} short records")
        elif hurt:
            damaged += 1
            kind, note = "unreadable", _damaged(damaged, buffer.name)
        if page.offset == cut:
            kind, note = "unreadable", f"region {buffer.name} is cut short"
    if kind != _NONE:
        yield Stretch(since, max(cover[1], since + 1), kind, note)
    elif not pages and ring is not None and ring.start + ring.subbuf_size > len(buffer.data):
        yield Stretch(*cover, "unreadable", f"region {buffer.name} is cut short")


def _lost(missed: int) -> str:
    count = f"{missed:,} events" if missed > 0 else "events, not known how many,"
    return f"{count} were overwritten or dropped"


def _damaged(pages: int, buffer: str) -> str:
    return f"{pages:,} sub-buffer{'s' * (pages > 1)} of {buffer} unreadable"
