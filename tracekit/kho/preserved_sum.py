"""What a list of preserved memory comes to: pages by order, ranges, and how dense it is where.

A bitmap is taken as one large number, so that a map of a terabyte is summed in a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tracekit.frozen import dataclass, field
from tracekit.kho.preserved import Leaf

__all__ = ["Density", "PreservedMap", "Range", "preserved_from_dict", "sum_map"]

_MOST_RANGES = 1 << 16  # kept; what is more is counted only
_MOST_CELLS = 1 << 13
_FINEST = 1 << 21  # bytes of a cell
_ONES = re.compile("1+")
_TOP = 1 << 64

Range = tuple[int, int]  # first byte, first byte after it


@dataclass(slots=True)
class Density:
    """How many bytes of each cell of physical memory are preserved.

    ``cell``: bytes, a power of two that grows so that there are never too many cells.
    """

    cell: int = _FINEST
    cells: dict[int, int] = field(default_factory=dict)

    def _coarsen(self) -> None:
        self.cell *= 2
        coarse: dict[int, int] = {}
        for number, count in self.cells.items():
            coarse[number >> 1] = coarse.get(number >> 1, 0) + count
        self.cells = coarse

    def put(self, start: int, count: int) -> None:
        """``count`` bytes, all in the cell of address ``start``."""
        number = start // self.cell
        self.cells[number] = self.cells.get(number, 0) + count
        while len(self.cells) > _MOST_CELLS:
            self._coarsen()

    def add(self, start: int, end: int) -> None:
        """All bytes of a range."""
        while (end - start) // self.cell > _MOST_CELLS // 2:
            self._coarsen()
        while start < end:
            stop = min(end, start - start % self.cell + self.cell)
            self.put(start, stop - start)
            start = stop


@dataclass(frozen=True, slots=True)
class PreservedMap:
    """The sum of a map.

    ``form``: ``radix`` or ``bitmaps``; ``blocks``: order -> how many; ``ranges``: what is adjacent
    is one range, whatever its order; () with ``ranges_cut`` where there are too many; ``runs``:
    stretches of neighbouring blocks of one order; ``maps``: bitmaps that were read; ``notes``: what
    of it makes no sense or could not be read, in words. ``page``: bytes of a page.
    """

    form: str
    page: int
    blocks: Mapping[int, int]
    runs: int
    ranges: tuple[Range, ...]
    ranges_cut: bool
    density: Density
    maps: int
    notes: tuple[str, ...]

    @property
    def pages(self) -> int:
        """Of the smallest size."""
        return sum(count << order for order, count in self.blocks.items())

    @property
    def bytes(self) -> int:
        """All that is preserved."""
        return self.pages * self.page

    @property
    def largest(self) -> int:
        """Bytes of the largest range; 0 where that is not known."""
        return max((end - start for start, end in self.ranges), default=0)

    def holds(self, start: int, size: int) -> int | None:
        """How many bytes of a range are preserved; None where that is not known."""
        if self.ranges_cut:
            return None
        end = start + size
        return sum(max(0, min(end, b) - max(start, a)) for a, b in self.ranges)

    def as_dict(self, most_ranges: int | None = None) -> dict[str, Any]:
        """The JSON form: addresses and sizes in bytes; ``most_ranges`` of the ranges."""
        return {
            "form": self.form,
            "page_size": self.page,
            "pages": self.pages,
            "bytes": self.bytes,
            "blocks": {str(order): count for order, count in sorted(self.blocks.items())},
            "runs": self.runs,
            "ranges": [[a, b - a] for a, b in self.ranges[:most_ranges]],
            "range_count": None if self.ranges_cut else len(self.ranges),
            "largest": self.largest or None,
            "cell": self.density.cell,
            "cells": [[n * self.density.cell, c] for n, c in sorted(self.density.cells.items())],
            "bitmaps": self.maps,
            "notes": list(self.notes),
        }


def _number(value: object, limit: int = _TOP) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= limit:
        raise ValueError(f"{value!r:.40} is no number of bytes")
    return value


def preserved_from_dict(document: Mapping[str, Any]) -> PreservedMap:
    """The map whose :meth:`PreservedMap.as_dict` was saved.

    Raises :class:`ValueError`, :class:`TypeError` or :class:`KeyError` for anything else.
    """
    cell = max(_number(document["cell"]), 1)
    cells = {_number(a) // cell: _number(c) for a, c in document["cells"][: 2 * _MOST_CELLS]}
    ranges = tuple((_number(a), _number(a) + _number(n)) for a, n in document["ranges"])
    return PreservedMap(
        str(document["form"])[:40],
        max(_number(document["page_size"], 1 << 20), 1),
        {_number(int(o), 64): _number(count) for o, count in document["blocks"].items()},
        _number(document["runs"]),
        ranges[:_MOST_RANGES],
        document["range_count"] is None,
        Density(cell, cells),
        _number(document["bitmaps"]),
        tuple(str(note)[:400] for note in document["notes"][:100]),
    )


def _runs(value: int) -> Iterator[Range]:
    """(first, first after) of each run of bits that are set."""
    for match in _ONES.finditer(format(value, "b")[::-1]):
        yield match.span()


@dataclass(slots=True)
class _Sum:
    """A sum in the making."""

    page_shift: int
    blocks: dict[int, int] = field(default_factory=dict)
    runs: int = 0
    ranges: list[Range] = field(default_factory=list)
    cut: bool = False
    density: Density = field(default_factory=Density)
    last: tuple[int, int] = (-1, -1)  # order and end of the last block, if the last bit was set

    def add(self, leaf: Leaf) -> None:
        bits, order = leaf.bits, leaf.order
        shift = self.page_shift + order
        value = int.from_bytes(bits, "little")
        count = value.bit_count()
        if not count:
            return
        self.blocks[order] = self.blocks.get(order, 0) + count
        width = len(bits) * 8
        joined = value & 1 and self.last == (order, leaf.base)
        self.runs += (value & ~(value << 1)).bit_count() - bool(joined)
        self.last = (order, leaf.base + (width << shift)) if value >> width - 1 else (-1, -1)
        if count == width:
            self._range(leaf.base, leaf.base + (width << shift))
            self.density.add(leaf.base, leaf.base + (width << shift))
            return
        if not self.cut:
            for first, end in _runs(value):
                self._range(leaf.base + (first << shift), leaf.base + (end << shift))
        self._spread(leaf, value, count, shift)

    def _range(self, start: int, end: int) -> None:
        if self.ranges and self.ranges[-1][1] == start:
            start = self.ranges.pop()[0]
        self.ranges.append((start, end))
        if len(self.ranges) > _MOST_RANGES:
            self.cut, self.ranges = True, []

    def _spread(self, leaf: Leaf, value: int, count: int, shift: int) -> None:
        """Add a bitmap to the cells it stands for."""
        span = len(leaf.bits) * 8 << shift
        if self.density.cell >= span:
            self.density.put(leaf.base, count << shift)
            return
        step = (self.density.cell >> shift) // 8  # bytes of the bitmap to a cell
        if not step:
            for first, end in _runs(value):
                self.density.add(leaf.base + (first << shift), leaf.base + (end << shift))
            return
        for offset in range(0, len(leaf.bits), step):
            part = int.from_bytes(leaf.bits[offset : offset + step], "little").bit_count()
            if part:
                self.density.put(leaf.base + (offset * 8 << shift), part << shift)

    def merged(self) -> tuple[Range, ...]:
        out: list[Range] = []
        for start, end in sorted(self.ranges):
            if out and start <= out[-1][1]:
                out[-1] = out[-1][0], max(end, out[-1][1])
            else:
                out.append((start, end))
        return tuple(out)


def sum_map(
    leaves: Iterable[Leaf], form: str, notes: Iterable[str] = (), page_shift: int = 12
) -> PreservedMap:
    """Sum the bitmaps. ``notes`` is read when all leaves have been."""
    total, maps = _Sum(page_shift), 0
    for leaf in leaves:
        maps += 1
        total.add(leaf)
    return PreservedMap(
        form,
        1 << page_shift,
        total.blocks,
        total.runs,
        () if total.cut else total.merged(),
        total.cut,
        total.density,
        maps,
        tuple(notes),
    )
