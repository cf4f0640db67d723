"""Persistent ring-buffer layouts: a region's bytes -> sub-buffers in reading order.

Sources: ``struct ring_buffer_meta``, ``struct ring_buffer_cpu_meta``, ``rb_range_meta()`` and
``rb_cpu_meta_valid()`` in ``kernel/trace/ring_buffer.c``; ``struct trace_scratch`` in
``kernel/trace/trace.c`` (6.15 and later). In 6.12 to 6.14 there is no global header and every CPU
starts with a ``struct ring_buffer_meta`` of its own.

The region is not trusted: what contradicts itself becomes a Diagnostic, and the sub-buffers are
then taken in the order of their time stamps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from tracekit.binary import Cursor
from tracekit.errors import Diagnostic, ParseError
from tracekit.ftrace.format import HeaderPage

__all__ = ["CLOCKS", "CpuBuffer", "RegionLayout", "parse_layout"]

#: ``trace_clocks[]`` in kernel/trace/trace.c and ARCH_TRACE_CLOCKS: id -> name.
CLOCKS = (
    "local", "global", "counter", "uptime", "perf", "mono", "mono_raw", "boot", "tai", "x86-tsc",
)  # fmt: skip

_MAGIC = 0x0BADFEED
_MAX_CPUS = 8192
_MAX_MODULES = 4096
_MODULE_NAME = 56
_SUBBUF_SIZES = tuple(1 << bits for bits in range(12, 21))


@dataclass(frozen=True, slots=True)
class CpuBuffer:
    """One CPU's ring. ``pages`` are byte offsets in the region, in reading order.

    ``wrapped`` is False when the ring has never overwritten a sub-buffer, True when it has, None
    when that cannot be told. ``ordered`` is False where the order had to be taken from the time
    stamps because the meta data contradict themselves.
    """

    cpu: int
    meta_offset: int
    subbuf_size: int
    nr_subbufs: int
    pages: tuple[int, ...]
    wrapped: bool | None = False
    ordered: bool = True


@dataclass(frozen=True, slots=True)
class RegionLayout:
    """What a region says of itself. ``text_address`` is the writer's ``_text`` (0: not set)."""

    kind: str
    clock: str | None
    text_address: int
    modules: tuple[tuple[int, str], ...]
    cpus: tuple[CpuBuffer, ...]
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True)
class _Kind:
    """Where things lie in one CPU's meta data."""

    name: str
    first: int  # u64 first, head, commit follow each other
    sizes: int  # u32 subbuf_size, nr_subbufs
    buffers: int  # s32 buffers[nr_subbufs]


@dataclass(slots=True)
class _Reader:
    data: memoryview
    where: str
    header: HeaderPage
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def note(self, code: str, place: str, message: str) -> None:
        self.diagnostics.append(
            Diagnostic(code, "warning", f"{self.where} {place}".strip(), message)
        )

    def cursor(self, offset: int) -> Cursor:
        return Cursor(self.data, self.where, offset)


@dataclass(frozen=True, slots=True)
class _Meta:
    offset: int
    first: int
    head: int
    commit: int
    subbuf_size: int
    nr_subbufs: int

    def start(self, kind: _Kind) -> int:
        """The offset of the first sub-buffer."""
        return _align(self.offset + kind.buffers + 4 * self.nr_subbufs, self.subbuf_size)

    def end(self, kind: _Kind) -> int:
        return self.start(kind) + self.nr_subbufs * self.subbuf_size


def _align(value: int, to: int) -> int:
    return (value + to - 1) // to * to


def _read_meta(r: _Reader, kind: _Kind, offset: int) -> _Meta | None:
    """The meta data at ``offset``, or None where they cannot be any."""
    if offset + kind.buffers > len(r.data):
        return None
    c = r.cursor(offset + kind.first)
    first, head, commit = c.array("Q", 3, "first, head and commit buffer")
    size, count = r.cursor(offset + kind.sizes).array("I", 2, "sub-buffer size and count")
    meta = _Meta(offset, first, head, commit, size, count)
    fits = size in _SUBBUF_SIZES and count >= 3 and meta.end(kind) <= len(r.data)
    return meta if fits else None


def _metas_in_turn(r: _Reader, kind: _Kind, offset: int) -> list[_Meta]:
    """The meta data found by going from each CPU's end to the next, until one is impossible."""
    metas: list[_Meta] = []
    while len(metas) < _MAX_CPUS and (meta := _read_meta(r, kind, offset)) is not None:
        if metas and (meta.subbuf_size, meta.nr_subbufs) != (
            metas[0].subbuf_size, metas[0].nr_subbufs,
        ):  # fmt: skip
            break
        metas.append(meta)
        offset = meta.end(kind)
    return metas


def _nr_subbufs(offset: int, end: int, kind: _Kind, subbuf: int, cpus: int) -> int:
    """How many sub-buffers a CPU gets: the arithmetic of ``alloc_buffer()``."""
    share = (end - offset) // cpus
    count = (share - kind.buffers) // (subbuf + 4)
    while count >= 3:
        at = offset
        for _ in range(cpus):
            at = _align(at + kind.buffers + 4 * count, subbuf) + subbuf * count
        if at <= end:
            return count
        count -= 1
    return 0


def _metas_by_size(r: _Reader, kind: _Kind, offset: int) -> list[_Meta]:
    """Meta data where some are destroyed: try each CPU count's geometry, keep the best fit."""
    best: list[_Meta] = []
    score = 0
    for subbuf in _SUBBUF_SIZES[:5]:
        for cpus in range(1, min(_MAX_CPUS, len(r.data) // (4 * subbuf)) + 1):
            count = _nr_subbufs(offset, len(r.data), kind, subbuf, cpus)
            metas, good, at = [], 0, offset
            for _ in range(cpus if count else 0):
                found = _read_meta(r, kind, at)
                if found and (found.subbuf_size, found.nr_subbufs) == (subbuf, count):
                    good += 1
                else:  # destroyed: no pointers to trust
                    found = _Meta(at, 0, 0, 0, subbuf, count)
                metas.append(found)
                at = found.end(kind)
            if good > score:
                best, score = metas, good
            if cpus > 256 and not score:
                break
    return best


def _header_stamp(r: _Reader, page: int) -> tuple[int, int]:
    """(time stamp, commit) of the sub-buffer at byte ``page``."""
    ts = int.from_bytes(r.data[page + r.header.timestamp :][:8], "little")
    commit = int.from_bytes(r.data[page + r.header.commit :][:4], "little")
    return ts, commit & 0x3FFFFFFF


def _by_time(r: _Reader, pages: Sequence[int]) -> tuple[int, ...]:
    """The used pages among ``pages`` in the order of their time stamps."""
    stamped = [(*_header_stamp(r, page), page) for page in pages]
    return tuple(page for ts, commit, page in sorted(stamped) if ts or commit)


def _slots(r: _Reader, kind: _Kind, meta: _Meta) -> tuple[int, ...] | None:
    """``buffers[]``, or None where it is not a permutation of the slots."""
    array = r.cursor(meta.offset + kind.buffers).array("i", meta.nr_subbufs, "buffers[]")
    return array if sorted(array) == list(range(meta.nr_subbufs)) else None


def _slot_of(meta: _Meta, address: int) -> int | None:
    """The slot an old virtual address points to."""
    slot, rest = divmod(address - meta.first, meta.subbuf_size)
    return slot if not rest and 0 <= slot < meta.nr_subbufs else None


def _ring_order(
    slots: tuple[int, ...], head: int, commit: int
) -> tuple[list[int], list[int]] | None:
    """(slots in reading order, slots behind the commit page), or None if there is no such order.

    ``slots[0]`` is the reader page; the ring is ``slots[1:]``, read from ``head`` on, cyclically,
    up to the commit page.
    """
    ring = list(slots[1:])
    if commit == slots[0]:
        return [slots[0]], ring
    if head not in ring or commit not in ring:
        return None
    at = ring.index(head)
    turned = ring[at:] + ring[:at]
    stop = turned.index(commit) + 1
    return [slots[0], *turned[:stop]], turned[stop:]


def _has_wrapped(
    r: _Reader, slots: tuple[int, ...], head: int, unused: Sequence[int]
) -> bool | None:
    """Whether the writer ever came round to the head; ``unused`` are pages behind the commit.

    Nothing tells once a reader has swapped a page out (``buffers[]`` is no longer 0, 1, 2, ...):
    it moves the head too, and leaves an emptied page behind it (``__rb_get_reader_page()``).
    Before, a head that moved was pushed by the writer; and as ``rb_init_data_page()`` zeroes time
    stamp and commit, a ring with a page that has neither has not come round.
    """
    if slots != tuple(range(len(slots))):
        return None
    if any(_header_stamp(r, page) == (0, 0) for page in unused):
        return False
    return True if head != slots[1] else None


def _cpu_buffer(r: _Reader, kind: _Kind, meta: _Meta, cpu: int) -> CpuBuffer:
    start = meta.start(kind)
    every = [start + slot * meta.subbuf_size for slot in range(meta.nr_subbufs)]
    place = f"cpu {cpu}"

    def unordered(code: str, message: str) -> CpuBuffer:
        r.note(code, place, f"{message}; sub-buffers are taken in the order of their time stamps")
        used = _by_time(r, every)
        return CpuBuffer(
            cpu, meta.offset, meta.subbuf_size, meta.nr_subbufs, used, wrapped=None, ordered=False
        )

    if not meta.first:
        return unordered("cpu-meta-destroyed", "the CPU's meta data are not valid")
    if not meta.head:
        if _by_time(r, every):
            return unordered("cpu-head-missing", "no head page, but sub-buffers hold data")
        return CpuBuffer(cpu, meta.offset, meta.subbuf_size, meta.nr_subbufs, ())
    slots = _slots(r, kind, meta)
    if slots is None:
        return unordered("cpu-buffers-invalid", "buffers[] is not a permutation of the slots")
    head, commit = _slot_of(meta, meta.head), _slot_of(meta, meta.commit)
    if head is None or commit is None:
        return unordered("cpu-pointer-outside", "head or commit page lies outside the buffer")
    order = _ring_order(slots, head, commit)
    if order is None:
        return unordered("cpu-ring-broken", "head or commit page is not in the ring")
    wrapped = _has_wrapped(r, slots, head, [every[slot] for slot in order[1]])
    pages = tuple(every[slot] for slot in order[0])
    return CpuBuffer(cpu, meta.offset, meta.subbuf_size, meta.nr_subbufs, pages, wrapped)


def _modules(c: Cursor, end: int, count: int) -> Iterator[tuple[int, str]]:
    for _ in range(min(count, _MAX_MODULES)):
        if c.offset + 8 + _MODULE_NAME > end:
            return
        yield c.u64("module address"), c.cstr(_MODULE_NAME, "module name")


def _parse_615(r: _Reader) -> tuple[RegionLayout, _Kind, int]:
    """The global header of 6.15 and later: layout without CPUs, CPU meta kind, first offset."""
    c = r.cursor(4)
    sizes, total, offset = c.u32("struct sizes"), c.u64("total size"), c.u64("buffers offset")
    meta_size = sizes & 0xFFFF
    if meta_size not in (32, 40):
        r.note("region-struct-sizes", "", f"cpu meta of {meta_size} bytes; 32 is assumed")
        meta_size = 32
    if total != len(r.data):
        r.note(
            "region-size-mismatch", "", f"the header says {total} bytes, there are {len(r.data)}"
        )
    if not 24 <= offset <= len(r.data) or offset % 4:
        r.note("region-buffers-offset", "", f"buffers offset {offset:#x}; 0x2030 is assumed")
        offset = 0x2030
    clock, text = None, 0
    modules: tuple[tuple[int, str], ...] = ()
    if offset >= 48 and len(r.data) >= 48:  # the scratch area lies between header and CPU 0
        s = r.cursor(24)
        clock_id = s.u32("clock id")
        clock = CLOCKS[clock_id] if clock_id < len(CLOCKS) else None
        if clock is None:
            r.note("region-clock-unknown", "", f"clock id {clock_id}")
        s = s.at(32)
        text, count = s.u64("text address"), s.u64("module count")
        modules = tuple(_modules(s, min(offset, len(r.data)), count))
    kind = _Kind("6.15+", 0, 24, meta_size)
    return RegionLayout(kind.name, clock, text, modules, ()), kind, offset


def _parse_612(r: _Reader) -> tuple[RegionLayout, _Kind, int]:
    """6.12 to 6.14: magic, struct size and the text address stand before each CPU's meta."""
    text = r.cursor(8).u64("text address")
    kind = _Kind("6.12-6.14", 24, 48, 56)
    return RegionLayout(kind.name, None, text, (), ()), kind, 0


def parse_layout(
    data: bytes | memoryview, where: str, header: HeaderPage | None = None
) -> RegionLayout:
    """Parse a region. ``where`` names it in diagnostics.

    Raises :class:`~tracekit.errors.ParseError` when no ring buffer can be made out at all.
    """
    r = _Reader(memoryview(data).cast("B"), where, header or HeaderPage())
    if len(r.data) < 0x60:
        raise ParseError(f"{where}: {len(r.data)} bytes are too few for a ring buffer")
    magic, sizes = r.cursor(0).array("I", 2, "magic and struct sizes")
    if magic != _MAGIC:
        r.note("region-magic", "", f"magic {magic:#x} is not {_MAGIC:#x}")
    is_615 = sizes >> 16 == 24 or magic != _MAGIC
    layout, kind, offset = _parse_615(r) if is_615 else _parse_612(r)
    metas = _metas_in_turn(r, kind, offset)
    room = (len(r.data) - (metas[-1].end(kind) if metas else offset)) if metas else len(r.data)
    if not metas or room > metas[0].end(kind) - metas[0].offset:
        better = _metas_by_size(r, kind, offset)
        metas = better if len(better) > len(metas) else metas
    if not metas:
        raise ParseError(
            f"{where}: no persistent ring buffer: magic {magic:#x}, no CPU's meta data are valid"
        )
    cpus = tuple(_cpu_buffer(r, kind, meta, cpu) for cpu, meta in enumerate(metas))
    return replace(layout, cpus=cpus, diagnostics=tuple(r.diagnostics))
