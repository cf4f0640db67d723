"""Device trees, bytes that nobody knows, and remarks, as items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tracekit.errors import Diagnostic
from tracekit.kho.fdt import Node
from tracekit.kho.item import Item, item, size_text

__all__ = ["remark_items", "tree_items", "unknown_items"]

_ALL = 4096  # nodes and properties of a device tree that are shown
_HEAD = 64  # bytes of a property that are shown
_ROW, _ROWS = 16, 16  # of a hex dump
_TEXT = 1 << 16  # bytes that may be a text


def _value(raw: bytes) -> str:
    """A property: strings, a number (native-endian, as KHO writes them), or bytes."""
    texts = raw[:-1].split(b"\0") if len(raw) <= _TEXT and raw.endswith(b"\0") else [b""]
    if all(t and t.isascii() and t.decode().isprintable() for t in texts):
        return ", ".join(f'"{t.decode()}"' for t in texts[:8])
    if len(raw) in (4, 8):
        return f"{int.from_bytes(raw, 'little'):#x}"
    return f"{size_text(len(raw))}: {raw[:_HEAD].hex(' ')}" if raw else "yes"


def _nodes(node: Node, budget: list[int]) -> Iterator[Item]:
    for name, raw in node.properties.items():
        budget[0] -= 1
        if budget[0] >= 0:
            yield item(name, _value(raw))
    for child in node.children:
        budget[0] -= 1
        if budget[0] >= 0:
            yield item(child.name or "/", children=_nodes(child, budget))


def tree_items(node: Node) -> Iterator[Item]:
    """A device tree's properties and nodes; the parser bounds its depth."""
    return _nodes(node, [_ALL])


def unknown_items(data: bytes) -> Iterator[Item]:
    """Bytes with their offsets: the first of them."""
    yield item("size", size_text(len(data)))
    for offset in range(0, min(len(data), _ROW * _ROWS), _ROW):
        row = data[offset : offset + _ROW]
        text = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        yield item(f"{offset:04x}", f"{row.hex(' '):{3 * _ROW - 1}}  {text}")
    if len(data) > _ROW * _ROWS:
        yield item("…", f"{size_text(len(data) - _ROW * _ROWS)} more")


def remark_items(remarks: Sequence[Diagnostic]) -> Iterator[Item]:
    """Remarks on the data, with what they are about."""
    for one in remarks:
        yield item(one.code, one.where, one.message, amiss=one.severity != "info")
