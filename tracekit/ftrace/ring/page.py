"""Sub-buffers -> records: one CPU's pages decoded into columns of raw bytes.

The walk over the pages is compiled (``tracekit/_native/ring.c``). It keeps everything up to the
first impossible record of a page and goes on with the next page; what it could not read becomes a
Diagnostic and is counted. Sub-buffers that an intact ring cannot hold (:mod:`.integrity`) are too.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple, cast

from tracekit._native import ring
from tracekit.errors import Diagnostic
from tracekit.frozen import dataclass
from tracekit.ftrace.format import EventFormat, HeaderPage
from tracekit.ftrace.ring.integrity import CUT, EMPTY, STALE, doubtful, stale
from tracekit.spans import Span, overlaps
from tracekit.spill import Spill, release

__all__ = ["PageRow", "RecordHeader", "Records", "committed", "read_pages"]

_UNKNOWN = (1 << 64) - 1
_U32 = struct.Struct("<I")
_COMMIT = 0x3FFFFFFF  # of a commit word; the two bits above are flags
_ROW = 9
_UNREADABLE = frozenset((1, 2, 3, 5, EMPTY, CUT, STALE))
_UNREADABLE_AT = 8  # where a row counts them
_Walked = tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes]
_WIDTHS = (8, 8, 4, 2, 1, 1, 4)  # bytes of a record in each column
_SOME = 1 << 12  # sub-buffers between which memory is let go of
_STEP = 4 << 20  # bytes of sub-buffers walked at a time
_GROWN = 4  # times the bytes of sub-buffers that columns of the smallest records take
_LISTED = 20  # and lists of them
_MAX_NOTED = 16  # diagnostics of one code for one CPU; the rest are counted in one more

_STATUS: dict[int, tuple[str, str]] = {
    1: ("page-commit-beyond", "its commit {commit} lies beyond the page; the page is not read"),
    2: ("page-record-beyond", "the record at byte {where} reaches beyond the commit {commit}"),
    3: ("page-bad-padding", "impossible padding at byte {where}"),
    4: ("page-short-record", "{unreadable} records too short for the common fields"),
    5: ("page-stamp-alone", "time stamps at byte {where} without an event after them"),
    EMPTY: ("page-empty", "it is empty, which no sub-buffer in use is: its events are lost"),
    CUT: (
        "page-cut",
        "its commit is {commit}, but it was filled before the next one was begun: what came "
        "behind that is lost",
    ),
    STALE: (
        "page-stale",
        "its time stamps from {first_ts} to {last_ts} do not fit between those of its neighbours: "
        "it is of another time. Its own events are lost, and the {where} in it are not shown",
    ),
}


class PageRow(NamedTuple):
    """What the walk found in one sub-buffer. Stamps are raw; ``missed`` -1 means unknown.

    The records that a stale one holds are not among the ``events``: ``where`` is their number.
    """

    offset: int
    events: int
    status: int
    where: int
    missed: int
    commit: int
    first_ts: int
    last_ts: int
    discarded: int
    unreadable: int


class RecordHeader(NamedTuple):
    """Payload offsets of the common fields, and the size in bytes of all of them."""

    type: int = 0
    flags: int = 2
    preempt: int = 3
    pid: int = 4
    size: int = 8

    @classmethod
    def of(cls, fmt: EventFormat) -> RecordHeader:
        """Taken from any event's format: all formats of a boot have the same common fields."""
        offsets = {f.name: f.offset for f in fmt.common}
        end = max((f.offset + f.size for f in fmt.common), default=8)
        return cls(
            offsets.get("common_type", 0), offsets.get("common_flags", 2),
            offsets.get("common_preempt_count", 3), offsets.get("common_pid", 4), end,
        )  # fmt: skip

    @property
    def sound(self) -> bool:
        """Whether the fields lie inside the header."""
        starts = (self.type, self.flags, self.preempt, self.pid)
        ends = (self.type + 2, self.flags + 1, self.preempt + 1, self.pid + 4)
        return min(starts) >= 0 and max(ends) <= self.size <= 64


@dataclass(frozen=True, slots=True)
class Records:
    """One CPU's records in reading order; each column is the bytes of a native-endian array.

    ``ts`` u64 as the kernel wrote it (clock units), ``offset`` u64 and ``length`` u32 of the
    payload in the source, ``type`` u16 (the event id), ``flags`` and ``preempt`` u8, ``pid`` i32.
    ``page_offsets`` (u64) and ``page_rows`` are what :meth:`pages` reads. ``missed`` counts the
    events that the kernel says it lost; ``missed_unknown`` the places where it lost some without a
    count; ``unreadable`` pages and records that could not be decoded.
    """

    cpu: int
    ts: bytes
    offset: bytes
    length: bytes
    type: bytes
    flags: bytes
    preempt: bytes
    pid: bytes
    events: int
    page_offsets: bytes
    page_rows: bytes
    missed: int
    missed_unknown: int
    unreadable: int
    diagnostics: tuple[Diagnostic, ...]

    def __len__(self) -> int:
        return self.events

    def slim(self) -> Records:
        """Without the columns that the timeline's rows also hold, to save memory."""
        return replace(
            self,
            ts=b"",
            offset=self.offset if self.missed or self.missed_unknown else b"",
            length=b"",
            type=b"",
            flags=b"",
            preempt=b"",
            pid=b"",
        )

    def pages(self) -> Iterator[PageRow]:
        """What was found in each sub-buffer, in reading order."""
        return _page_rows(memoryview(self.page_offsets).cast("Q"), self.page_rows)


def _page_rows(offsets: Iterable[int], raw: bytes) -> Iterator[PageRow]:
    flat = memoryview(raw).cast("Q")
    for i, offset in enumerate(offsets):
        row = PageRow(offset, *flat[i * _ROW : (i + 1) * _ROW])
        yield row._replace(missed=-1) if row.missed == _UNKNOWN else row


def _diagnose(row: PageRow, where: str, unread: bool) -> Iterator[Diagnostic]:
    place = f"{where} page at {row.offset:#x}"
    if unread and (row.status or row.unreadable):
        yield Diagnostic(
            "page-unread", "warning", place, f"memory could not be read; {row.events} events are"
            " before that",
        )  # fmt: skip
    elif row.status:
        code, message = _STATUS[row.status]
        yield Diagnostic(code, "warning", place, message.format(**row._asdict()))
    if row.missed > 0:
        yield Diagnostic("events-missed", "warning", place, f"{row.missed} events lost before it")
    elif row.missed < 0:
        yield Diagnostic(
            "events-missed-unknown", "warning", place, "events were lost before it; not how many"
        )


def _columns(raw: bytes) -> tuple[list[int], ...]:
    """The columns status, missed, commit, first and last stamp of all rows."""
    flat = memoryview(raw).cast("Q")
    return tuple(flat[column::_ROW].tolist() for column in (1, 3, 4, 5, 6))


def _remarkable(columns: Sequence[list[int]], doubts: Mapping[int, int]) -> bool:
    """Whether any page needs a diagnostic; most often none does. ``columns``: :func:`_columns`."""
    status, missed, _, first, last = columns
    backwards = any(b < a for a, b in zip(last, first[1:], strict=False))
    return bool(doubts) or any(status) or any(missed) or backwards


def _backwards(rows: Sequence[PageRow], where: str) -> Iterator[Diagnostic]:
    last = 0
    for row in rows:
        if row.status == STALE or not row.events:
            continue
        if row.first_ts < last:
            place = f"{where} page at {row.offset:#x}"
            yield Diagnostic(
                "page-time-backwards", "warning", place, f"its time stamp {row.first_ts} is"
                f" smaller than {last}, the end of the page before",
            )  # fmt: skip
        last = max(last, row.last_ts)


def _limited(remarks: Iterator[Diagnostic], where: str) -> Iterator[Diagnostic]:
    """At most ``_MAX_NOTED`` of each code, and one that counts the rest."""
    seen: dict[str, int] = {}
    for d in remarks:
        seen[d.code] = seen.get(d.code, 0) + 1
        if seen[d.code] <= _MAX_NOTED:
            yield d
    for code, n in seen.items():
        if n > _MAX_NOTED:
            yield Diagnostic(code, "warning", where, f"... and on {n - _MAX_NOTED} more pages")


def committed(
    data: bytes | memoryview, pages: Iterable[int], subbuf_size: int, header: HeaderPage
) -> int:
    """The bytes of records that sub-buffers at byte offsets ``pages`` hold, as far as they say."""
    at, end = header.commit, len(data) - 4
    found = 0
    for number, page in enumerate(pages):
        word = _U32.unpack_from(data, page + at)[0] if page + at <= end else 0
        found += size if (size := word & _COMMIT) <= subbuf_size else 0
        if number % _SOME == 0:
            release()
    return found


def _without_unread(walked: _Walked, unread: Sequence[Span]) -> _Walked:
    """What a walk gave, without the records that reach into a span that could not be read."""
    offsets, lengths = memoryview(walked[1]).cast("Q"), memoryview(walked[2]).cast("I")
    rows = array("Q", walked[7])
    keep: list[int] = []
    begin = 0
    for row in range(0, len(rows), _ROW):
        end = begin + rows[row]
        whole = [n for n in range(begin, end) if not overlaps(unread, offsets[n], lengths[n])]
        rows[row + _UNREADABLE_AT] += end - begin - len(whole)
        rows[row] = len(whole)
        keep += whole
        begin = end
    ts, offset, length, type_, flags, preempt, pid = (
        b"".join(column[n * size : (n + 1) * size] for n in keep)
        for column, size in zip(walked[:7], _WIDTHS, strict=True)
    )
    return ts, offset, length, type_, flags, preempt, pid, rows.tobytes()


def _in_steps(
    walk: Callable[[Sequence[int]], _Walked],
    pages: Sequence[int],
    size: int,
    spill: Spill,
    grown: int,
) -> _Walked:
    """What a walk over all pages of ``size`` bytes gives; large columns go to ``spill``, and are
    made of some pages at a time.

    ``grown``: times the bytes of the pages that a walk over them takes.
    """
    step = max(1, _STEP // size)
    if len(pages) <= step or spill.fits(len(pages) * size * grown):
        *columns, rows = walk(pages)
        ts, offset, length, type_, flags, preempt, pid = map(spill.kept, columns)
        release()
        return ts, offset, length, type_, flags, preempt, pid, rows
    parts = [pages[first : first + step] for first in range(0, len(pages), step)]
    ends, rows_of = [0], []
    for part in parts:  # once more than to read them: so all is put where it belongs
        ts, *_, rows = walk(part)
        ends.append(ends[-1] + len(ts) // _WIDTHS[0])
        rows_of.append(rows)
        release()
    whole = [spill.room(ends[-1] * width) for width in _WIDTHS]
    for part, (begin, end) in zip(parts, pairwise(ends), strict=True):
        spill.need((end - begin) * sum(_WIDTHS))
        for column, values, width in zip(whole, walk(part), _WIDTHS, strict=False):
            column.put(begin * width, values)
        release()
    ts, offset, length, type_, flags, preempt, pid = (cast(bytes, column.view) for column in whole)
    return ts, offset, length, type_, flags, preempt, pid, b"".join(rows_of)


def read_pages(
    data: bytes | memoryview,
    pages: Sequence[int],
    subbuf_size: int,
    cpu: int,
    where: str,
    page_header: HeaderPage,
    record_header: RecordHeader,
    *,
    unread: Sequence[Span] = (),
    in_turn: bool = False,
    spill: Spill | None = None,
) -> Records:
    """Walk the sub-buffers at byte offsets ``pages``, each ``subbuf_size`` bytes.

    ``where`` names the source in diagnostics; ``unread`` are the spans where the data hold the
    filler (:func:`~tracekit.spans.filled`): a record that reaches into one is unreadable.
    ``spill``: where the columns go, and in its ``lasting`` what is told of the pages; None: into
    memory.
    ``in_turn``: the pages are a ring's, one written after the other; those that a reader was handed
    may end early. A page that does not lie inside the data is a programming error (ValueError): the
    layout has checked that.
    """
    header = (page_header.timestamp, page_header.commit, page_header.data)

    def walk_some(chosen: Sequence[int]) -> _Walked:
        ranges = array("Q")
        for page in chosen:
            ranges.extend((page, subbuf_size))
        walked = ring.walk(data, ranges, header, record_header)
        return _without_unread(walked, unread) if unread else walked

    def walk(chosen: Sequence[int]) -> _Walked:
        if spill is None:
            return walk_some(chosen)
        return _in_steps(walk_some, chosen, subbuf_size, spill, _LISTED if unread else _GROWN)

    *columns, raw_rows = walk(pages)
    said = _columns(raw_rows)
    doubts = _doubts(said, subbuf_size - page_header.data) if in_turn else {}
    remarkable = bool(unread) or _remarkable(said, doubts)
    rows = list(_page_rows(pages, raw_rows)) if remarkable else []
    if in_turn and rows:
        rows = _judged(rows, doubts)
        if odd := {row.offset for row in rows if row.status == STALE}:
            *columns, _ = walk([page for page in pages if page not in odd])
        raw_rows = array("Q", [v % (1 << 64) for row in rows for v in row[1:]]).tobytes()
    remarks = (
        d for row in rows for d in _diagnose(row, where, overlaps(unread, row.offset, subbuf_size))
    )
    ts, offset, length, type_, flags, preempt, pid = columns
    offsets = array("Q", pages).tobytes()
    return Records(
        cpu,
        ts,
        offset,
        length,
        type_,
        flags,
        preempt,
        pid,
        events=len(ts) // 8,
        page_offsets=spill.lasting.kept(offsets) if spill else offsets,
        page_rows=spill.lasting.kept(raw_rows) if spill else raw_rows,
        missed=sum(row.missed for row in rows if row.missed > 0),
        missed_unknown=sum(row.missed < 0 for row in rows),
        unreadable=sum(row.unreadable + (row.status in _UNREADABLE) for row in rows),
        diagnostics=(*_limited(remarks, where), *_limited(_backwards(rows, where), where)),
    )


def _doubts(columns: Sequence[list[int]], room: int) -> dict[int, int]:
    _, missed, commits, stamps, _ = columns
    return doubtful(list(zip(commits, missed, stamps, strict=True)), room)


def _judged(rows: Sequence[PageRow], doubts: Mapping[int, int]) -> list[PageRow]:
    """The rows with the status of what an intact ring cannot hold, where the walk saw no fault."""
    spans = [(i, row.first_ts, row.last_ts) for i, row in enumerate(rows) if row.events]
    judged = list(rows)
    for i in stale(spans):
        judged[i] = rows[i]._replace(status=STALE, where=rows[i].events, events=0)
    for i, status in doubts.items():
        if not judged[i].status:
            judged[i] = rows[i]._replace(status=status)
    return judged
