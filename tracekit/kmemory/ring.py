"""A ring buffer in memory: its pages in reading order.

See ``kernel/trace/ring_buffer.c``. The ring has no end and no first page: ``pages`` points to some
member. Two bits of ``list.next`` are flags (``RB_PAGE_HEAD``, ``RB_PAGE_UPDATE``): the page after
that one is the head, the oldest. ``head_page`` is brought up to date by readers alone. The reader
page lies outside the ring and is older than all of it; where it is the commit page too, the ring
holds nothing.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence

from tracekit.errors import SourceError
from tracekit.frozen import dataclass
from tracekit.kmemory.kernel import Kernel, NoMember, Struct
from tracekit.kmemory.memory import PAGE
from tracekit.spans import filler

__all__ = ["CpuRing", "Layout", "read_ring"]

_FLAGS = 3
_HEAD, _UPDATE = 1, 2
_COUNT = (1 << 20) - 1  # RB_WRITE_MASK: above it writers count how often a page was updated
_SIZE = (1 << 20) - 1  # of a page's commit: above are RB_MISSED_EVENTS and RB_MISSED_STORED
_MAX_PAGES = 1 << 22


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the fields of a sub-buffer's header and its data lie, in bytes."""

    stamp: int
    commit: int
    commit_size: int
    data: int

    @classmethod
    def of(cls, kernel: Kernel) -> Layout:
        """By ``struct buffer_data_page``."""
        places = [kernel.place("buffer_data_page", n) for n in ("time_stamp", "commit", "data")]
        stamp, commit, data = places
        if stamp is None or commit is None or data is None:
            raise NoMember("the kernel's BTF has no struct buffer_data_page")
        return cls(stamp.offset, commit.offset, commit.size, data.offset)


@dataclass(frozen=True, slots=True)
class _Reader:
    """The reader page: its data's address, and what of it had been consumed.

    ``stamp`` is the time of the last event before ``read``.
    """

    address: int
    read: int
    stamp: int


@dataclass(frozen=True, slots=True)
class CpuRing:
    """One CPU's ring.

    ``pages``: the addresses of the ring's data pages, oldest first, up to the commit page.
    ``lost`` counts pages whose description is not in memory. ``head`` says how the oldest page was
    found: ``flag``, ``field``, or ``time`` where neither is there.
    """

    cpu: int
    subbuf_size: int
    nr_pages: int
    counters: dict[str, int]
    reader: _Reader | None
    pages: Sequence[int]
    lost: int
    head: str
    stale_head: bool
    caught_up: bool

    @property
    def entries_left(self) -> int:
        """Events that the kernel counts in it."""
        c = self.counters
        return c["entries"] - c["overrun"] - c["read"]

    def _all(self) -> Iterator[_Reader]:
        if self.reader is not None:
            yield self.reader
        for address in self.pages:
            yield _Reader(address, 0, 0)

    def count(self, kernel: Kernel, layout: Layout) -> int:
        """How many pages :meth:`data` gives."""
        return sum(self._counts(kernel, layout, page) for page in self._all())

    def _counts(self, kernel: Kernel, layout: Layout, page: _Reader) -> bool:
        try:
            head = kernel.memory.read(page.address, layout.data)
        except SourceError:
            return True
        used = _commit(head, layout) & _SIZE
        return used > min(page.read, self.subbuf_size - layout.data)

    def data(self, kernel: Kernel, layout: Layout) -> Iterator[bytes]:
        """The pages that hold something, as a reader of ``trace_pipe_raw`` gets them.

        What is not in memory is filled (:func:`~tracekit.spans.filler`) and noted.
        """
        for page in self._all():
            data = _page_data(kernel, page.address, self.subbuf_size, self.cpu)
            cut = _standing_alone(data, page, layout)
            if cut is not None:
                yield cut


def _page_data(kernel: Kernel, address: int, size: int, cpu: int) -> bytes:
    try:
        return kernel.memory.read(address, size)
    except SourceError as error:
        kernel.notes.missing("pages of trace buffers", f"cpu {cpu} at {address:#x}", error)
    parts = []
    for offset in range(0, size, PAGE):
        try:
            parts.append(kernel.memory.read(address + offset, PAGE))
        except SourceError:
            parts.append(filler(offset, PAGE))
    return b"".join(parts)


def _commit(data: bytes, layout: Layout) -> int:
    return int.from_bytes(data[layout.commit : layout.commit + layout.commit_size], "little")


def _standing_alone(data: bytes, page: _Reader, layout: Layout) -> bytes | None:
    """The page up to its commit and from where it had been read; None if that is nothing."""
    at, width = layout.commit, layout.commit_size
    word = _commit(data, layout)
    used = word & _SIZE
    if used > len(data) - layout.data:
        return data  # damaged: the decoder says so
    if used <= page.read:
        return None
    body = data[layout.data + page.read : layout.data + used]
    head = bytearray(data[: layout.data])
    if page.read:
        head[at : at + width] = (word - page.read).to_bytes(width, "little")
        head[layout.stamp : layout.stamp + 8] = struct.pack("<Q", page.stamp)
    return bytes(head + body).ljust(len(data), b"\0")


@dataclass(slots=True)
class _Ring:
    """The ring's members from ``pages`` on; those from ``broken`` on were found backwards.

    ``heads``: the numbers of those that the pointer before them calls the head.
    """

    nodes: array[int]
    heads: list[int]
    broken: int | None = None


class _Walker:
    def __init__(self, kernel: Kernel, limit: int) -> None:
        places = [kernel.place("buffer_page", n) for n in ("list.next", "list.prev", "list")]
        if None in places:
            raise NoMember("the kernel's BTF has no struct buffer_page")
        self._next, self._prev, self._list = (place.offset for place in places if place)
        self._kernel = kernel
        self._limit = limit

    def ring(self, start: int) -> _Ring:
        """All members; ``start`` is the address of one's list head. It has at most ``limit``."""
        memory, shift = self._kernel.memory, self._next - self._list
        ring = _Ring(array("Q", [start]), [])
        node = start
        while True:
            try:
                word = memory.u64(node + shift)
            except SourceError as error:
                self._kernel.notes.missing("members of ring buffers", f"{node:#x}", error)
                if node != start:
                    ring.nodes.pop()  # it is not there itself
                    ring.heads = [i for i in ring.heads if i < len(ring.nodes)]
                break
            node = word & ~_FLAGS
            whole = node == start
            if word & _FLAGS in (_HEAD, _UPDATE):
                ring.heads.append(0 if whole else len(ring.nodes))
            if whole:
                return ring
            if len(ring.nodes) >= self._limit:
                break
            ring.nodes.append(node)
        ring.broken = len(ring.nodes)
        self._go_back(start, ring)
        return ring

    def _go_back(self, start: int, ring: _Ring) -> None:
        """Add what is before the first member, as far as it can be reached from there."""
        memory = self._kernel.memory
        back, shift = self._prev - self._list, self._next - self._list
        seen = set(ring.nodes)
        found: list[int] = []
        flagged: set[int] = set()
        node = start
        while len(seen) < self._limit:
            try:
                node = memory.u64(node + back) & ~_FLAGS
                word = memory.u64(node + shift)
            except SourceError:
                break
            if node in seen:
                break
            if word & _FLAGS in (_HEAD, _UPDATE):
                flagged.add(word & ~_FLAGS)
            seen.add(node)
            found.append(node)
        first = len(ring.nodes)
        ring.nodes.extend(reversed(found))
        ring.heads += [i for i in (*range(first, len(ring.nodes)), 0) if ring.nodes[i] in flagged]


def _ring_order(
    kernel: Kernel, ring: _Ring, pages: array[int], layout: Layout, head_page: int
) -> tuple[list[int], str]:
    """The numbers of the members from the oldest on, and how that was found."""
    count = len(ring.nodes)
    heads = sorted(set(ring.heads))
    if len(heads) == 1:
        return [*range(heads[0], count), *range(heads[0])], "flag"
    if ring.broken is None and head_page in ring.nodes:
        first = ring.nodes.index(head_page)
        return [*range(first, count), *range(first)], "field"

    def stamp(number: int) -> int:
        try:
            return kernel.memory.u64(pages[number] + layout.stamp)
        except SourceError:
            return 0

    return sorted(range(count), key=stamp), "time"


def _counters(buffer: Struct) -> dict[str, int]:
    """The counts of ``per_cpu/cpuN/stats`` and what it works them out from, by name."""
    names = (
        "entries", "overrun", "commit_overrun", "dropped_events", "read", "entries_bytes",
        "read_bytes", "write_stamp",
    )  # fmt: skip
    return {name: buffer.get(name) or 0 for name in names}


def _reader(kernel: Kernel, buffer: Struct, cpu: int) -> _Reader | None:
    try:
        page = kernel.struct("buffer_page", buffer["reader_page"])
        return _Reader(page["page"], page["read"], buffer["read_stamp"])
    except SourceError as error:
        kernel.notes.missing("reader pages", f"cpu {cpu}", error)
        return None


def _start(kernel: Kernel, buffer: Struct, shift: int) -> int:
    """A member of the ring that can be read: ``pages``, or another one that is pointed to."""
    wanted = buffer["pages"]
    others = (buffer[name] + shift for name in ("head_page", "commit_page", "tail_page"))
    reader = buffer["reader_page"] + shift
    for node in (wanted, *others):
        try:
            kernel.memory.u64(node - shift)
        except SourceError as error:
            kernel.notes.missing("members of ring buffers", f"{node:#x}", error)
            continue
        if node != reader:
            return node
    return wanted


def read_ring(kernel: Kernel, buffer: Struct, size: int, layout: Layout) -> CpuRing:
    """The ring of a ``struct ring_buffer_per_cpu`` with sub-buffers of ``size`` bytes.

    Raises :class:`~tracekit.errors.SourceError` where even its description is not there.
    """
    cpu, nr_pages = buffer["cpu"], buffer["nr_pages"]
    limit = max(1, min(nr_pages, _MAX_PAGES))
    places = [kernel.place("buffer_page", name) for name in ("list", "page")]
    if None in places:
        raise NoMember("the kernel's BTF has no struct buffer_page")
    shift, page_at = (place.offset for place in places if place)
    ring = _Walker(kernel, limit).ring(_start(kernel, buffer, shift))
    pages = array("Q")
    for node in ring.nodes:  # each was read a moment ago
        pages.append(kernel.memory.u64(node - shift + page_at))
    head_page, commit = buffer["head_page"] + shift, buffer["commit_page"] + shift
    order, how = _ring_order(kernel, ring, pages, layout, head_page)
    stale = how == "flag" and ring.nodes[order[0]] != head_page
    caught_up = commit - shift == buffer["reader_page"]
    if caught_up:
        order = []
    elif commit in ring.nodes:
        order = order[: order.index(ring.nodes.index(commit)) + 1]
    return CpuRing(
        cpu, size, nr_pages, _counters(buffer), _reader(kernel, buffer, cpu),
        array("Q", [pages[number] for number in order]), max(0, limit - len(pages)), how, stale,
        caught_up,
    )  # fmt: skip
