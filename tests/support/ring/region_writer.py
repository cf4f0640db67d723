"""The test-side writer of persistent ring-buffer regions, in every layout tracekit must read.

Written from kernel/trace/ring_buffer.c (7.2.13; for 6.12-6.14 the file of 6.12) and apart from
tracekit's reader. :class:`~ring_sim.RingBuffer` simulates one CPU's buffer; the functions here lay
several of them out in one region the way alloc_buffer() and rb_range_meta_init() do.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.ring.ring_events import (
    HEADER,
    MISSED_EVENTS,
    MISSED_STORED,
    Event,
    UserPage,
    Write,
)
from tests.support.ring.ring_sim import RingBuffer

__all__ = [
    "HEADER",
    "MISSED_EVENTS",
    "MISSED_STORED",
    "CpuPlace",
    "Event",
    "Region",
    "RingBuffer",
    "UserPage",
    "Write",
    "elf_core",
    "layout_612",
    "layout_615",
    "subbufs_that_fit",
    "user_page",
]

MAGIC = 0x0BADFEED  # RING_BUFFER_META_MAGIC
GLOBAL_META = 24  # sizeof(struct ring_buffer_meta), 6.15 and later
SCRATCH = 24 + 128 * 64  # struct trace_scratch with room for 128 modules (trace.c)
META_612 = 56  # sizeof(struct ring_buffer_meta), 6.12-6.14
META_615, META_INJECT = 32, 40  # sizeof(struct ring_buffer_cpu_meta)
BASE_VA = 0xFFFF_8880_7D60_0000  # a direct-map address, as reserve_mem regions have
TEXT_ADDR = 0xFFFF_FFFF_8100_0000


@dataclass(frozen=True)
class CpuPlace:
    """Where one CPU's things lie in the region, in bytes from its start.

    ``pointers``: the u64s first, head, commit; ``sizes``: the u32s subbuf_size, nr_subbufs.
    """

    meta: int
    pointers: int
    sizes: int
    buffers: int
    subbufs: int
    end: int


@dataclass(frozen=True)
class Region:
    """A region's bytes and what is in it. ``expected[cpu]`` are the events, in reading order."""

    data: bytes
    layout: str
    base_va: int
    clock_id: int | None
    rings: tuple[RingBuffer, ...]
    places: tuple[CpuPlace, ...]
    expected: tuple[tuple[Event, ...], ...] = field(repr=False)


def _align(value: int, to: int) -> int:
    return -(-value // to) * to


def subbufs_that_fit(
    total_size: int, cpus: int, subbuf_size: int, *, meta: int = META_615, lead: int = -1
) -> int:
    """Sub-buffers a CPU gets of a region, the reader page among them (alloc_buffer()).

    ``lead``: bytes before the first CPU's meta; the kernel reckons with the size of the *CPU*
    meta where the global one stands, so this is not buffers_offset. Pass 0 for 6.12-6.14.
    """
    start = _align(meta, 8) + SCRATCH if lead < 0 else lead
    count = ((total_size - start) // cpus - meta) // (subbuf_size + 4)
    while count >= 3:
        end = start
        for _ in range(cpus):
            end = _align(end + meta + 4 * count, subbuf_size) + subbuf_size * count
        if end <= total_size:
            return count
        count -= 1
    raise ValueError(f"{total_size} bytes are too few for {cpus} CPUs")


def _places(
    rings: Sequence[RingBuffer], start: int, meta: int, pointers: int, base_va: int
) -> list[CpuPlace]:
    """rb_range_meta() and rb_subbufs_from_meta(): alignment is that of the *address*."""
    sizes = {(ring.subbuf_size, ring.nr_subbufs) for ring in rings}
    if len(sizes) != 1:
        raise ValueError("all CPUs have sub-buffers of one size and one number")
    ((subbuf_size, count),) = sizes
    places, at = [], start
    for _ in rings:
        subbufs = _align(base_va + at + meta + 4 * count, subbuf_size) - base_va
        end = subbufs + count * subbuf_size
        first = at + pointers
        places.append(CpuPlace(at, first, first + 24, at + meta, subbufs, end))
        at = end
    return places


def _put_cpu(data: bytearray, ring: RingBuffer, place: CpuPlace, base_va: int) -> None:
    """The meta fields every layout has, buffers[] and the sub-buffers."""
    first = base_va + place.subbufs
    head = commit = 0  # rb_range_meta_init(); rb_allocate_cpu_buffer() sets them when online
    if ring.online:
        head = first + ring.buffers[ring.head] * ring.subbuf_size
        commit = first + ring.buffers[ring.commit] * ring.subbuf_size
    struct.pack_into("<3Q", data, place.pointers, first, head, commit)
    struct.pack_into("<2I", data, place.sizes, ring.subbuf_size, ring.nr_subbufs)
    struct.pack_into(f"<{ring.nr_subbufs}i", data, place.buffers, *ring.buffers)
    for slot, page in enumerate(ring.pages):
        at = place.subbufs + slot * ring.subbuf_size
        data[at : at + ring.subbuf_size] = page.memory


def _room(places: Sequence[CpuPlace], total_size: int | None) -> int:
    end = places[-1].end
    if total_size is None:
        return _align(end, 4096)
    if total_size < end:
        raise ValueError(f"the buffers need {end} bytes")
    return total_size


def layout_615(
    buffers: Sequence[RingBuffer],
    *,
    clock_id: int = 0,
    text_addr: int = TEXT_ADDR,
    modules: Sequence[tuple[int, str]] = (),
    inject: bool = False,
    total_size: int | None = None,
    base_va: int = BASE_VA,
    scratch_size: int = SCRATCH,
) -> Region:
    """6.15-7.3: a global header, the scratch area, then CPU after CPU.

    ``inject``: CONFIG_RING_BUFFER_PERSISTENT_INJECT, which makes the CPU meta 40 bytes.
    ``modules``: (address, name) pairs for the scratch area (struct trace_mod_entry, trace.c).
    """
    meta = META_INJECT if inject else META_615
    places = _places(buffers, GLOBAL_META + scratch_size, meta, 0, base_va)
    total = _room(places, total_size)
    data = bytearray(total)
    sizes = GLOBAL_META << 16 | meta
    struct.pack_into("<iiQQ", data, 0, MAGIC, sizes, total, GLOBAL_META + scratch_size)
    struct.pack_into("<I4xQQ", data, GLOBAL_META, clock_id, text_addr, len(modules))
    for i, (address, name) in enumerate(modules):
        struct.pack_into("<Q56s", data, GLOBAL_META + 24 + 64 * i, address, name.encode())
    for ring, place in zip(buffers, places, strict=True):
        _put_cpu(data, ring, place, base_va)
        if inject:
            struct.pack_into("<2I", data, place.meta + 32, ring.nr_invalid, ring.entry_bytes)
    expected = tuple(tuple(ring.expected()) for ring in buffers)
    name = "6.15 inject" if inject else "6.15"
    return Region(bytes(data), name, base_va, clock_id, tuple(buffers), tuple(places), expected)


def layout_612(
    buffers: Sequence[RingBuffer],
    *,
    text_addr: int = TEXT_ADDR,
    data_addr: int = TEXT_ADDR + 0x100_0000,
    total_size: int | None = None,
    base_va: int = BASE_VA,
) -> Region:
    """6.12-6.14: no global header; every CPU's meta has the magic. The clock is not recorded."""
    places = _places(buffers, 0, META_612, 24, base_va)
    data = bytearray(_room(places, total_size))
    for ring, place in zip(buffers, places, strict=True):
        struct.pack_into("<iiQQ", data, place.meta, MAGIC, META_612, text_addr, data_addr)
        _put_cpu(data, ring, place, base_va)
    expected = tuple(tuple(ring.expected()) for ring in buffers)
    return Region(bytes(data), "6.12", base_va, None, tuple(buffers), tuple(places), expected)


def user_page(
    time_stamp: int,
    events: bytes,
    *,
    missed: int = 0,
    stored: bool | None = None,
    page_size: int = 4096,
    sign_extended: bool = True,
) -> bytes:
    """A ``trace_pipe_raw`` page made by hand (ring_buffer_read_page()).

    ``missed``: -1 for "some". ``stored`` defaults to what the kernel does: the number is kept if
    there is one and eight bytes are free. ``sign_extended=False`` is bit 31 alone, as a kernel
    that sets it with an unsigned constant would write it.
    """
    commit, tail = len(events), b""
    if stored is None:
        stored = missed > 0 and page_size - HEADER - commit >= 8
    if stored:
        commit, tail = commit + MISSED_STORED, struct.pack("<q", missed)
    if missed:
        commit += MISSED_EVENTS if sign_extended else 1 << 31
    page = struct.pack("<QQ", time_stamp, commit & (1 << 64) - 1) + events + tail
    if len(page) > page_size:
        raise ValueError("too much for one page")
    return page.ljust(page_size, b"\0")


def elf_core(segments: Sequence[tuple[int, bytes]]) -> bytes:
    """An ELF core like /proc/kcore: one PT_LOAD for each (physical address, bytes) pair."""
    count = len(segments)
    at = 64 + 56 * count
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head = ident + struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0)
    body = b""
    for address, data in segments:
        size = len(data)
        virtual = 0xFFFF_8880_0000_0000 + address
        head += struct.pack("<IIQQQQQQ", 1, 7, at + len(body), virtual, address, size, size, 4096)
        body += data
    return head + body
