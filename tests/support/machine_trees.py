"""Small machines for tests: trees shaped like / of an old kernel and of the new one after it."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.elf_core_writer import Segment, write_core
from tests.support.fdt_writer import Tree, text, u64, write_fdt
from tracekit.sysroot import Sysroot

OLD_TEXT, NEW_TEXT = 0xFFFFFFFF81000000, 0xFFFFFFFF92000000
REGION = 1 << 16
TKA, TKB = 0x7D600000, 0x7D200000
PAGE = 4096


def noise(size: int, seed: str) -> bytes:
    return hashlib.shake_128(seed.encode()).digest(size)


def region(text_address: int, seed: str = "region", size: int = REGION) -> bytes:
    """A region with the header of 6.15 and later; what follows it is noise."""
    header = struct.pack(
        "<IIQQIIQQ", 0x0BADFEED, 24 << 16 | 32, size, 0x2030, 9, 0, text_address, 0
    )
    return header + noise(size - len(header), seed)


def region_612(symbol_address: int, size: int = REGION) -> bytes:
    """A region with the header of 6.12."""
    header = struct.pack("<IIQQ", 0x0BADFEED, 56, symbol_address, symbol_address + 0x1000)
    return header + noise(size - len(header), "612")


def event(name: str, number: int) -> str:
    return (
        f"name: {name}\nID: {number}\nformat:\n"
        "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n"
        '\tfield:int x;\toffset:8;\tsize:4;\tsigned:1;\n\nprint fmt: "x=%d", REC->x\n'
    )


HEADER_PAGE = (
    "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
    "\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
    "\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n"
)


@dataclass
class Machine:
    """What a tree is made of; ``files`` are added last and may replace any other.

    ``regions`` (address -> bytes) are in ``/proc/kcore``, ``device`` in ``/dev/mem``.
    """

    boot_id: str
    text_address: int
    cmdline: str
    release: str = "7.2.13"
    events: int = 3
    regions: dict[int, bytes] = field(default_factory=dict)
    kho: dict[str, tuple[int, int]] | None = None
    pipes: dict[str, bytes] = field(default_factory=dict)
    extra_symbols: str = ""
    clock_base: int = 1_000_000
    files: dict[str, bytes] = field(default_factory=dict)
    device: dict[int, bytes] = field(default_factory=dict)

    def write(self, path: Path) -> Path:
        for rel, data in self.content().items():
            target = path / rel
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        for address, data in self.device.items():
            _write_at(path / "dev/mem", address, data)
        return path

    def content(self) -> dict[str, bytes]:
        version = f"Linux version {self.release} (root@vm) (gcc) #1 SMP\n"
        note = struct.pack("<III", 4, 20, 3) + b"GNU\0" + noise(20, self.release)
        samples = [
            {"clock": "mono", "tsc_before": self.clock_base + i, "ns": i, "tsc_after":
             self.clock_base + i + 2} for i in range(3)
        ]  # fmt: skip
        tracing = "sys/kernel/tracing"
        found = {
            "proc/cmdline": self.cmdline.encode() + b"\n",
            "proc/version": version.encode(),
            "proc/sys/kernel/random/boot_id": self.boot_id.encode() + b"\n",
            "proc/stat": b"cpu 1\ncpu0 1\ncpu1 2\nbtime 1795352694\n",
            "proc/uptime": b"32.16 28.29\n",
            "proc/modules": b"",
            "proc/iomem": b"00000000-00000fff : Reserved\n",
            "proc/kallsyms": (
                f"{self.text_address:016x} T _text\n{self.extra_symbols}"
                f"{self.text_address + 0x100:016x} t some_function\n"
            ).encode(),
            "sys/kernel/notes": note,
            "dmesg": b"[    0.000000] " + version.encode(),
            "clocks.json": json.dumps(samples).encode(),
            f"{tracing}/events/header_page": HEADER_PAGE.encode(),
            f"{tracing}/events/header_event": b"# compressed entry header\n",
            f"{tracing}/saved_cmdlines": b"1 init\n",
            f"{tracing}/printk_formats": b"",
            f"{tracing}/trace_clock": b"local [x86-tsc]\n",
            f"{tracing}/per_cpu/cpu0/stats": b"entries: 0\n",
            f"{tracing}/instances/tk/trace_clock": b"[local] x86-tsc\n",
            f"{tracing}/instances/tk/per_cpu/cpu0/stats": b"entries: 5\n",
        }
        for number in range(self.events):
            name = f"{tracing}/events/sys/event{number}/format"
            found[name] = event(f"event{number}", 100 + number).encode()
        for cpu, pages in self.pipes.items():
            found[f"{tracing}/per_cpu/{cpu}/trace_pipe_raw"] = pages
        if self.regions:
            segments = [Segment(address, data) for address, data in self.regions.items()]
            found["proc/kcore"] = write_core(segments)
        if self.kho is not None:
            found |= kho_files(self.kho)
        return found | self.files


def _write_at(path: Path, address: int, data: bytes) -> None:
    """Write into a sparse file."""
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with path.open("r+b") as file:
        file.seek(address)
        file.write(data)


def kho_files(regions: dict[str, tuple[int, int]], release: str = "7.2.13") -> dict[str, bytes]:
    """``kho/in`` and ``kho/out`` in debugfs; region name -> (address, size)."""
    nodes = [
        Tree(name, {"compatible": text("reserve-mem-v1"), "start": u64(a), "size": u64(n)})
        for name, (a, n) in regions.items()
    ]
    memblock = write_fdt(Tree("", {"compatible": text("memblock-v1")}, nodes))
    metadata = struct.pack("<I65sI", 1, release.encode(), 1)
    blobs = {"memblock": (0x100000, memblock), "kexec-metadata": (0x101000, metadata)}
    root = Tree(
        "",
        {"compatible": text("kho-v4"), "preserved-memory-map": u64(0x5000)},
        [
            Tree(name, {"preserved-data": u64(address), "blob-size": u64(len(data))})
            for name, (address, data) in blobs.items()
        ],
    )
    base = "sys/kernel/debug/kho"
    return {
        f"{base}/in/fdt": write_fdt(root),
        f"{base}/in/sub_fdts/memblock": memblock,
        f"{base}/in/sub_fdts/kexec-metadata": metadata,
        f"{base}/out/scratch_phys": b"0x1000\n",
        f"{base}/out/scratch_len": b"0x1000\n",
    }


def old_machine() -> Machine:
    """The kernel that records into tkA."""
    return Machine(
        "11111111-0000-4000-8000-000000000001",
        OLD_TEXT,
        "kho=on reserve_mem=64K:4K:tkA reserve_mem=64K:4K:tkB trace_instance=tk^traceoff@tkA",
    )


def new_machine() -> Machine:
    """The kernel after it: tkA is preserved, tkB its own and not started."""
    return Machine(
        "22222222-0000-4000-8000-000000000002",
        NEW_TEXT,
        "kho=on reserve_mem=64K:4K:tkA reserve_mem=64K:4K:tkB trace_instance=tk@tkB",
        regions={TKA: region(OLD_TEXT, "A"), TKB: region(0, "B")},
        kho={"tkA": (TKA, REGION), "tkB": (TKB, REGION)},
        pipes={"cpu0": noise(2 * PAGE, "p0"), "cpu1": b""},
        clock_base=9_000_000,
    )


class Live(Sysroot):
    """A tree that is taken for the running machine."""

    live = True  # type: ignore[assignment]

    def need_root(self, what: str, instead: str = "") -> None:
        pass

    def kernel_log(self) -> bytes | None:
        return None
