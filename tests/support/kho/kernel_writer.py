"""A running kernel's memory and files, with KHO and LUO in use, for tests.

The lists of LUO are written as ``luo_session.c`` and ``luo_file.c`` of 7.2 keep them; offsets are
those that pahole prints of 7.2.13.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.support.btf_writer import INT, PTR, STRUCT, Writer
from tests.support.elf_core_writer import Segment, write_core
from tests.support.fdt_writer import Tree, text, u64, write_fdt
from tests.support.kho.fake_memory import FakeMemory
from tests.support.kho.luo_writer import File, Sessions, luo_struct, sessions
from tests.support.kho.map_writer import Block, radix

DIRECT = 0xFFFF888000000000  # what write_core() adds to a physical address
_STRUCTS: Mapping[str, Sequence[tuple[str, int]]] = {
    "luo_session_global": (("incoming", 0), ("outgoing", 128)),
    "luo_session_header": (("count", 0), ("list", 8), ("block_set", 56), ("active", 120)),
    "luo_session": (("name", 0), ("list", 64), ("retrieved", 80), ("file_set", 88)),
    "luo_file_set": (("files_list", 0), ("block_set", 16), ("count", 72)),
    "luo_file": (("fh", 0), ("serialized_data", 16), ("retrieve_status", 32), ("list", 64),
                 ("token", 80)),
    "liveupdate_file_handler": (("ops", 0), ("compatible", 8), ("list", 56)),
    "kho_block_set": (("head_pa", 24),),
    "kset": (("list", 0),),
    "kobject": (("name", 0), ("entry", 8)),
    "iommu_group": (("kobj", 16), ("id", 96), ("default_domain", 104), ("domain", 120)),
    "iommu_domain": (("type", 0), ("ops", 8)),
    "page": (("flags", 0), ("private", 40)),
}  # fmt: skip


def _btf() -> bytes:
    types = Writer()
    number = types.add(INT, "int", 4, struct.pack("<I", 32))
    types.add(PTR, "", number)
    made: dict[str, int] = {}
    for name in (
        "kho_block_set",
        "luo_file_set",
        *(_STRUCTS.keys() - {"kho_block_set", "luo_file_set"}),
    ):
        inner = {"block_set": "kho_block_set", "file_set": "luo_file_set"}
        members = [(m, made.get(inner.get(m, ""), number), at * 8, 0) for m, at in _STRUCTS[name]]
        made[name] = types.members(STRUCT, name, 64 if name == "page" else 256, *members)
    return types.bytes()


@dataclass
class KhoKernel:
    """``incoming`` came and was taken up; ``pending`` came and was not; ``outgoing`` is to go.

    A file's token is 1 more than retrieved ones: tokens in ``got`` are retrieved. ``groups``:
    number of an IOMMU group -> the type of the domain that it is attached to, on a list that ends
    where it began (``ring_of_groups``). ``marked``: the
    blocks whose pages the kernel marked as handed over, None where it has no ``struct page``.
    """

    blocks: Sequence[Block] = ((0x100, 0), (0x200, 9), (0x8000, 10))
    outgoing: Sessions = field(default_factory=dict)
    incoming: Sessions = field(default_factory=dict)
    pending: Sessions = field(default_factory=dict)
    retrieved: frozenset[str] = frozenset()
    got: frozenset[int] = frozenset()
    regions: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    groups: Mapping[int, int] = field(default_factory=dict)
    ring_of_groups: bool = True
    marked: Sequence[Block] | None = None
    memory: FakeMemory = field(default_factory=FakeMemory)

    def _list(self, head: int, entries: Sequence[int], offset: int) -> None:
        """Link structures at virtual addresses; the list_head is ``offset`` into each."""
        ring = [head, *(entry + offset for entry in entries), head]
        for here, following in pairwise(ring):
            self.memory.write(here - DIRECT, struct.pack("<Q", following))

    def _file(self, handlers: Mapping[str, int], file: File) -> int:
        name, data, token = file
        return DIRECT + self.memory.alloc(
            struct.pack(
                "<QQQQi28xQQQ", handlers[name], 0, data, 0, int(token in self.got), 0, 0, token
            )
        )

    def _sessions(self, head: int, wanted: Sessions, handlers: Mapping[str, int]) -> None:
        made = []
        for name, files in wanted.items():
            place = self.memory.alloc(
                struct.pack("<64s16xB", name.encode(), name in self.retrieved)
            )
            made.append(DIRECT + place)
            entries = [self._file(handlers, file) for file in files]
            self._list(DIRECT + place + 88, entries, 64)
        self._list(head, made, 64)

    def _luo(self) -> tuple[int, int]:
        """The addresses of luo_session_global and of the list of handlers."""
        both = DIRECT + self.memory.alloc()
        everything = [*self.outgoing.values(), *self.incoming.values()]
        names = dict.fromkeys(["memfd-v2", *(f[0] for files in everything for f in files)])
        handlers = {
            name: DIRECT + self.memory.alloc(struct.pack("<Q48s", 0, name.encode()))
            for name in names
        }
        head = DIRECT + self.memory.alloc()
        self._list(head, list(handlers.values()), 56)
        self._sessions(both + 8, self.incoming, handlers)
        self._sessions(both + 128 + 8, self.outgoing, handlers)
        came = bool(self.pending or self.incoming)
        self.memory.write(both - DIRECT + 120, bytes([came]))
        if self.pending:
            place = sessions(self.memory, self.pending, 5)
            self.memory.write(both - DIRECT + 56 + 24, struct.pack("<Q", place))
        return both, head

    def _tree(self) -> bytes:
        nodes = [
            Tree(n, {"compatible": text("reserve-mem-v1"), "start": u64(a), "size": u64(s)})
            for n, (a, s) in self.regions.items()
        ]
        self.memblock = write_fdt(Tree("", {"compatible": text("memblock-v1")}, nodes))
        self.luo = luo_struct(1, 0)
        blobs = {"memblock": self.memblock, "LUO": self.luo}
        children = [
            Tree(
                name, {"preserved-data": u64(self.memory.alloc(data)), "blob-size": u64(len(data))}
            )
            for name, data in blobs.items()
        ]
        root = {"compatible": text("kho-v4"),
                "preserved-memory-map": u64(radix(self.memory, self.blocks))}  # fmt: skip
        return write_fdt(Tree("", root, children))

    def _marks(self) -> int:
        """``vmemmap_base``'s address: a ``struct page`` for each page of 256 MiB."""
        pages = bytearray(64 << 16)
        for pfn, order in self.marked or ():
            struct.pack_into("<II", pages, 64 * pfn + 40, order, 0x4B484F50)
        return DIRECT + self.memory.alloc(struct.pack("<Q", DIRECT + self.memory.alloc(pages)))

    def _groups(self) -> int:
        """The address of ``iommu_group_kset``; each group's kobject is on its list."""
        kset = DIRECT + self.memory.alloc(bytes(16))
        kobjects = []
        for number, kind in self.groups.items():
            domain = DIRECT + self.memory.alloc(struct.pack("<IIQ", kind, 0, 0))
            group = self.memory.alloc(bytes(128))
            self.memory.write(group + 96, struct.pack("<I", number))
            self.memory.write(group + 120, struct.pack("<Q", domain))
            kobjects.append(DIRECT + group + 16)
        self._list(kset, kobjects, 8)
        if not self.ring_of_groups:  # the last points to itself
            last = kobjects[-1] + 8
            self.memory.write(last - DIRECT, struct.pack("<Q", last))
        return DIRECT + self.memory.alloc(struct.pack("<Q", kset))

    def files(self) -> dict[str, bytes]:
        """Kernel files, to be added to a machine's (:mod:`tests.support.machine_trees`)."""
        tree = self._tree()
        more = {"iommu_group_kset": self._groups()} if self.groups else {}
        more |= {"vmemmap_base": self._marks()} if self.marked is not None else {}
        both, handlers = self._luo()
        kho_out = self.memory.alloc(struct.pack("<Q", DIRECT + self.memory.alloc(tree)))
        symbols = {"kho_out": DIRECT + kho_out, "luo_session_global": both,
                   "luo_file_handler_list": handlers, **more}  # fmt: skip
        lines = "".join(f"{address:016x} d {name}\n" for name, address in symbols.items())
        base = "sys/kernel/debug/kho/out"
        return {
            f"{base}/fdt": tree[: len(tree) - 60],  # debugfs keeps the size it had at first
            f"{base}/scratch_phys": b"0x73400000\n0x7fc00000\n0x4d400000\n",
            f"{base}/scratch_len": b"0x9800000\n0x0\n0x1c800000\n",
            f"{base}/sub_fdts/memblock": self.memblock,
            f"{base}/sub_fdts/LUO": self.luo,
            "proc/kallsyms": b"ffffffff81000000 T _text\n" + lines.encode(),
            "proc/kcore": write_core([Segment(a, bytes(p)) for a, p in self.memory.pages.items()]),
            "proc/meminfo": b"MemTotal: 2014656 kB\nCmaTotal: 0 kB\nCmaFree: 556412 kB\n",
            "proc/iomem": b"00100000-7ffd6fff : System RAM\n  69e00000-6a7b7577 : Kernel code\n",
            "sys/kernel/btf/vmlinux": _btf(),
        }


def pci_device(
    root: Path, address: str, driver: str = "", group: str = "", domain: str = "", *, master: bool
) -> None:
    """A device in sysfs."""
    place = root / "sys/bus/pci/devices" / address
    place.mkdir(parents=True)
    (place / "class").write_text("0x010000\n")
    (place / "vendor").write_text("0x1af4\n")
    (place / "device").write_text("0x1042\n")
    (place / "config").write_bytes(struct.pack("<HHHH", 0x1AF4, 0x1042, 4 * master, 0) + bytes(56))
    (place / "reset_method").write_text("flr bus\n")
    if driver:
        (place / "driver").symlink_to(f"../../../../bus/pci/drivers/{driver}")
    if group:
        kind = root / "sys/kernel/iommu_groups" / group
        kind.mkdir(parents=True, exist_ok=True)
        (kind / "type").write_text(f"{domain}\n")
        (place / "iommu_group").symlink_to(f"../../../../kernel/iommu_groups/{group}")
