"""Writes what the Live Update Orchestrator hands over, in every version, from the ABI headers.

``include/linux/kho/abi/{luo,memfd,block}.h`` of 6.19, 7.1, 7.2 and of later trees.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from tests.support.fdt_writer import Tree, text, u64, write_fdt
from tests.support.kho.fake_memory import PAGE, FakeMemory

File = tuple[str, int, int]  # handler, its data, token
Sessions = Mapping[str, Sequence[File]]


def _files(files: Sequence[File]) -> list[bytes]:
    return [struct.pack("<48sQQ", name.encode(), data, token) for name, data, token in files]


def _blocks(memory: FakeMemory, entries: Sequence[bytes], per_block: int) -> int:
    following = 0
    starts = range(0, len(entries), per_block)
    for start in reversed(starts):
        part = entries[start : start + per_block]
        data = struct.pack("<QQ", following, len(part)) + b"".join(part)
        assert len(data) <= PAGE
        following = memory.alloc(data)
    return following


def sessions(memory: FakeMemory, wanted: Sessions, layout: int, per_block: int = 3) -> int:
    """The address of the sessions: blocks of sessions from layout 4 on, of files from 5 on."""
    entries = []
    for name, files in wanted.items():
        if layout == 1:
            entries.append(struct.pack("<64s", name.encode()))
            continue
        packed = _files(files)
        place = 0
        if packed:
            place = (
                _blocks(memory, packed, per_block)
                if layout >= 5
                else memory.alloc(b"".join(packed))
            )
        entries.append(struct.pack("<64sQQ", name.encode(), place, len(files)))
    if layout >= 4:
        return _blocks(memory, entries, per_block)
    return memory.alloc(struct.pack("<Q", len(entries)) + b"".join(entries))


def flbs(memory: FakeMemory, wanted: Sequence[File]) -> int:
    """The address of the shared objects."""
    packed = [struct.pack("<48sQQ", n.encode(), d, c) for n, d, c in wanted]
    return memory.alloc(struct.pack("<QQ", 1, len(packed)) + b"".join(packed))


def luo_tree(updates: int, at: int, session: str = "luo-session-v2", flb: int = 0) -> bytes:
    """``luo-v1``: 6.19 to 7.1."""
    nodes = [
        Tree("luo-session", {"compatible": text(session), "luo-session-header": u64(at)}),
        Tree("luo-flb", {"compatible": text("luo-flb-v1"), "luo-flb-header": u64(flb)}),
    ]
    root = {"compatible": text("luo-v1"), "liveupdate-number": u64(updates)}
    return write_fdt(Tree("", root, nodes))


def luo_struct(updates: int, at: int, flb: int = 0, compatible: bytes = b"luo-v5") -> bytes:
    """``luo-v3`` and later."""
    size = (len(compatible) + 1 + 7) // 8 * 8
    return compatible.ljust(size, b"\0") + struct.pack("<QQQ", updates, at, flb)


def luo_features(updates: int, at: int, flb: int = 0, active: int = 7) -> bytes:
    """The form with feature bits."""
    return struct.pack("<3Q104x3Q", 0b111, 0b011, active, updates, at, flb)


def vmalloc(memory: FakeMemory, data: bytes) -> bytes:
    """``struct kho_vmalloc`` of an array."""
    pages = [memory.alloc(data[at : at + PAGE]) for at in range(0, len(data), PAGE)]
    following = 0
    for start in reversed(range(0, len(pages), 511)):
        part = pages[start : start + 511]
        following = memory.alloc(struct.pack(f"<Q{len(part)}Q", following, *part))
    return struct.pack("<QIHH", following, len(pages), 0, 0)


def folios(memory: FakeMemory, contents: bytes) -> list[tuple[int, int, int]]:
    """A file's bytes in single pages: (address, flags, index) of each."""
    return [
        (memory.alloc(contents[at : at + PAGE]), 3, at // PAGE)
        for at in range(0, len(contents), PAGE)
    ]


def memfd(memory: FakeMemory, contents: bytes, version: int = 2, seals: int = 0) -> int:
    """The address of ``struct memfd_luo_ser``; version 3 has the feature header."""
    packed = b"".join(
        struct.pack("<QQ", address // PAGE | flags << 52, index)
        for address, flags, index in folios(memory, contents)
    )
    head = struct.pack("<QQ", 7, len(contents))
    if version > 1:
        head += struct.pack("<II", seals, 0)
    count = struct.pack("<Q", len(packed) // 16)
    features = struct.pack("<3Q104x", 1, 1, 1) if version == 3 else b""
    return memory.alloc(features + head + count + vmalloc(memory, packed))
