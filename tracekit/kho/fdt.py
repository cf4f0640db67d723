"""A bounds-checked reader of flattened device trees, the container KHO wraps its data in.

The container is big-endian (Devicetree Specification, chapter 5; the kernel's copy is
``scripts/dtc/libfdt``). Property values come back as raw bytes: KHO stores native-endian numbers
in them, so only the caller knows how to read one. The input is untrusted: nesting, the number of
nodes and properties and every name are bounded, every offset is checked, and whatever does not
fit raises :class:`~tracekit.errors.ParseError`.
"""

from __future__ import annotations

from collections.abc import Mapping

from tracekit.binary import Cursor
from tracekit.errors import ParseError
from tracekit.frozen import dataclass, field

__all__ = ["Node", "parse_fdt"]

_MAGIC = 0xD00DFEED
_BEGIN_NODE, _END_NODE, _PROP, _NOP, _END = 1, 2, 3, 4, 9
_FIRST_VERSION = 16  # the oldest with names the way they are read here
_HEADER_V16, _HEADER_V17 = 36, 40  # bytes; version 17 added size_dt_struct
_MAX_SIZE = 16 << 20  # bytes; the kernel's KHO trees are one page each
_MAX_DEPTH = 64
_MAX_NODES = 1 << 16
_MAX_PROPERTIES = 1 << 18
_MAX_NAME = 255  # bytes; the specification says 31, trees in the field are less strict


@dataclass(frozen=True, slots=True)
class Node:
    """One node: its name ('' for the root), its properties as raw bytes, its children in order."""

    name: str
    properties: Mapping[str, bytes]
    children: tuple[Node, ...] = ()

    def strings(self, name: str) -> tuple[str, ...]:
        """The property ``name`` as a list of NUL-terminated strings; () when it is absent."""
        value = self.properties.get(name, b"")
        parts = value.removesuffix(b"\0").split(b"\0") if value else []
        return tuple(part.decode("utf-8", "backslashreplace") for part in parts)


@dataclass(slots=True)
class _Open:
    """A node whose end has not been read yet."""

    name: str
    properties: dict[str, bytes] = field(default_factory=dict)
    children: list[Node] = field(default_factory=list)

    def close(self) -> Node:
        return Node(self.name, self.properties, tuple(self.children))


@dataclass(frozen=True, slots=True)
class _Blocks:
    """The two parts of the container, each a window that nothing can be read outside of."""

    structure: Cursor
    strings: memoryview


def _window(data: memoryview, offset: int, size: int, what: str, source: str) -> memoryview:
    if offset + size > len(data):
        raise ParseError(
            f"{source}: the {what} block at {offset:#x} ({size} bytes) leaves the tree "
            f"of {len(data)} bytes"
        )
    return data[offset : offset + size]


def _blocks(data: bytes, source: str) -> _Blocks:
    """Check the header (``struct fdt_header``) and cut out the structure and strings blocks."""
    head = Cursor(data, source, order=">")
    if (magic := head.u32("the magic number")) != _MAGIC:
        raise ParseError(f"{source}: not a flattened device tree: it starts with {magic:#010x}")
    total = head.u32("the total size")
    if not _HEADER_V16 <= total <= min(len(data), _MAX_SIZE):
        raise ParseError(
            f"{source}: the header says {total} bytes, but {len(data)} are there "
            f"(at most {_MAX_SIZE} are read)"
        )
    tree = memoryview(data)[:total]
    head = Cursor(tree, source, 8, ">")
    at_struct, at_strings = head.u32("off_dt_struct"), head.u32("off_dt_strings")
    head.u32("off_mem_rsvmap")
    version, compatible = head.u32("the version"), head.u32("last_comp_version")
    if version < _FIRST_VERSION or compatible > 17:
        raise ParseError(
            f"{source}: device tree version {version}, readable as {compatible}: "
            "16 and 17 are known"
        )
    head.u32("boot_cpuid_phys")
    size_strings = head.u32("size_dt_strings")
    size_struct = head.u32("size_dt_struct") if version >= 17 else max(0, total - at_struct)
    first = _HEADER_V17 if version >= 17 else _HEADER_V16
    if min(at_struct, at_strings) < first or at_struct % 4:
        raise ParseError(f"{source}: impossible block offsets {at_struct:#x}, {at_strings:#x}")
    structure = _window(tree, at_struct, size_struct, "structure", source)
    strings = _window(tree, at_strings, size_strings, "strings", source)
    return _Blocks(Cursor(structure, f"{source} (structure block)", order=">"), strings)


def _name_at(block: memoryview, offset: int, what: str, source: str) -> tuple[str, int]:
    """The NUL-terminated name at ``offset`` and the offset just after its NUL."""
    if not 0 <= offset < len(block):
        raise ParseError(f"{source}: {what} at {offset:#x} lies outside of its block")
    raw = bytes(block[offset : offset + _MAX_NAME + 1])
    end = raw.find(b"\0")
    if end < 0:
        raise ParseError(
            f"{source}: {what} at {offset:#x} does not end within {min(len(raw), _MAX_NAME)} bytes"
        )
    return raw[:end].decode("utf-8", "backslashreplace"), offset + end + 1


def _align(cursor: Cursor) -> None:
    cursor.offset = (cursor.offset + 3) & ~3


def _property(blocks: _Blocks, node: _Open, source: str) -> None:
    cursor = blocks.structure
    size, name_offset = cursor.u32("a property's size"), cursor.u32("a property's name offset")
    value = bytes(cursor.take(size, "a property's value"))
    name, _ = _name_at(blocks.strings, name_offset, "a property's name", source)
    node.properties.setdefault(name, value)  # libfdt finds the first of two, so does this
    _align(cursor)


def parse_fdt(data: bytes, source: str) -> Node:
    """The root node of the flattened tree ``data``; ``source`` names it in errors.

    Bytes after the header's total size are ignored, as libfdt does. Raises
    :class:`~tracekit.errors.ParseError`.
    """
    blocks = _blocks(data, source)
    cursor = blocks.structure
    stack: list[_Open] = []
    root: Node | None = None
    nodes = properties = 0
    while True:
        token = cursor.u32("a token")
        if token == _BEGIN_NODE:
            nodes += 1
            if nodes > _MAX_NODES or len(stack) >= _MAX_DEPTH or (root and not stack):
                raise cursor.fail(f"expected no more nodes ({nodes}, depth {len(stack)})")
            name, end = _name_at(cursor.data, cursor.offset, "a node's name", source)
            cursor.offset = end
            _align(cursor)
            stack.append(_Open(name))
        elif token == _END_NODE:
            if not stack:
                raise cursor.fail("expected a node before the end of one")
            closed = stack.pop().close()
            if stack:
                stack[-1].children.append(closed)
            else:
                root = closed
        elif token == _PROP:
            properties += 1
            if not stack or properties > _MAX_PROPERTIES:
                raise cursor.fail("expected no property here")
            _property(blocks, stack[-1], source)
        elif token == _END:
            break
        elif token != _NOP:
            raise cursor.fail(f"expected a token, found {token:#x}")
    if root is None or stack:
        raise ParseError(f"{source}: the tree ends {'inside of' if stack else 'without'} a node")
    return root
