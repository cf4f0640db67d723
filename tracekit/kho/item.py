"""What is shown of KHO's data: a tree of labels and values, for the command and the interface.

The texts are printable and of bounded length, one line each but for notes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass  # not of tracekit.frozen: a class is derived from Item
from itertools import islice

from tracekit.text import printable

__all__ = ["Item", "item", "one_line", "range_text", "size_text", "unreadable"]

_LONGEST = 200  # characters of a text
_MOST = 256  # children that are shown


@dataclass(frozen=True, slots=True)
class Item:
    """A node: its label, its value, a note on it, and the nodes below it.

    ``amiss``: something in it could not be read or is invalid. ``closed``: what is below it is
    shown when it is asked for.
    """

    label: str
    value: str = ""
    note: str = ""
    children: tuple[Item, ...] = ()
    amiss: bool = False
    closed: bool = False


def size_text(size: int) -> str:
    """``73 bytes``, ``4 MiB``, ``1.5 GiB``."""
    for unit, bits in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << bits:
            return f"{size / (1 << bits):.4g} {unit}"
    return f"{size} byte{'' if size == 1 else 's'}"


def one_line(text: object) -> str:
    """One line of bounded length without control characters."""
    whole = printable(str(text)[: _LONGEST + 1]).replace("\n", "\\n").replace("\t", "\\t")
    return whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST]}…"


def item(
    label: object,
    value: object = "",
    note: str = "",
    children: Iterable[Item] = (),
    amiss: bool = False,
    closed: bool = False,
) -> Item:
    """An item, with texts made printable and the children cut to a number that can be shown."""
    shown = tuple(islice(children, _MOST + 1))
    if len(shown) > _MOST:
        shown = (*shown[:_MOST], Item("…", f"more than {_MOST}: the rest is not shown"))
    return Item(one_line(label), one_line(value), printable(note), shown, amiss, closed)


def unreadable(label: object, error: Exception | str) -> Item:
    """An item of which nothing can be told but why."""
    return item(label, "cannot be read", str(error), amiss=True)


def range_text(address: object, size: object) -> str:
    """``0x1000-0x2000, 4 KiB``."""
    if not (isinstance(address, int) and isinstance(size, int)) or address >> 64 or size >> 64:
        return "unknown"
    return f"{address:#x}-{address + size:#x}, {size_text(size)}"
