"""What KHO hands over: LUO's lists, its handlers' data, the list of preserved memory."""

from __future__ import annotations

from contextlib import suppress

from tracekit.errors import ParseError, SourceError
from tracekit.kho.blobs import blob_items
from tracekit.kho.handlers import describe_data
from tracekit.kho.item import Item
from tracekit.kho.memory import PAGE, nowhere, saved_pages
from tracekit.kho.picture import draw, parse_iomem
from tracekit.kho.preserved import walk_bitmaps, walk_radix
from tracekit.kho.preserved_sum import sum_map
from tracekit.kho.scratch import parse_meminfo, parse_scratch, scratch_parameter
from tracekit.kho.token_map import parse_token_map

_HANDLERS = ("memfd-v1", "memfd-v2", "memfd", "guest_memfd_luo_v1", "pci-v2", "vfio-pci-v2", "x")


def _count(items: tuple[Item, ...] | list[Item]) -> int:
    return sum(1 + _count(item.children) for item in items)


def _memory(data: bytes, address: int, size: int) -> bytes:
    """Memory in which ``data`` is everywhere: page n begins at its byte 16 * n."""
    if size > 1 << 20 or not data:
        raise SourceError("nothing there")
    start = address // PAGE * 16 % len(data) + address % PAGE % len(data)
    piece = (data[start:] + data)[: len(data)]
    return (piece * (size // len(piece) + 1))[:size]


def luo(data: bytes) -> None:
    """The blob, with lists that are made of the same bytes."""
    for read in (nowhere, lambda address, size: _memory(data, address, size)):
        assert _count(blob_items("LUO", data, read)) < 1 << 20
    for name in ("ftrace", "anything"):
        assert blob_items(name, data, nowhere)


def handlers(data: bytes) -> None:
    """A handler's data; and the map of systemd, which is such a file's contents."""
    for name in _HANDLERS:
        assert describe_data(name, 0, lambda address, size: _memory(data, address, size)).kind
    with suppress(ParseError):
        assert all(file.token is None or file.token >= 0 for file in parse_token_map(data))


def kept_memory(data: bytes) -> None:
    """A map of preserved memory, in either form, in pages that were saved.

    Raises :class:`~tracekit.errors.ParseError`.
    """
    read = saved_pages(data, "fuzz")
    for walk, form in ((walk_radix, "radix"), (walk_bitmaps, "bitmaps")):
        found = sum_map(walk(read, 0x1000), form)
        assert sum(found.density.cells.values()) == found.bytes
        assert len(draw([], found.density).rows) <= 96


def scratch(data: bytes) -> None:
    """Texts about memory. Raises :class:`~tracekit.errors.ParseError`."""
    text = data.decode("utf-8", "backslashreplace")
    draw(parse_iomem(text), None)
    parse_meminfo(data)
    scratch_parameter(text)
    half = len(data) // 2
    assert all(area.end <= 1 << 64 for area in parse_scratch(data[:half], data[half:]))
