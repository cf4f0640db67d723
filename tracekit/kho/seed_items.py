"""What is shown of the device tree of the first KHO patches: its trace buffers and its events."""

from __future__ import annotations

from collections.abc import Iterator

from tracekit.errors import Diagnostic, ParseError
from tracekit.kho.item import Item, item, size_text, unreadable
from tracekit.kho.seed import SeedArray, SeedTrace, parse_seed
from tracekit.kho.tree_items import remark_items

__all__ = ["seed_item"]

_LOST = (
    "The buffers of the first KHO patches (ftrace-v1): 'tracekit recover' decodes them with any "
    "saved formats. Not in the tree: the events of each CPU's reader page, formats, names, the "
    "clock, counters."
)


def _array(array: SeedArray) -> Item:
    cpus = [
        item(f"cpu {cpu.cpu}", f"{len(cpu.pages):,} pages of {size_text(cpu.subbuf_size)}")
        for cpu in array.cpus
    ]
    size = sum(len(cpu.pages) * cpu.subbuf_size for cpu in array.cpus)
    name = array.name or "global buffer"
    return item(name, f"{len(array.cpus)} CPUs, {size_text(size)}", children=cpus)


def _children(seed: SeedTrace) -> Iterator[Item]:
    yield from map(_array, seed.arrays)
    if seed.types:
        ids = sum(len(numbers) for numbers in seed.types.values())
        yield item("events", f"{ids + len(seed.fixed):,} ids, each known by a fingerprint of its "
                   "name and its fields' sizes")  # fmt: skip
    elif seed.names:
        yield item("events", f"{len(seed.names):,} ids, known by name alone")


def seed_item(label: str, data: bytes) -> Item:
    """The tree ``data``."""
    remarks: list[Diagnostic] = []
    try:
        seed = parse_seed(data, label, remarks.append)
    except ParseError as error:
        return unreadable(label, error)
    if seed is None:
        return item(label, "a tree without trace buffers")
    children = [*_children(seed), *remark_items(remarks)]
    return item(label, f"ftrace-v1, as in the patches {seed.version}", _LOST, children,
                amiss=bool(remarks))  # fmt: skip
