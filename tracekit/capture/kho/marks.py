"""What arrived of a map that the new kernel uses up: the pages that it marked as handed over.

While it boots, the kernel sets ``page->private`` of each preserved block's first page to a magic
and the block's order, and ``kho_restore_page()`` clears it when somebody takes the block up
(``union kho_page_info``, kernel/liveupdate/kexec_handover.c). Where to look is known from the map
that the old kernel's snapshot saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tracekit.capture.kho.kernel_view import KernelView
from tracekit.errors import SourceError
from tracekit.kho.preserved import Leaf
from tracekit.kho.preserved_sum import PreservedMap, sum_map

__all__ = ["MARKS", "marked_map"]

#: The form of the map that this makes.
MARKS = "marks"
_MAGIC = 0x4B484F50  # KHO_PAGE_MAGIC
_MOST_ORDER = 51
_AT_ONCE = 1024  # pages that are looked at in one read
_MOST_PAGES = 1 << 20  # struct pages that are read: 4 GiB of the smallest blocks
_WORD = 8


class _Pages:
    """The kernel's ``struct page`` of each page of physical memory."""

    def __init__(self, view: KernelView, page: int) -> None:
        self._view, self._page = view, page
        self._base = view.number(view.symbol("vmemmap_base"))
        self._private = view.offset("page", "private")
        size = view.btf.size("page") if view.btf is not None else None
        if not size or size % _WORD or self._private % _WORD:
            raise SourceError("the kernel's types do not tell what struct page is")
        self._size = size
        self.left = _MOST_PAGES

    def private(self, start: int, count: int) -> list[int]:
        """``private`` of so many pages from an address on."""
        self.left -= count
        at = self._base + start // self._page * self._size
        words = memoryview(self._view.memory.read(at, count * self._size)).cast("Q")
        return words[self._private // _WORD :: self._size // _WORD].tolist()

    def marked(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """(address, order) of the marked blocks that lie in a range."""
        while start < end and self.left > 0:
            room = (end - start) // self._page
            words = self.private(start, min(room, _AT_ONCE) or 1)
            number = 0
            while number < len(words):
                order = words[number] & 0xFFFFFFFF
                fits = order <= _MOST_ORDER and number + (1 << order) <= room
                if words[number] >> 32 != _MAGIC or not fits:
                    number += 1
                    continue
                yield start + number * self._page, order
                number += 1 << order
            start += number * self._page


def _leaves(blocks: Iterable[tuple[int, int]], page: int) -> Iterator[Leaf]:
    """Neighbouring blocks of one order as one bitmap."""
    first = count = order = 0
    for at, of in blocks:
        if count and (of != order or at != first + count * (page << order)):
            yield _leaf(first, count, order)
            count = 0
        if not count:
            first, order = at, of
        count += 1
    if count:
        yield _leaf(first, count, order)


def _leaf(first: int, count: int, order: int) -> Leaf:
    return Leaf(order, first, ((1 << count) - 1).to_bytes(-(-count // 8), "little"))


def marked_map(view: KernelView, handed_on: PreservedMap) -> PreservedMap | None:
    """The blocks of the old kernel's map that the running kernel has marked.

    None where that map is not known range by range. Raises
    :class:`~tracekit.errors.SourceError` where the kernel's memory cannot tell.
    """
    if handed_on.ranges_cut:
        return None
    pages, notes = _Pages(view, handed_on.page), list[str]()

    def blocks() -> Iterator[tuple[int, int]]:
        for start, end in handed_on.ranges:
            try:
                yield from pages.marked(start, end)
            except SourceError as error:
                if not notes:
                    notes.append(f"the pages from {start:#x} on: {error}")
        if pages.left <= 0:
            notes.append(f"only the first {_MOST_PAGES:,} pages were looked at")

    shift = handed_on.page.bit_length() - 1
    return sum_map(_leaves(blocks(), handed_on.page), MARKS, notes, shift)
