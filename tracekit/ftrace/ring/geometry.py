"""Where the CPUs' meta data and sub-buffers lie in a persistent ring buffer's region.

All CPUs of a region have the same number of sub-buffers of the same size, and lie one after the
other (``rb_range_meta()`` in ``kernel/trace/ring_buffer.c``), so one CPU whose meta data are intact
tells where all the others are. :func:`find` takes the geometry that most of the meta data agree on.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from tracekit.frozen import dataclass
from tracekit.spill import release

__all__ = ["Geometry", "Kind", "Meta", "find", "read_meta", "read_slots"]

_SUBBUF_SIZES = frozenset(1 << bits for bits in range(12, 21))
_STEP = 4096  # regions are page-aligned, so every CPU but the first starts at a multiple of this
_MAX_CPUS = 8192
_CLAIMS = 16  # geometries tried; if there are more, the "meta data" are payload


@dataclass(frozen=True, slots=True)
class Kind:
    """Where things lie in one CPU's meta data; ``magic`` is what they start with, if anything."""

    name: str
    first: int  # u64 first, head, commit follow each other
    sizes: int  # u32 subbuf_size, nr_subbufs
    buffers: int  # s32 buffers[nr_subbufs]
    magic: bytes = b""


@dataclass(frozen=True, slots=True)
class Meta:
    """One CPU's meta data as stored in the region, valid or not."""

    first: int
    head: int
    commit: int
    subbuf_size: int
    nr_subbufs: int

    def slot_of(self, address: int) -> int | None:
        """The slot that an old virtual address points to, or None."""
        slot, rest = divmod(address - self.first, self.subbuf_size)
        return slot if not rest and 0 <= slot < self.nr_subbufs else None


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the CPUs' data lie: the first CPU's meta data are at ``offset``."""

    kind: Kind
    offset: int
    subbuf_size: int
    nr_subbufs: int

    def _end(self, offset: int) -> int:
        after = offset + self.kind.buffers + 4 * self.nr_subbufs
        return -(-after // self.subbuf_size) * self.subbuf_size + self.subbuf_size * self.nr_subbufs

    def meta(self, cpu: int) -> int:
        """The offset of a CPU's meta data. All chunks but the first CPU's have one size."""
        if cpu == 0:
            return self.offset
        second = self._end(self.offset)
        return second + (cpu - 1) * (self._end(second) - second)

    def start(self, cpu: int) -> int:
        """The offset of a CPU's first sub-buffer."""
        return self._end(self.meta(cpu)) - self.subbuf_size * self.nr_subbufs

    def chunks(self, size: int) -> int:
        """How many CPUs' meta data begin before ``size``."""
        second = self._end(self.offset)
        return min(_MAX_CPUS, 1 + max(0, -((second - size) // (self._end(second) - second))))

    def cpu_at(self, offset: int) -> int | None:
        """The CPU whose meta data are at ``offset``, or None."""
        if offset == self.offset:
            return 0
        second = self._end(self.offset)
        cpu, rest = divmod(offset - second, self._end(second) - second)
        return cpu + 1 if not rest and 0 <= cpu < _MAX_CPUS else None


def read_meta(data: memoryview, kind: Kind, offset: int) -> Meta | None:
    """The meta data at ``offset``, or None where the data end before them."""
    if offset + kind.buffers > len(data):
        return None
    pointers = struct.unpack_from("<3Q", data, offset + kind.first)
    return Meta(*pointers, *struct.unpack_from("<2I", data, offset + kind.sizes))


def read_slots(data: memoryview, kind: Kind, offset: int, count: int) -> tuple[int, ...] | None:
    """``buffers[]``, or None where it is not a permutation of the slots."""
    start = offset + kind.buffers
    if count < 1 or start + 4 * count > len(data):
        return None
    array = struct.unpack_from(f"<{count}i", data, start)
    return array if sorted(array) == list(range(count)) else None


def _plausible(data: memoryview, kind: Kind, offset: int) -> Meta | None:
    """The meta data at ``offset`` if they are plausible, buffers[] not considered."""
    meta = read_meta(data, kind, offset)
    if meta is None or meta.subbuf_size not in _SUBBUF_SIZES:
        return None
    if not 3 <= meta.nr_subbufs <= len(data) // 256:  # leaves room for a truncated region
        return None
    if not meta.first or meta.first % meta.subbuf_size:  # rb_range_align_subbuf() aligns it
        return None
    if (meta.head or meta.commit) and not _used(meta):
        return None
    return meta if data[offset : offset + len(kind.magic)] == kind.magic else None


def _used(meta: Meta) -> bool:
    """Whether head and commit point to sub-buffers: the CPU was online once."""
    return meta.slot_of(meta.head) is not None and meta.slot_of(meta.commit) is not None


def _as_allocated(g: Geometry, cpus: int, size: int) -> bool:
    """Whether ``alloc_buffer()`` would divide ``size`` bytes among ``cpus`` CPUs this way."""
    more = Geometry(g.kind, g.offset, g.subbuf_size, g.nr_subbufs + 1)
    return g.meta(cpus) <= size < more.meta(cpus)


def _whole(data: memoryview, g: Geometry, offset: int) -> bool:
    """Whether buffers[] of the meta data at ``offset`` is a permutation followed by zeros."""
    end = offset + g.kind.buffers + 4 * g.nr_subbufs
    rest = bytes(data[end : -(-end // g.subbuf_size) * g.subbuf_size])
    release()
    return rest == bytes(len(rest)) and read_slots(data, g.kind, offset, g.nr_subbufs) is not None


def _in_turn(data: memoryview, kind: Kind, offset: int, size: int) -> tuple[Geometry, int] | None:
    """The usual case: every CPU's meta data are intact, and the CPUs fill the region."""
    first = _plausible(data, kind, offset)
    if first is None or not first.head:
        return None
    g = Geometry(kind, offset, first.subbuf_size, first.nr_subbufs)
    for cpu in range(_MAX_CPUS):
        meta_offset = g.meta(cpu)
        meta = _plausible(data, kind, meta_offset)
        if meta is None:
            fits = meta_offset <= len(data) and _as_allocated(g, cpu, size)
            return (g, cpu) if fits else None
        if (meta.subbuf_size, meta.nr_subbufs) != (g.subbuf_size, g.nr_subbufs):
            return None
        if not _whole(data, g, meta_offset):
            return None
    return None


def _by_vote(
    data: memoryview, kind: Kind, offset: int, size: int
) -> tuple[int, Geometry, int] | None:
    """(votes, geometry, CPUs) by the meta data that fit together best."""
    claims: dict[tuple[int, int], list[tuple[int, Meta]]] = {}
    for meta_offset in (offset, *range(-(-(offset + 1) // _STEP) * _STEP, len(data), _STEP)):
        if (meta := _plausible(data, kind, meta_offset)) is not None:
            claims.setdefault((meta.subbuf_size, meta.nr_subbufs), []).append((meta_offset, meta))
    best: tuple[int, Geometry, int] | None = None
    for (subbuf_size, count), metas in sorted(claims.items(), key=lambda c: -len(c[1]))[:_CLAIMS]:
        g = Geometry(kind, offset, subbuf_size, count)
        votes, cpus = 0, 0
        for meta_offset, meta in metas:
            cpu = g.cpu_at(meta_offset)
            if cpu is not None:
                votes += 4 + 4 * _used(meta) + 8 * _whole(data, g, meta_offset)
                cpus = max(cpus, cpu + 1)
        if not cpus:
            continue
        later = (cpu for cpu in range(cpus, g.chunks(len(data))) if _holds_data(data, g, cpu))
        cpus = max(later, default=cpus - 1) + 1  # CPUs without meta data, but with sub-buffers
        votes += 8 * _as_allocated(g, cpus, size)
        if best is None or votes > best[0]:
            best = votes, g, cpus
    return best


def _holds_data(data: memoryview, g: Geometry, cpu: int) -> bool:
    """Whether there are sub-buffers with a commit where a CPU would have its own."""
    start = g.start(cpu)
    stop = min(start + g.nr_subbufs * g.subbuf_size, len(data) - 16)
    return any(
        0 < int.from_bytes(data[page + 8 : page + 16], "little") <= g.subbuf_size - 16
        for page in range(start, stop, g.subbuf_size)
    )


def find(
    data: memoryview, candidates: Iterable[tuple[Kind, int]], size: int
) -> tuple[Geometry, int] | None:
    """(geometry, number of CPUs), or None if no CPU's meta data are recognized.

    ``candidates`` are (kind, offset of the first CPU's meta data), the likeliest first; ``size``
    is the region's size in bytes, of which ``data`` may be a part.
    """
    tried = list(dict.fromkeys(candidates))
    for kind, offset in tried[:1]:
        if (intact := _in_turn(data, kind, offset, size)) is not None:
            return intact
    best: tuple[int, Geometry, int] | None = None
    for kind, offset in tried:
        vote = _by_vote(data, kind, offset, size)
        if vote is not None and (best is None or vote[0] > best[0]):
            best = vote
    return (best[1], best[2]) if best else None
