"""BTF made by hand, and small BTF cut out of a kernel's, to test the reader with.

``python -m tests.support.btf_writer VMLINUX_BTF OUTPUT`` made ``data/btf-7.2.13.bin``.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence, Set
from pathlib import Path

__all__ = ["FUNCTIONS", "STRUCTS", "Writer", "cut"]

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST = range(1, 11)
RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(11, 20)
_MEMBERS = (STRUCT, UNION)
_REFERENCES = (PTR, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, VAR, TYPE_TAG)

#: What the golden file was cut for.
STRUCTS = (
    "device", "device_driver", "bus_type", "pci_dev", "kimage", "kexec_segment", "dentry",
    "luo_session", "page", "file", "path", "inode", "super_block",
)  # fmt: skip
FUNCTIONS = (
    "pci_device_shutdown", "platform_shutdown", "virtio_dev_shutdown", "serio_shutdown",
    "pnp_device_shutdown", "auxiliary_bus_shutdown", "dev_shutdown", "device_shutdown",
    "kho_add_subtree", "kimage_load_segment",
)  # fmt: skip


class Writer:
    """Types are numbered from 1 in the order they are added."""

    def __init__(self) -> None:
        self._types: list[bytes] = []
        self._strings = bytearray(b"\0")

    def text(self, name: str) -> int:
        if not name:
            return 0
        self._strings += name.encode() + b"\0"
        return len(self._strings) - len(name.encode()) - 1

    def add(
        self, kind: int, name: str, size: int, rest: bytes = b"", vlen: int = 0, flag: bool = False
    ) -> int:
        info = flag << 31 | kind << 24 | vlen
        self._types.append(struct.pack("<III", self.text(name), info, size) + rest)
        return len(self._types)

    def members(self, kind: int, name: str, size: int, *members: tuple[str, int, int, int]) -> int:
        """A struct or union; a member is name, type, bit offset, bit field width."""
        flag = any(width for *_, width in members)
        rest = b"".join(
            struct.pack("<III", self.text(label), target, width << 24 | bits)
            for label, target, bits, width in members
        )
        return self.add(kind, name, size, rest, len(members), flag)

    def function(self, name: str, returns: int, *parameters: tuple[str, int]) -> int:
        rest = b"".join(struct.pack("<II", self.text(n), t) for n, t in parameters)
        return self.add(FUNC, name, self.add(FUNC_PROTO, "", returns, rest, len(parameters)))

    def bytes(self) -> bytes:
        types, strings = b"".join(self._types), bytes(self._strings)
        header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
        return header + types + strings


def _sizes(kind: int, vlen: int) -> int:
    each = {STRUCT: 12, UNION: 12, ENUM: 8, FUNC_PROTO: 8, DATASEC: 12, ENUM64: 12}
    return {INT: 4, ARRAY: 12, VAR: 4, DECL_TAG: 4}.get(kind, 0) + each.get(kind, 0) * vlen


class _Kernel:
    """The types of a kernel's BTF, by number."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        header, type_off, type_len, str_off, _ = struct.unpack_from("<5I", data, 4)
        self._strings = data[header + str_off :]
        self._at: list[int] = [0]
        pos = header + type_off
        while pos < header + type_off + type_len:
            self._at.append(pos)
            _, info, _ = struct.unpack_from("<III", data, pos)
            pos += 12 + _sizes(info >> 24 & 31, info & 0xFFFF)

    def __len__(self) -> int:
        return len(self._at)

    def text(self, offset: int) -> str:
        return self._strings[offset : self._strings.index(b"\0", offset)].decode()

    def read(self, number: int) -> tuple[str, int, int, int, bool, bytes]:
        """Name, kind, vlen, size or type, flag, and what follows them."""
        at = self._at[number]
        name, info, size = struct.unpack_from("<III", self._data, at)
        kind, vlen = info >> 24 & 31, info & 0xFFFF
        rest = self._data[at + 12 : at + 12 + _sizes(kind, vlen)]
        return self.text(name), kind, vlen, size, bool(info >> 31), rest

    def behind(self, number: int) -> int:
        """The struct behind a pointer's qualifiers."""
        while number and self.read(number)[1] in (CONST, VOLATILE, TYPEDEF):
            number = self.read(number)[3]
        return number


def _needed(kernel: _Kernel, wanted: Sequence[int], kept: Set[int]) -> list[int]:
    """``wanted`` and what is in them by value; what pointers lead to where it is ``kept``."""
    order: list[int] = []

    def visit(number: int) -> None:
        if number == 0 or number in order:
            return
        order.append(number)
        _, kind, vlen, size, _, rest = kernel.read(number)
        if kind == PTR:
            if kernel.behind(size) in kept:
                visit(size)
        elif kind in _REFERENCES:
            visit(size)
        elif kind == ARRAY:
            visit(struct.unpack_from("<I", rest)[0])
        elif kind in _MEMBERS:
            for i in range(vlen):
                visit(struct.unpack_from("<I", rest, 12 * i + 4)[0])
        elif kind == FUNC_PROTO:
            visit(size)
            for i in range(vlen):
                visit(struct.unpack_from("<I", rest, 8 * i + 4)[0])

    for number in wanted:
        visit(number)
    return order


def _write(kernel: _Kernel, order: Sequence[int]) -> bytes:
    """These types, numbered anew; those that are not among them become void."""
    new = {number: i for i, number in enumerate(order, 1)}
    writer = Writer()
    for number in order:
        name, kind, vlen, size, flag, rest = kernel.read(number)
        if kind in (*_REFERENCES, FUNC_PROTO):
            size = new.get(size, 0)
        width = {FUNC_PROTO: 2}.get(kind, 3)
        words = list(struct.unpack(f"<{len(rest) // 4}I", rest))
        if kind in (*_MEMBERS, FUNC_PROTO):
            for i in range(0, len(words), width):
                words[i] = writer.text(kernel.text(words[i]))
                words[i + 1] = new.get(words[i + 1], 0)
        elif kind == ENUM:
            words[::2] = [writer.text(kernel.text(word)) for word in words[::2]]
        elif kind == ENUM64:
            words[::3] = [writer.text(kernel.text(word)) for word in words[::3]]
        elif kind == ARRAY:
            words[:2] = [new.get(word, 0) for word in words[:2]]
        writer.add(kind, name, size, struct.pack(f"<{len(words)}I", *words), vlen, flag)
    return writer.bytes()


def cut(data: bytes, structs: tuple[str, ...], functions: tuple[str, ...]) -> bytes:
    """The named structs with all that is in them by value, and functions.

    What they point to is kept where it is one of ``structs``, else it becomes void.
    """
    kernel = _Kernel(data)
    named = {STRUCT: structs, FUNC: functions}
    kinds = {number: kernel.read(number)[:2] for number in range(1, len(kernel))}
    wanted = [number for number, (name, kind) in kinds.items() if name in named.get(kind, ())]
    kept = {number for number in wanted if kinds[number][1] == STRUCT}
    return _write(kernel, _needed(kernel, wanted, kept))


if __name__ == "__main__":
    source, target = sys.argv[1:]
    Path(target).write_bytes(cut(Path(source).read_bytes(), STRUCTS, FUNCTIONS))
