"""A writer of flattened device trees for tests, from the specification and not from the reader."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field


@dataclass
class Tree:
    """A node to write; ``name`` is '' for the root."""

    name: str = ""
    properties: dict[str, bytes] = field(default_factory=dict)
    children: list[Tree] = field(default_factory=list)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def write_fdt(root: Tree, version: int = 17) -> bytes:
    """The blob: header, empty reservation map, structure block, strings block."""
    strings = bytearray()

    def name_offset(name: str) -> int:
        raw = name.encode() + b"\0"
        if raw not in strings:
            strings.extend(raw)
        return strings.find(raw)

    def node(tree: Tree) -> bytes:
        out = struct.pack(">I", 1) + _padded(tree.name.encode() + b"\0")
        for name, value in tree.properties.items():
            out += struct.pack(">III", 3, len(value), name_offset(name)) + _padded(value)
        out += b"".join(node(child) for child in tree.children)
        return out + struct.pack(">I", 2)

    structure = node(root) + struct.pack(">I", 9)
    at_struct = 40 + 16
    at_strings = at_struct + len(structure)
    total = at_strings + len(strings)
    header = struct.pack(
        ">10I", 0xD00DFEED, total, at_struct, at_strings, 40, version, 16, 0, len(strings),
        len(structure),
    )  # fmt: skip
    return header + bytes(16) + structure + bytes(strings)


def text(value: str) -> bytes:
    """A string property's bytes."""
    return value.encode() + b"\0"


def u64(value: int) -> bytes:
    """A number as KHO writes it: native-endian."""
    return struct.pack("<Q", value)
