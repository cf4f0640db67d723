"""Persistent ring-buffer layouts: a region's bytes -> sub-buffers in reading order.

Sources: ``struct ring_buffer_meta``, ``struct ring_buffer_cpu_meta``, ``rb_range_meta()`` and
``rb_cpu_meta_valid()`` in ``kernel/trace/ring_buffer.c``; ``struct trace_scratch`` in
``kernel/trace/trace.c`` (6.15 and later). In 6.12 to 6.14 there is no global header and every CPU
starts with a ``struct ring_buffer_meta`` of its own.

The region is not trusted: contradictions become Diagnostics, and the sub-buffers are then taken in
the order of their time stamps. :mod:`.geometry` finds where the CPUs' data lie.
"""

from __future__ import annotations

import struct
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tracekit.binary import Cursor
from tracekit.errors import Diagnostic, ParseError
from tracekit.frozen import dataclass, field
from tracekit.ftrace.format import HeaderPage
from tracekit.ftrace.ring.geometry import Geometry, Kind, Meta, find, read_meta, read_slots
from tracekit.spans import Span, overlaps
from tracekit.spill import release

__all__ = ["CLOCKS", "OTHER_MACHINE", "CpuBuffer", "RegionLayout", "parse_layout"]

#: ``trace_clocks[]`` in kernel/trace/trace.c and ARCH_TRACE_CLOCKS: id -> name.
CLOCKS = (
    "local", "global", "counter", "uptime", "perf", "mono", "mono_raw", "boot", "tai", "x86-tsc",
)  # fmt: skip

_MAGIC = 0x0BADFEED
#: Why the buffers of other machines are not read.
OTHER_MACHINE = "only those of 64-bit little-endian kernels are read (x86-64, arm64)"
_SIZES_32 = (16 << 16 | 20, 36)  # the structures' sizes with longs of 4 bytes, 6.15 and 6.12
_SOME = 1 << 12  # sub-buffers between which memory is let go of
_MAX_MODULES = 4096
_MODULE_NAME = 56
_SCRATCH = 48  # bytes of the global header, and of struct trace_scratch before its modules
_OFFSET = 0x2030  # buffers_offset with room for 128 modules, as trace.c asks for
_KIND_615 = Kind("6.15+", 0, 24, 32)
_KIND_INJECT = Kind("6.15+", 0, 24, 40)  # CONFIG_RING_BUFFER_PERSISTENT_INJECT
_KIND_612 = Kind("6.12-6.14", 24, 48, 56, struct.pack("<II", _MAGIC, 56))


@dataclass(frozen=True, slots=True)
class CpuBuffer:
    """One CPU's ring. ``pages`` are byte offsets in the region, in reading order; ``start`` is the
    offset of the CPU's first sub-buffer, used or not.

    ``wrapped`` is False when the ring has never overwritten a sub-buffer, True when it has, None
    when that cannot be told. ``ordered`` is False where the order had to be taken from the time
    stamps because the meta data contradict themselves.
    """

    cpu: int
    meta_offset: int
    start: int
    subbuf_size: int
    nr_subbufs: int
    pages: Sequence[int]
    wrapped: bool | None = False
    ordered: bool = True


@dataclass(frozen=True, slots=True)
class RegionLayout:
    """A region's header and its CPUs. ``text_address`` is the writer's ``_text`` (0: not set)."""

    kind: str
    clock: str | None
    text_address: int
    modules: tuple[tuple[int, str], ...]
    cpus: tuple[CpuBuffer, ...]
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass(slots=True)
class _Reader:
    data: memoryview
    where: str
    header: HeaderPage
    unread: Sequence[Span] = ()
    diagnostics: list[Diagnostic] = field(default_factory=list)
    words64: memoryview = field(init=False)
    words32: memoryview = field(init=False)

    def __post_init__(self) -> None:
        self.words64 = self.data[: len(self.data) // 8 * 8].cast("Q")
        self.words32 = self.data[: len(self.data) // 4 * 4].cast("I")

    def note(self, code: str, place: str, message: str) -> None:
        self.diagnostics.append(
            Diagnostic(code, "warning", f"{self.where} {place}".strip(), message)
        )

    def cursor(self, offset: int) -> Cursor:
        return Cursor(self.data, self.where, offset)


def _header_stamp(r: _Reader, page: int) -> tuple[int, int]:
    """(time stamp, commit) of the sub-buffer at byte ``page``; (2**64 - 1, 0) if it is unread."""
    if r.unread and overlaps(r.unread, page, r.header.data):
        return (1 << 64) - 1, 0
    stamp, commit = page + r.header.timestamp, page + r.header.commit
    if stamp % 8 == 0 and commit % 4 == 0:  # always, unless the header page was tampered with
        return r.words64[stamp >> 3], r.words32[commit >> 2] & 0x3FFFFFFF
    c = r.cursor(stamp)
    return c.u64("time stamp"), c.at(commit).u32("commit") & 0x3FFFFFFF


def _commits(r: _Reader, start: int, size: int, count: int) -> list[int]:
    """The commits of ``count`` sub-buffers of ``size`` bytes from byte ``start`` on, by slot."""
    first = start + r.header.commit
    if first % 4 or size % 4 or r.unread:
        return [_header_stamp(r, start + slot * size)[1] for slot in range(count)]
    words = r.words32[first >> 2 :: size >> 2][:count]
    commits = list[int]()
    for some in range(0, count, _SOME):
        commits += [word & 0x3FFFFFFF for word in words[some : some + _SOME].tolist()]
        release()
    return commits


def _by_time(r: _Reader, pages: Sequence[int]) -> tuple[int, ...]:
    """The used pages among ``pages`` in the order of their time stamps."""
    stamped = [(*_header_stamp(r, page), page) for page in pages]
    return tuple(page for ts, commit, page in sorted(stamped) if ts or commit)


def _ring_order(
    slots: tuple[int, ...], head: int, commit: int
) -> tuple[list[int], list[int]] | None:
    """(slots in reading order, slots after the commit page), or None if there is no such order.

    ``slots[0]`` is the reader page; the ring is ``slots[1:]``, read from ``head`` on, cyclically,
    up to the commit page.
    """
    ring = list(slots[1:])
    if commit == slots[0]:
        return [slots[0]], ring
    if head not in ring or commit not in ring:
        return None
    first = ring.index(head)
    turned = ring[first:] + ring[:first]
    stop = turned.index(commit) + 1
    return [slots[0], *turned[:stop]], turned[stop:]


def _has_wrapped(
    r: _Reader, slots: tuple[int, ...], head: int, unused: Sequence[int]
) -> bool | None:
    """Whether the writer ever wrapped around to the head; ``unused`` are pages after the commit.

    It cannot be told once a reader has swapped a page out (``buffers[]`` is no longer 0, 1, 2,
    ...): the reader moves the head too and leaves an emptied page behind
    (``__rb_get_reader_page()``). Before that, only the writer moves the head; and as
    ``rb_init_data_page()`` zeroes time stamp and commit, a ring with a page that has neither has
    not wrapped.
    """
    if slots != tuple(range(len(slots))):
        return None
    if any(_header_stamp(r, page) == (0, 0) for page in unused):  # the first, mostly
        return False
    unread = any(overlaps(r.unread, page, r.header.data) for page in unused)
    return True if head != slots[1] and not unread else None


def _cpu_buffer(r: _Reader, g: Geometry, cpu: int, base: int) -> CpuBuffer:
    """One CPU's ring. ``base`` is the region's old virtual address."""
    start, size, count = g.start(cpu), g.subbuf_size, g.nr_subbufs
    every = [start + slot * size for slot in range(count)]
    present = [page for page in every if page + size <= len(r.data)]
    commits = _commits(r, start, size, len(present))
    place = f"cpu {cpu}"

    def buffer(pages: Sequence[int], wrapped: bool | None, ordered: bool = True) -> CpuBuffer:
        compact = array("Q", pages)  # a region may have a million
        return CpuBuffer(cpu, g.meta(cpu), start, size, count, compact, wrapped, ordered)

    def unordered(code: str, message: str) -> CpuBuffer:
        r.note(code, place, f"{message}; sub-buffers are taken in the order of their time stamps")
        return buffer(_by_time(r, present), None, ordered=False)

    if len(present) < count:
        r.note("cpu-truncated", place, f"{count - len(present)} of {count} sub-buffers are missing")
    stored = read_meta(r.data, g.kind, g.meta(cpu))
    if overlaps(r.unread, g.meta(cpu), g.kind.buffers + 4 * count):
        return unordered("cpu-meta-unread", "the CPU's meta data could not be read")
    if stored is None or not (stored.first or stored.nr_subbufs):
        return unordered("cpu-meta-destroyed", "the CPU's meta data are not valid")
    if (stored.subbuf_size, stored.nr_subbufs) != (size, count):
        r.note(
            "cpu-sizes-mismatch", place, f"{stored.nr_subbufs} sub-buffers of {stored.subbuf_size}"
            f" bytes, but the other CPUs' data say {count} of {size}",
        )  # fmt: skip
    if stored.first != base + start:
        r.note(
            "cpu-first-mismatch", place, f"the first sub-buffer's address {stored.first:#x} should"
            f" be {base + start:#x}",
        )  # fmt: skip
    meta = Meta(base + start, stored.head, stored.commit, size, count)
    if not meta.head:
        if any(commits):
            return unordered("cpu-head-missing", "no head page, but sub-buffers hold data")
        return buffer((), False)
    slots = read_slots(r.data, g.kind, g.meta(cpu), count)
    if slots is None:
        return unordered("cpu-buffers-invalid", "buffers[] is not a permutation of the slots")
    head, commit = meta.slot_of(meta.head), meta.slot_of(meta.commit)
    if head is None or commit is None:
        return unordered("cpu-pointer-outside", "head or commit page lies outside the buffer")
    order = _ring_order(slots, head, commit)
    if order is None:
        return unordered("cpu-ring-broken", "head or commit page is not in the ring")
    ring, unused = ([every[slot] for slot in part if slot < len(present)] for part in order)
    # rb_tail_page_update() and __rb_get_reader_page() empty a page that leaves the ring's used part
    if any(commits[slot] for slot in order[1] if slot < len(present)):
        return unordered("cpu-pages-left-over", "sub-buffers beyond the commit page hold data")
    wrapped = _has_wrapped(r, slots, head, unused)
    return buffer(ring, wrapped)


def _modules(c: Cursor, end: int, count: int) -> Iterator[tuple[int, str]]:
    for _ in range(min(count, _MAX_MODULES)):
        if c.offset + 8 + _MODULE_NAME > end:
            return
        yield c.u64("module address"), c.cstr(_MODULE_NAME, "module name")


def _parse_615(r: _Reader) -> tuple[RegionLayout, int, int]:
    """The global header of 6.15 and later: layout without CPUs, first CPU's offset, total size."""
    if overlaps(r.unread, 0, _SCRATCH):
        r.note("region-header-unread", "", "its header could not be read")
        return RegionLayout(_KIND_615.name, None, 0, (), ()), _OFFSET, len(r.data)
    c = r.cursor(8)
    total, offset = c.u64("total size"), c.u64("buffers offset")
    if total != len(r.data):
        r.note(
            "region-size-mismatch", "", f"the header says {total} bytes, there are {len(r.data)}"
        )
    if not 24 <= offset <= len(r.data) or offset % 4:
        r.note("region-buffers-offset", "", f"buffers offset {offset:#x}; {_OFFSET:#x} is assumed")
        offset = _OFFSET
    clock: str | None = None
    text, modules = 0, tuple[tuple[int, str], ...]()
    if offset >= 48 and len(r.data) >= 48:  # the scratch area lies between header and CPU 0
        s = r.cursor(24)
        clock_id = s.u32("clock id")
        clock = CLOCKS[clock_id] if clock_id < len(CLOCKS) else None
        if clock is None:
            r.note("region-clock-unknown", "", f"clock id {clock_id}")
        s = s.at(32)
        text, count = s.u64("text address"), s.u64("module count")
        modules = tuple(_modules(s, min(offset, len(r.data)), count))
    return RegionLayout(_KIND_615.name, clock, text, modules, ()), offset, total


def _candidates(sizes: int, offset: int) -> list[tuple[Kind, int]]:
    """Every (kind, first CPU's offset) the region may have, its header's claim first."""
    every = [(kind, first) for first in (offset, _OFFSET) for kind in (_KIND_615, _KIND_INJECT)]
    every.append((_KIND_612, 0))
    if sizes == 56:
        every.reverse()
    elif sizes & 0xFFFF == _KIND_INJECT.buffers:
        every.insert(0, (_KIND_INJECT, offset))
    return every


def _base(r: _Reader, g: Geometry, cpus: int) -> int:
    """The region's old virtual address: what most of the CPUs' pointers agree on."""
    votes: Counter[int] = Counter()
    for cpu in range(cpus):
        meta = read_meta(r.data, g.kind, g.meta(cpu))
        if meta is not None and meta.first:
            base = meta.first - g.start(cpu)
            votes[base] += 1 + (base % 4096 == 0) + (0 <= meta.head - meta.first < 1 << 40)
    return votes.most_common(1)[0][0] if votes else 0


def _other_machine(magic: int, sizes: int) -> str:
    """What machine's header this is, '' where that is not known."""
    swapped = [int.from_bytes(word.to_bytes(4, "little"), "big") for word in (magic, sizes)]
    if swapped[0] == _MAGIC:
        return "a big-endian kernel"
    return "a 32-bit kernel" if magic == _MAGIC and sizes in _SIZES_32 else ""


def parse_layout(
    data: bytes | memoryview,
    where: str,
    header: HeaderPage | None = None,
    unread: Sequence[Span] = (),
) -> RegionLayout:
    """Parse a region. ``where`` names it in diagnostics.

    ``unread`` are the spans where the data hold the filler (:func:`~tracekit.spans.filled`).

    Raises :class:`~tracekit.errors.ParseError` when no ring buffer is recognized at all.
    """
    r = _Reader(memoryview(data).cast("B"), where, header or HeaderPage(), unread)
    if len(r.data) < 0x60:
        raise ParseError(f"{where}: {len(r.data)} bytes are too few for a ring buffer")
    magic, sizes = r.cursor(0).array("I", 2, "magic and struct sizes")
    quiet = _Reader(r.data, where, r.header, unread)  # its notes count only if the kind is 6.15
    layout, offset, total = _parse_615(quiet)
    size = max(total, len(r.data)) if total <= 2 * len(r.data) else len(r.data)
    geometry = find(r.data, _candidates(sizes, offset), size if sizes >> 16 == 24 else len(r.data))
    if geometry is None:
        if machine := _other_machine(magic, sizes):
            raise ParseError(f"{where}: the ring buffer of {machine}; {OTHER_MACHINE}")
        raise ParseError(
            f"{where}: no persistent ring buffer: magic {magic:#x}, no CPU's meta data are valid"
        )
    g, count = geometry
    header_read = not overlaps(unread, 0, 16)
    if magic != _MAGIC and header_read:
        r.note("region-magic", "", f"magic {magic:#x} is not {_MAGIC:#x}")
    if g.kind is _KIND_612:
        text = r.cursor(8).u64("text address") if header_read else 0
        layout = RegionLayout(g.kind.name, None, text, (), ())
    else:
        r.diagnostics += quiet.diagnostics
        if sizes != (24 << 16 | g.kind.buffers) and header_read:
            r.note("region-struct-sizes", "", f"struct sizes {sizes:#x} do not fit the CPUs' data")
        if g.offset != offset:
            r.note("region-buffers-offset", "", f"buffers offset {offset:#x}; {g.offset:#x} fits")
    base = _base(r, g, count)
    cpus = tuple(_cpu_buffer(r, g, cpu, base) for cpu in range(count))
    return replace(layout, cpus=cpus, diagnostics=tuple(r.diagnostics))
