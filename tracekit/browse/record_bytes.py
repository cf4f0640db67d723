"""One event as it was recorded: its bytes, its fields in them, and where in memory they were."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from tracekit.clocks.model import UNKNOWN
from tracekit.errors import SessionError
from tracekit.frozen import dataclass
from tracekit.ftrace.columns import Payloads, typed_column
from tracekit.ftrace.format import EventFormat, Field
from tracekit.ftrace.printers.trace_file import latency_flags
from tracekit.ftrace.ring.page import read_pages
from tracekit.probes.records import RETURN, parse_compact
from tracekit.recording import Recording
from tracekit.timeline.boot import Boot, Buffer, Extent
from tracekit.timeline.bpf_records import PRINTED, carrier_of
from tracekit.timeline.saved.bpf_format import LAYOUT, PROBE_ID, is_probe
from tracekit.timeline.when.dates import utc
from tracekit.timeline.when.wall_clock import why_unknown

__all__ = ["FieldAt", "FileLocation", "RecordLocation", "Stamp", "latency_flags", "locate_record"]

_LOC = {"data_loc": "__data_loc ", "rel_loc": "__rel_loc ", "": ""}
_SMALL = 28  # words of payload that fit the event header's type_len (ring_buffer.h)
_PAGES = 8  # sub-buffers searched for a printed record, the likeliest first
_WORD = 200  # characters of a symbol in the rendered text at most


@dataclass(frozen=True, slots=True)
class FieldAt:
    """A field and its bytes: ``size`` of them at ``offset`` of the payload.

    ``offset`` is None if the field has no bytes of its own: in a BPF record that was printed.
    ``value`` is typed as in ``Recording.fields``, None if it lies outside the record. ``text``
    is how the event's text shows it, if that differs ('' if not). ``data``: (offset,
    size) of the bytes that a ``__data_loc`` or ``__rel_loc`` points to.
    """

    name: str
    type: str
    offset: int | None
    size: int
    value: Any
    common: bool
    text: str = ""
    data: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class FileLocation:
    """Where the first byte of a record's payload is in the session, and was in memory.

    ``source``: the file; ``offset``: the byte in it. ``subbuffer`` of ``subbuffers`` (from 0) of
    ``size`` bytes, and the ``byte`` in it; for BPF records of a file: the record's number in it.
    ``address`` is the physical one, None if it was not saved.
    """

    source: str
    offset: int
    cpu: int
    subbuffer: int
    subbuffers: int
    size: int
    byte: int
    address: int | None


@dataclass(frozen=True, slots=True)
class Stamp:
    """When an event was: ``raw`` as the kernel wrote it, in ``unit`` of the trace clock ``clock``.

    ``ns`` is its place on the session's axis, None if the clock does not count time, and
    ``error_ns`` the bound for its error relative to the jump, None if there is none. ``method``
    says what that rests on. ``time`` is when it was in UTC, to ``time_error_ns``, by
    ``time_basis``; None if that is unknown, and ``time_basis`` then says why.
    """

    raw: int
    clock: str
    unit: str
    ns: int | None
    error_ns: int | None
    method: str
    time: str | None
    time_error_ns: int | None
    time_basis: str


@dataclass(frozen=True, slots=True)
class RecordLocation:
    """An event's record. ``header`` is the ring buffer's own, empty if there is none.

    ``fields`` are empty if no format of the event was saved. ``carrier`` names the event that
    a BPF record was printed into, '' if it was not; if it was, ``payload`` and ``carrier_fields``
    are that event's. ``place`` is None if the record is not found in what was saved.
    """

    row: int
    boot: int
    event: str
    event_id: int
    header: bytes
    payload: bytes
    fields: tuple[FieldAt, ...]
    carrier: str
    carrier_fields: tuple[FieldAt, ...]
    buffer: str
    instance: str
    place: FileLocation | None
    stamp: Stamp


def _type(f: Field) -> str:
    """The field's C type, with its array part."""
    array = "" if f.length is None else f"[{f.length or ''}]"
    return f"{_LOC[f.loc]}{f.type}{array}"


def _data(payload: bytes, f: Field) -> tuple[int, int] | None:
    """(offset, size) of the bytes a dynamic field points to; None if they are not in the record."""
    if not f.loc or f.offset + 4 > len(payload):
        return None
    loc = int.from_bytes(payload[f.offset : f.offset + 4], "little")
    start = (loc & 0xFFFF) + (f.offset + 4 if f.loc == "rel_loc" else 0)
    return (start, loc >> 16) if start + (loc >> 16) <= len(payload) else None


def _shown(name: str, value: Any, args: str) -> str:
    """What follows ``name=`` in the event's text; '' if that is just the value."""
    m = re.search(rf"(?<![\w.]){re.escape(name)}=([^\s,]{{1,{_WORD}}})", args)
    if m is None or isinstance(value, str):
        return ""
    plain = {str(value), hex(value), f"{value:x}"} if isinstance(value, int) else {str(value)}
    return "" if m[1] in plain else m[1]


def _fields(fmt: EventFormat | None, payload: bytes, args: str) -> Iterator[FieldAt]:
    """All fields of a record, in the order of the format."""
    length = np.array([len(payload)], np.uint32)
    one = Payloads(payload, np.zeros(1, np.uint64), length)
    for f in (*fmt.common, *fmt.fields) if fmt else ():
        value = typed_column(one, f)[0].as_py()
        common = f in fmt.common if fmt else False
        text = "" if common else _shown(f.name, value, args)
        size = f.size or max(0, len(payload) - f.offset)  # a flexible array is the rest
        yield FieldAt(f.name, _type(f), f.offset, size, value, common, text, _data(payload, f))


def _header(data: bytes | memoryview, start: int, length: int) -> bytes:
    """The ring buffer's header of the record whose payload is at ``start``: 4 or 8 bytes."""
    head = bytes(data[max(0, start - 8) : start])
    if len(head) < 8:
        return b""
    if int.from_bytes(head[4:], "little") & 31 == length // 4 <= _SMALL:
        return head[4:]
    long = not head[0] & 31 and int.from_bytes(head[4:], "little") == length + 4
    return head if long else b""


def _extent(buffer: Buffer, start: int) -> Extent | None:
    """The extent of the buffer that contains byte ``start``."""
    inside = (e for e in buffer.extents if e.start <= start < e.start + e.size * e.count)
    return next(inside, None)


def _address(boot: Boot, source: str) -> int | None:
    """The physical address of a file's first byte, if it is a region whose address was saved."""
    path = f"{source.removesuffix('.raw')}.json"
    if not source.endswith(".raw") or not boot.session.has(path):
        return None
    try:
        address = boot.session.json(path).get("address")
    except SessionError:
        return None
    return address if isinstance(address, int) and 0 <= address < 1 << 64 else None


def _place(boot: Boot, buffer: Buffer, start: int) -> FileLocation | None:
    extent = _extent(buffer, start)
    if extent is None:
        return None
    subbuffer, byte = divmod(start - extent.start, extent.size)
    offset, base = extent.offset + start - extent.start, _address(boot, extent.source)
    return FileLocation(
        extent.source, offset, extent.cpu, subbuffer, extent.count, extent.size, byte,
        None if base is None else base + offset,
    )  # fmt: skip


@dataclass(frozen=True)
class _Carrier:
    """Finds the event that a BPF record was printed into: ``record`` (of LAYOUT) at ``raw``."""

    boot: Boot
    buffer: Buffer
    raw: int
    cpu: int
    record: Any

    @cached_property
    def event_id(self) -> int | None:
        """The id of the event that carries records."""
        ids = (i for i in self.boot.event_ids() if self.boot.event_name(i) == PRINTED)
        return next(ids, None)

    def _pages(self) -> list[tuple[int, int]]:
        """(start, size) of the sub-buffers that may hold it, the likeliest first."""
        pages: list[tuple[int, int, int]] = []
        stamp_offset, data = self.boot.header_page.timestamp, self.buffer.data
        for e in self.buffer.extents:
            count = min(e.count, (len(data) - e.start) // e.size)
            if e.cpu != self.cpu or count < 1:
                continue
            stamps = np.ndarray((count,), "<u8", data, e.start + stamp_offset, (e.size,))
            before = np.flatnonzero(stamps <= self.raw)
            best = before[np.argsort(stamps[before], kind="stable")[-_PAGES:]]
            pages += [(int(stamps[n]), e.start + n * e.size, e.size) for n in best.tolist()]
        return [(start, size) for _, start, size in sorted(pages, reverse=True)]

    def find(self) -> tuple[int, int] | None:
        """(start, length) of the payload in the buffer's data."""
        fmt = self.boot.format(self.event_id) if self.event_id is not None else None
        text = fmt.field("bpf_string") if fmt else None
        if text is None:
            return None
        page, record = self.boot.header_page, self.boot.record_header
        for start, size in self._pages():
            got = read_pages(self.buffer.data, [start], size, self.cpu, "", page, record)
            stamps = np.frombuffer(got.ts, np.uint64)
            offsets, lengths = np.frombuffer(got.offset, np.uint64), np.frombuffer(got.length, "u4")
            mine = np.flatnonzero(stamps == self.raw)
            payloads = Payloads(self.buffer.data, offsets[mine], lengths[mine])
            types = np.frombuffer(got.type, np.uint16)[mine].tolist()
            texts = typed_column(payloads, text).to_pylist() if len(mine) else []
            for n, kind, printed in zip(mine.tolist(), types, texts, strict=True):
                if kind == self.event_id and printed and self._same(printed):
                    return int(offsets[n]), int(lengths[n])
        return None

    def _same(self, printed: str) -> bool:
        parsed, record = parse_compact(printed), self.record
        if parsed is None:
            return False
        kind = parsed.kind | (RETURN if parsed.returned else 0)
        return (parsed.seq, parsed.ns, kind) == (record["seq"], record["ns"], record["kind"])


def _stamp(recording: Recording, row: int, boot: Boot, buffer: Buffer) -> Stamp:
    axis, model = recording.axis, recording.axis.clocks.get(boot.index)
    number = int(recording.rows.buffer[row])
    relation, wall = axis.relations.get(number), recording.walls.get(boot.index)
    loose = 0 if relation is None else relation.error_ns
    clock = buffer.clock or UNKNOWN
    unit: str = model.unit if model is not None else "unknown"
    error = model.error_ns if model is not None and axis.timed(boot.index) else None
    method = model.method if model is not None else ""
    if relation is not None:
        unit, method = "ns", f"{method}; {clock} by {relation.method}"
        error = None if error is None else error + loose
    return Stamp(
        raw=int(recording.rows.ts_raw[row]),
        clock=clock,
        unit=unit,
        ns=int(axis.ts_ns[row]) if axis.timed(boot.index) else None,
        error_ns=error if axis.placed(boot.index) else None,
        method=method,
        time=None if wall is None else utc(int(axis.ts_ns[row]) + wall.offset_ns),
        time_error_ns=None if wall is None else wall.error_ns + loose,
        time_basis=why_unknown(axis, boot) if wall is None else wall.basis,
    )


def _without_bytes(fields: Sequence[FieldAt]) -> tuple[FieldAt, ...]:
    return tuple(FieldAt(f.name, f.type, None, f.size, f.value, f.common, f.text) for f in fields)


def locate_record(recording: Recording, row: int) -> RecordLocation:
    """Everything that is known of the record of one row."""
    rows = recording.rows
    args = recording.render(rows.take(slice(row, row + 1))).to_pylist()[0]
    kind, number = recording.kinds[int(rows.kind[row])], int(rows.buffer[row])
    boot = recording.boot(kind.boot)
    buffer = recording.buffers[number]
    start, length = int(rows.offset[row]), int(rows.length[row])
    payload = bytes(buffer.data[start : start + length])
    fields = tuple(_fields(boot.format(kind.id), payload, args))
    carrier, carried, header = "", tuple[FieldAt, ...](), b""
    printed = carrier_of(boot.index, recording.buffers, buffer)
    if printed is not None:  # its bytes are those of the text
        record = np.frombuffer(payload, LAYOUT)[0]
        search = _Carrier(boot, printed, int(rows.ts_raw[row]), int(rows.cpu[row]), record)
        found = search.find()
        carrier, fields, buffer = PRINTED, _without_bytes(fields), printed
        start, length = found or (len(printed.data), 0)
        payload = bytes(printed.data[start : start + length])
        if found is not None and search.event_id is not None:
            carried = tuple(_fields(boot.format(search.event_id), payload, ""))
    if not is_probe(kind.id) or carrier:
        header = _header(buffer.data, start, length)
    return RecordLocation(
        row=row,
        boot=boot.index,
        event=kind.name,
        event_id=kind.id & ~PROBE_ID,
        header=header,
        payload=payload,
        fields=fields,
        carrier=carrier,
        carrier_fields=carried,
        buffer=buffer.name,
        instance=buffer.instance,
        place=_place(boot, buffer, start),
        stamp=_stamp(recording, row, boot, recording.buffers[number]),
    )
