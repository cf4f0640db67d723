"""A ring buffer in memory: its pages in reading order.

See ``kernel/trace/ring_buffer.c``. The ring has no end and no first page: ``pages`` points to some
member. Two bits of ``list.next`` are flags (``RB_PAGE_HEAD``, ``RB_PAGE_UPDATE``): the page after
that one is the head, the oldest. ``head_page`` is brought up to date by readers alone. The reader
page lies outside the ring and is older than all of it; where it is the commit page too, the ring
holds nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tracekit.errors import SourceError
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
class _Page:
    """A page to be read: its data's address, and what of it a reader had consumed."""

    address: int
    read: int = 0
    stamp: int = 0


@dataclass(frozen=True, slots=True)
class CpuRing:
    """One CPU's ring.

    ``lost`` counts pages whose description is not in memory. ``head`` says how the oldest page was
    found: ``flag``, ``field``, or ``time`` where neither is there.
    """

    cpu: int
    subbuf_size: int
    nr_pages: int
    counters: dict[str, int]
    pages: tuple[_Page, ...]
    lost: int
    head: str
    stale_head: bool
    caught_up: bool

    @property
    def entries_left(self) -> int:
        """Events that the kernel counts in it."""
        c = self.counters
        return c["entries"] - c["overrun"] - c["read"]

    def count(self, kernel: Kernel, layout: Layout) -> int:
        """How many pages :meth:`data` gives."""
        return sum(self._counts(kernel, layout, page) for page in self.pages)

    def _counts(self, kernel: Kernel, layout: Layout, page: _Page) -> bool:
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
        for page in self.pages:
            data = _page_data(kernel, page, self.subbuf_size, self.cpu)
            cut = _standing_alone(data, page, layout)
            if cut is not None:
                yield cut


def _page_data(kernel: Kernel, page: _Page, size: int, cpu: int) -> bytes:
    try:
        return kernel.memory.read(page.address, size)
    except SourceError as error:
        kernel.notes.missing("pages of trace buffers", f"cpu {cpu} at {page.address:#x}", error)
    parts = []
    for offset in range(0, size, PAGE):
        try:
            parts.append(kernel.memory.read(page.address + offset, PAGE))
        except SourceError:
            parts.append(filler(offset, PAGE))
    return b"".join(parts)


def _commit(data: bytes, layout: Layout) -> int:
    return int.from_bytes(data[layout.commit : layout.commit + layout.commit_size], "little")


def _standing_alone(data: bytes, page: _Page, layout: Layout) -> bytes | None:
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


@dataclass(frozen=True, slots=True)
class _Ring:
    """The ring's members from ``pages`` on; those from ``broken`` on were found backwards."""

    nodes: list[int]
    flags: dict[int, int]  # node -> the flags of the pointer to it
    broken: int | None


class _Walker:
    def __init__(self, kernel: Kernel, limit: int) -> None:
        places = [kernel.place("buffer_page", n) for n in ("list.next", "list.prev", "list")]
        if None in places:
            raise NoMember("the kernel's BTF has no struct buffer_page")
        self._next, self._prev, self._list = (place.offset for place in places if place)
        self._kernel = kernel
        self._limit = limit

    def ring(self, start: int) -> _Ring:
        """All members; ``start`` is the address of one's list head."""
        memory, shift = self._kernel.memory, self._list
        nodes, flags = [start], dict[int, int]()
        seen = {start}
        node = start
        whole = False
        while len(nodes) <= self._limit:
            try:
                word = memory.u64(node - shift + self._next)
            except SourceError as error:
                self._kernel.notes.missing("members of ring buffers", f"{node:#x}", error)
                if node != start:
                    nodes.pop()  # it is not there itself
                break
            node = word & ~_FLAGS
            flags[node] = word & _FLAGS
            if node == start:
                whole = True
                break
            if node in seen:
                break
            seen.add(node)
            nodes.append(node)
        if whole:
            return _Ring(nodes, flags, None)
        return _Ring(nodes + self._backwards(start, set(nodes)), flags, len(nodes))

    def _backwards(self, start: int, seen: set[int]) -> list[int]:
        """What is before the first member, as far as it can be reached from there, in order."""
        memory, shift = self._kernel.memory, self._list
        found: list[int] = []
        node = start
        while len(found) <= self._limit:
            try:
                node = memory.u64(node - shift + self._prev) & ~_FLAGS
                memory.u64(node - shift + self._next)
            except SourceError:
                break
            if node in seen:
                break
            seen.add(node)
            found.append(node)
        return found[::-1]


def _ring_order(
    kernel: Kernel, ring: _Ring, layout: Layout, head_page: int, pages: dict[int, int]
) -> tuple[list[int], str]:
    """The members from the oldest on, and how that was found."""
    nodes = ring.nodes
    heads = [i for i, node in enumerate(nodes) if ring.flags.get(node, 0) in (_HEAD, _UPDATE)]
    if ring.broken is not None and ring.broken < len(nodes):
        # the pointer to the first member that was found backwards is that of a lost one
        heads = [i for i in heads if i != ring.broken]
    if len(heads) == 1:
        return nodes[heads[0] :] + nodes[: heads[0]], "flag"
    if ring.broken is None and head_page in nodes:
        first = nodes.index(head_page)
        return nodes[first:] + nodes[:first], "field"

    def stamp(node: int) -> int:
        try:
            return kernel.memory.u64(pages[node] + layout.stamp)
        except SourceError:
            return 0

    return sorted(nodes, key=stamp), "time"


def _counters(buffer: Struct) -> dict[str, int]:
    """The counts of ``per_cpu/cpuN/stats`` and what it works them out from, by name."""
    names = (
        "entries", "overrun", "commit_overrun", "dropped_events", "read", "entries_bytes",
        "read_bytes", "write_stamp",
    )  # fmt: skip
    return {name: buffer.get(name) or 0 for name in names}


def read_ring(kernel: Kernel, buffer: Struct, size: int, layout: Layout) -> CpuRing:
    """The ring of a ``struct ring_buffer_per_cpu`` with sub-buffers of ``size`` bytes.

    Raises :class:`~tracekit.errors.SourceError` where even its description is not there.
    """
    cpu, nr_pages = buffer["cpu"], buffer["nr_pages"]
    limit = min(nr_pages, _MAX_PAGES)
    walker = _Walker(kernel, limit)
    reader, commit = buffer["reader_page"], buffer["commit_page"]
    list_at = kernel.place("buffer_page", "list")
    shift = list_at.offset if list_at else 0
    ring = walker.ring(buffer["pages"])
    pages: dict[int, int] = {}
    for node in ring.nodes:
        try:
            pages[node] = kernel.struct("buffer_page", node - shift)["page"]
        except SourceError as error:
            kernel.notes.missing("members of ring buffers", f"{node:#x}", error)
    ring = replace(ring, nodes=[node for node in ring.nodes if node in pages])
    head_page = buffer["head_page"] + shift
    order, how = _ring_order(kernel, ring, layout, head_page, pages)
    stale = how == "flag" and bool(order) and order[0] != head_page
    wanted: list[_Page] = []
    caught_up = commit == reader
    try:
        page = kernel.struct("buffer_page", reader)
        wanted.append(_Page(page["page"], page["read"], buffer["read_stamp"]))
    except SourceError as error:
        kernel.notes.missing("reader pages", f"cpu {cpu}", error)
    if not caught_up:
        last = commit + shift
        upto = order[: order.index(last) + 1] if last in pages else order
        wanted += [_Page(pages[node]) for node in upto]
    return CpuRing(
        cpu, size, nr_pages, _counters(buffer), tuple(wanted), max(0, limit - len(pages)), how,
        stale, caught_up,
    )  # fmt: skip
