"""tracekit's reader, used the way the tests compare it with the writer's books."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.support.ring.region_writer import Event
from tracekit.errors import Diagnostic
from tracekit.ftrace.format import HeaderPage
from tracekit.ftrace.ring.layout import CpuBuffer, RegionLayout, parse_layout
from tracekit.ftrace.ring.page import RecordHeader, Records, read_pages

__all__ = ["Decoded", "Seen", "decode", "read_cpu", "seen", "wanted"]


@dataclass(frozen=True)
class Seen:
    """A record as the reader gives it: everything the columns say, and the payload's bytes."""

    ts: int
    data: bytes
    type: int
    flags: int
    preempt: int
    pid: int
    at: int


@dataclass(frozen=True)
class Decoded:
    """A whole region, read."""

    layout: RegionLayout
    records: tuple[Records, ...]
    events: tuple[tuple[Seen, ...], ...]

    @property
    def diagnostics(self) -> list[Diagnostic]:
        return [*self.layout.diagnostics, *(d for r in self.records for d in r.diagnostics)]

    def at(self, meta_offset: int) -> int | None:
        """Which of the CPUs found has its meta data there."""
        metas = [cpu.meta_offset for cpu in self.layout.cpus]
        return metas.index(meta_offset) if meta_offset in metas else None


def seen(data: bytes, records: Records) -> Iterator[Seen]:
    """The records as objects."""

    def column(raw: bytes, code: str) -> memoryview:
        return memoryview(raw).cast(code)

    columns = zip(
        column(records.ts, "Q"),
        column(records.offset, "Q"),
        column(records.length, "I"),
        column(records.type, "H"),
        column(records.flags, "B"),
        column(records.preempt, "B"),
        column(records.pid, "i"),
        strict=True,
    )
    for ts, offset, length, kind, flags, preempt, pid in columns:
        yield Seen(ts, data[offset : offset + length], kind, flags, preempt, pid, offset)


def wanted(events: Iterable[Event]) -> list[tuple[int, bytes, int, int, int, int]]:
    """What the reader must say of the writer's events, without the place."""
    out = []
    for event in events:
        kind, flags, preempt, pid = struct.unpack_from("<HBBi", event.data)
        out.append((event.read_ts, event.data, kind, flags, preempt, pid))
    return out


def read_cpu(data: bytes, cpu: CpuBuffer) -> Records:
    """One CPU's records."""
    return read_pages(
        data, cpu.pages, cpu.subbuf_size, cpu.cpu, "test", HeaderPage(), RecordHeader(),
        in_turn=True,
    )  # fmt: skip


def decode(data: bytes) -> Decoded:
    """Read a region. Raises what :func:`parse_layout` documents, nothing else."""
    layout = parse_layout(data, "test")
    records = tuple(read_cpu(data, cpu) for cpu in layout.cpus)
    return Decoded(layout, records, tuple(tuple(seen(data, r)) for r in records))
