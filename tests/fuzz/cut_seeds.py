"""Makes ``tests/fuzz/seeds``: ``python -m tests.fuzz.cut_seeds``.

Small pieces of the shipped captures, and what the tests' own writers make. The same every time.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import zstandard

from tests.fuzz.native_seeds import native_seeds
from tests.fuzz.printed import PRINTED
from tests.fuzz.targets import HERE
from tests.support.bpf_records import packed, record
from tests.support.btf_writer import FUNC, FUNC_PROTO, INT, PTR, STRUCT, UNION, Writer
from tests.support.elf_core_writer import Segment, write_core
from tests.support.fdt_writer import Tree, text, u64, write_fdt
from tests.support.kho.fake_memory import FakeMemory
from tests.support.kho.luo_writer import luo_features, luo_struct, luo_tree, memfd
from tests.support.kho.map_writer import bitmaps, radix
from tests.support.memory.kdump_writer import (
    CODECS,
    SNAPPY,
    flatten,
    flattened,
    write_kdump,
)
from tests.support.ring.region_strategies import LAYOUTS, Script, Step
from tests.support.sessions.trace_dat_writer import as_version_7
from tests.support.unpack import unpack
from tracekit.browse.index.codec import decode
from tracekit.browse.index.load import ABOUT, About
from tracekit.browse.open import open_recording
from tracekit.kho.memory import Recorder
from tracekit.probes.records import compact
from tracekit.session import Session
from tracekit.session.canary import PAGE, Canary, Change, Findings, Physical
from tracekit.session.derived import INDEX
from tracekit.session.manifest import Manifest
from tracekit.session.packed import frame
from tracekit.trace_dat.compose import CpuPages, Section, compose
from tracekit.trace_dat.layout import TraceDat

_EVENTS = (
    "sched/sched_switch", "irq/softirq_entry", "kmem/mm_page_alloc", "timer/hrtimer_start",
    "syscalls/sys_enter_openat", "syscalls/sys_exit_read", "ftrace/bprint", "ftrace/function",
    "ftrace/funcgraph_entry", "ftrace/kernel_stack", "ftrace/print", "writeback/writeback_start",
    "initcall/initcall_start", "module/module_load", "signal/signal_generate", "net/netif_rx",
    "xhci-hcd/xhci_dbc_giveback_request", "i2c/i2c_write", "rpm/rpm_suspend", "tlb/tlb_flush",
)  # fmt: skip
_LOG = (
    "Kernel command line", "tsc:", "clocksource", "sched_clock", "setting system clock",
    "registered as rtc", "Freeing unused", "Run /", "Tracing", "trace_boot", "ring buffer",
)  # fmt: skip

# 4096 zeros by liblzo2
_LZO = "02000000000020000000000000000000000000000000da10000c000000000000000000000000000000110000"
_DEMO = files("tracekit") / "demo" / "handover.tar.zst"
_LONGEST = 200  # characters of a text in the index
_Seeds = Iterator[tuple[str, bytes]]


def _session() -> Session:
    with as_file(_DEMO) as shipped:
        return Session.open(shipped)


def _kernel_texts(session: Session) -> _Seeds:
    lines = session.read("boots/0/kallsyms").split(b"\n")
    wanted = (b" _text", b" _stext", b" _etext", b" _end", b" _sinittext", b" vfs_open")
    symbols = [line for line in lines if line.endswith(wanted)] + lines[5000:5020]
    table = b"\n".join(sorted(symbols)) + b"\n"
    extra = b"ffffffffc0000000 t probe\t[floppy]\nffffffffc0000100 t bpf_prog_1\t[bpf]\n"
    modules = b"floppy 98304 0 - Live 0xffffffffc0000000\n"
    yield "kallsyms", table
    yield "kallsyms", table + extra + b"\0" + modules
    yield "native_symbols", table + extra
    yield "probed_kernel", table + b"\0vfs_open\ndevice_shutdown\0ffffffff81000000-1 do_int3\n"
    log = session.read("boots/0/dmesg").split(b"\n")
    chosen = [line for line in log if any(word.encode() in line for word in _LOG)]
    yield "kernel_log", b"\n".join(chosen)[:3500]
    yield (
        "kernel_log",
        b"[    0.000000] Tracing: mapped boot instance tk at physical memory "
        b"0x7d600000 of size 0x400000\n[    1.0] <6>[T1] x\n",
    )
    yield "kmsg", b"6,339,5140900,-;Freeing unused kernel image\n SUBSYSTEM=pci\n"
    comms = session.read("boots/0/tracefs/saved_cmdlines")
    yield "names", comms + b"\0" + b'0xffffffff82345678 : "a \\"%s\\"\\n"\n0x1 : "%d %pS\\t"\n'
    yield "names", session.read("boots/0/tracefs/per_cpu/cpu0/stats")
    yield "header_page", session.read("boots/0/tracefs/events/header_page")
    for text_, record_ in (
        ("%d %s %c %lx %*d\n", b"\x01\0\0\0ab\0x\0\0" + bytes(24)),
        ("%pS %-10.3s %llu %pM %#08x%%", bytes(40)),
    ):
        yield "binary_printf", text_.encode() + b"\0" + record_
    yield "boot", b"\0".join(
        (
            b'{"cpus": 2, "release": "7.2.0", "config_hz": 1000}',
            session.read("boots/0/tracefs/events/header_page"),
            session.read("boots/0/tracefs/events/sched/sched_switch/format"), comms, table[:400],
        )
    )  # fmt: skip


def _formats(session: Session) -> _Seeds:
    for event in _EVENTS:
        path = f"boots/0/tracefs/events/{event}/format"
        if session.has(path):
            body = session.read(path)
            if len(body) < 4000:
                yield "format", event.partition("/")[0].encode() + b"\n" + body
    for printed in PRINTED:
        yield "print_fmt", printed.encode() + b"\0" + bytes(range(64))


def _user_texts(session: Session) -> _Seeds:
    kernel = json.loads(session.read("boots/0/kernel.json"))
    yield "cmdline", str(kernel.get("cmdline", "quiet")).encode()
    yield (
        "cmdline",
        b"kho=on reserve_mem=4M:4096:tkA reserve_mem=0x400000:4096:tkB console=ttyS0 "
        b'trace_instance=tk^traceoff@tkA,sched:*,irq "dyndbg=file a +p" trace_clock=boot -- init',
    )
    yield "cmdline", b"trace_instance=b@0x7d600000:4M,a trace_instance=c=b memmap=4M$0x7d600000"
    yield "region_spec", b"tkA@0x7d600000:4M"
    yield "region_spec", b"a@b@010:1"
    yield "region_spec", b"tk@file:/dev/pmem0:0:8M"
    for where in (
        b"event ~ sched_* and prev_comm = kexec and not cpu in (0, 1)",
        b'comm ~ /^k.*d$/ or "device shutdown" and ts >= -5ms',
        b"args.pid != 0x1f or (not (flags < 3) and raw not in (1,2,'a b'))",
    ):
        yield "expression", where
    for name in (b"boots/0/kernel.json", b"../x", b"a.zst", b"r\xff"):
        yield "file_names", name


def _session_files(session: Session) -> _Seeds:
    yield "manifest", Manifest("0.1.0", "recovered", [0, 1], {"boots/0/dmesg": "ab" * 32}).encode()
    yield (
        "manifest",
        b'{"format_version": 1, "tool": "tracekit", "tool_version": "1", "state": '
        b'"x", "boots": [0], "files": {}, "diagnostics": [{"boot": 0, "code": "a", "severity": '
        b'"info", "where": "b", "message": "c"}]}',
    )
    samples = json.loads(session.read("boots/0/clocks.json"))
    few = samples if isinstance(samples, list) else samples.get("samples", [])
    log = (
        b"[    0.000000] tsc: Detected 2100.000 MHz processor\n[    1.100000] clocksource: "
        b"Switched to clocksource tsc\n"
    )
    yield "clock_samples", json.dumps(few[:12]).encode() + b"\0" + log
    yield (
        "notes",
        b'{"bookmarks": [{"boot": 0, "cpu": 1, "ts_raw": 5, "ts_ns": -3, "note": "n"}]'
        b', "filters": {"mine": "cpu = 0"}}',
    )
    yield (
        "systemd",
        b'{"manager": {"FinishTimestampMonotonic": 5000}, "units": [{"id": "a.service"'
        b', "inactive_exit": 10, "active_enter": 20}]}',
    )
    raw = packed(record("kho:preserve", 3, 10**9, cpu=1, name="n", comm="c", values=[1, 2]))
    line = compact(record("kho:add_subtree", 1, 5 * 10**9, name="x|y", driver="d"))
    yield "bpf_records", raw
    yield "bpf_records", line.encode() + b"\n"
    yield "bpf_file", raw + raw.replace(b"\x03", b"\x05", 1) + packed(
        record("device:shutdown", 4, 2 * 10**9, returned=True)
    )  # fmt: skip
    yield "bpf_file", session.read("boots/0/bpf.bin")[:1120]


def _archives() -> _Seeds:
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
            for name in ("s/manifest.json", "s/" + "d/" * 45 + "file"):
                member = tarfile.TarInfo(name)
                member.size = 3
                tar.addfile(member, io.BytesIO(b"abc"))
        yield "tar", out.getvalue()[: 8 * 512]
    archive = gzip.compress(b"an archive", mtime=0)
    yield "packed", frame(archive, ".gz") + archive
    yield "compressed", b"\0" + zstandard.ZstdCompressor().compress(b"tracekit" * 20)
    yield "compressed", b"\1" + gzip.compress(b"tracekit" * 20, mtime=0)


def _crossing() -> _Seeds:
    """What crosses a kexec besides the record."""
    change = Change(PAGE, 0x2000, PAGE, "ff" * 8, "00" * 8, 2 * PAGE)
    findings = Findings("boot-id", PAGE, 1, (change,))
    spans = (Physical(0, 0x1000, 4 * PAGE),)
    yield "canary", Canary("ab" * 32, 4 * PAGE, "luo", spans, findings).encode()
    entries = [
        {"type": "fd", "name": "lab", "token": 1},
        {"type": "luo_session", "name": "lab", "sessionName": "lab"},
    ]
    units = {"tracekit-handover.service": {"fdstore": entries}}
    yield "systemd_store", json.dumps({"version": 1, "state": {}, "units": units}).encode()
    yield "systemd_store", json.dumps({"tracekit-handover.service": entries}).encode()


def _fits(document: Any) -> bool:
    try:
        decode(About, document)
    except ValueError:
        return False
    return True


def _thinned(document: Any, part: Any) -> None:
    """Shorten the lists and objects in ``part`` of a document, as far as it stays one."""
    for key in list(part) if isinstance(part, dict) else range(len(part)):
        child = part[key]
        if isinstance(child, str) and len(child) > _LONGEST:
            part[key] = child[:_LONGEST]
        if not isinstance(child, list | dict):
            continue
        rest = part[key] = child[:1] if isinstance(child, list) else dict([*child.items()][:1])
        if len(child) < 2 or not _fits(document):
            part[key] = rest = child
        _thinned(document, rest)


def _index() -> _Seeds:
    with TemporaryDirectory() as scratch, as_file(_DEMO) as shipped:
        unpack(shipped, Path(scratch))
        open_recording(scratch, lambda *_: None, many=0)
        _, _, body = (Path(scratch) / INDEX / ABOUT).read_bytes().partition(b"\n")
    document = json.loads(body)
    _thinned(document, document)
    yield "index", json.dumps(document).encode()


def _kho() -> _Seeds:
    """LUO's headers, a handler's data, maps of preserved memory, texts on memory."""
    yield "luo", luo_struct(3, 0x1000, 0x2000)
    yield "luo", luo_features(3, 0x1000, 0x2000)
    yield "luo", luo_tree(3, 0x1000)
    memory = FakeMemory()
    at = memory.alloc(b"x")
    yield "luo_handlers", memory.read(memfd(memory, b"abc"), 64)
    yield "luo_handlers", b'{"version": 1, "units": {"a": {"fdstore": [{"token": 1}]}}}'
    for write in (radix, bitmaps):
        memory = FakeMemory(0x1000 if write is radix else 0x2000)
        at = write(memory, [(5, 0), (1 << 20, 9)])
        if write is bitmaps:  # the reader begins at 0x1000
            memory.pages[0x1000] = memory.pages[at]
        kept = Recorder(memory.read)
        for address in memory.pages:
            kept(address, 4096)
        yield "kept_memory", kept.pack()
    yield "memory_texts", b"00001000-0009fbff : System RAM\n  01000000-023fffff : Kernel code\n"
    yield "memory_texts", b"0x73400000\n0x7fc00000\n0x9800000\n0x1000000\n"
    yield "memory_texts", b"CmaFree:  5 kB\n kho_scratch=1M,2M,3M"


def _binaries(session: Session) -> _Seeds:
    yield "device_tree", session.read("boots/1/kho/in/fdt")
    memblock = session.read("boots/1/kho/in/sub_fdts/memblock")
    yield "device_tree", memblock
    tree = Tree("", {"compatible": text("kho-v1")}, [Tree("a", {"fdt": u64(4096)})])
    yield "device_tree", write_fdt(tree, version=16)
    yield "kho_blobs", session.read("boots/1/kho/in/sub_fdts/kexec-metadata")
    yield "kho_blobs", struct.pack("<8sQQQ", b"luo-v5", 3, 0x1234000, 0)
    yield from _kho()
    yield (
        "elf_core",
        write_core([Segment(0x1000, b"a" * 40), Segment(0x1028, b"b" * 8), Segment(0)]),
    )
    pages = {1: b"ring buffer " * 400, 3: bytes(range(256)) * 16}
    dump = write_kdump({f: data[:4096] for f, data in pages.items()}, level=17, existing=range(9))
    yield "dump_file", dump
    yield "dump_file", flatten([(0, dump[:8192]), (12288, dump[12288:]), (8192, dump[8192:12288])])
    yield "dump_file", flattened(write_core([Segment(0x1000, b"a" * 40)]), (64, 70))
    yield "page_codecs", bytes.fromhex(_LZO)
    yield "page_codecs", CODECS[SNAPPY](b"ring buffer, page; " * 20 + bytes(200))
    types = Writer()
    number = types.add(INT, "int", 4, struct.pack("<I", 32))
    inner = types.members(UNION, "", 8, ("b", number, 0, 0))
    types.members(STRUCT, "device", 16, ("kobj", number, 0, 0), ("", inner, 64, 0))
    pointer = types.add(PTR, "", 3)
    pairs = struct.pack("<II", types.text("dev"), pointer)
    types.add(FUNC, "shutdown", types.add(FUNC_PROTO, "", number, pairs, 1))
    yield "btf", types.bytes()


def _dead_kernels() -> _Seeds:
    note = "OSRELEASE=7.2.13\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffffffff80100000\n"
    yield "vmcoreinfo", f"{note}NUMBER(phys_base)=-4096\nNUMBER(sme_mask)=0\n".encode()
    yield "vmcoreinfo", f"{note}NUMBER(kimage_voffset)=0x1000\nNUMBER(VA_BITS)=48\n".encode()
    for kind in range(5):
        yield "page_tables", bytes([kind]) + struct.pack("<Q", 0x10_0003) * 510
    names = b"".join(bytes([len(name)]) + name for name in (b"T_stext", b"tab", b"Dend"))
    letters = [bytes([code]) + b"\0" for code in range(32, 127)]
    table = b"\0" + b"".join(letters)
    index = [0] * 32 + [1 + 2 * number for number in range(len(letters))] + [0] * 129
    for flag in (b"\0", b"\1"):
        image = (
            struct.pack("<QQ", 3, 0x1000) + names.ljust(0x1F0, b"\0") + table.ljust(0x200, b"\0")
        )
        yield "packed_symbols", image + struct.pack("<256H3i", *index, 0, -8, 64) + flag
    cpu = Tree(
        "cpu0",
        {
            "compatible": text("ftrace,cpu-v1"), "cpu": struct.pack("<i", 0),
            "mem": struct.pack("<4Q", 0, 0x40, 0, 4096),
        },
    )  # fmt: skip
    for name in ("global_trace", "global-trace"):
        array = Tree(name, {"compatible": text("ftrace,array-v1")}, [cpu])
        events = {"events": struct.pack("<4i", 1, 1, 0x3D4A3C19, 300)}
        ftrace = Tree("ftrace", {"compatible": text("ftrace-v1"), **events}, [array])
        yield "seed_tree", write_fdt(Tree("", {"compatible": text("kho-v1")}, [ftrace]))


def _rings() -> _Seeds:
    steps = tuple(
        Step(kind, cpu=0, gap=gap, size=size, count=1)  # type: ignore[arg-type]
        for kind, gap, size in (
            ("write", 0, 40), ("discard", 1 << 28, 27), ("nested", 7, 16), ("write", 1 << 45, 200),
        )
    )  # fmt: skip
    for number, layout in enumerate(LAYOUTS.values()):
        made = layout(Script(1, 3, 4096, 1 << 40, steps).play())
        yield "region", made.data
        page = made.data[made.places[0].subbufs + 4096 :][:512]
        yield "pages", b"\0\x08\1\x08" + page[:8] + struct.pack("<Q", 200) + page[16:256]
        walk = struct.pack("<8bB", 0, 8, 16, 0, 2, 3, 4, 8, 2) + struct.pack("<2H", 0, 512)
        yield "native_ring", walk + page
        patch = struct.pack("<BBBBI", 2, 4 * number, 2, number, 1 << number)
        yield "region_patches", bytes([number]) + patch * 2


def _trace_dats() -> _Seeds:
    dat = TraceDat(6, 4096, ftrace_events=[b"name: print\n"], cpus=1, clock="[local]")
    pages, out = CpuPages(1, lambda: [bytes(4096)]), io.BytesIO()
    compose(dat, [Section("", {0: pages}), Section("tk", {0: pages})], out, lambda count: None)
    yield "trace_dat", out.getvalue()
    with TemporaryDirectory() as where:
        (file := Path(where) / "6.dat").write_bytes(out.getvalue())
        for compression in ("none", "zlib", "magicless"):
            yield "trace_dat", as_version_7(file, compression)


def main() -> None:
    """Write every seed; names are numbers, in the order made."""
    session, numbers = _session(), dict[str, int]()
    makers = (_kernel_texts, _formats, _user_texts, _session_files, _binaries)
    for name, data in [
        *(seed for maker in makers for seed in maker(session)),
        *(
            seed
            for maker in (
                _index,
                _archives,
                _dead_kernels,
                _crossing,
                _rings,
                native_seeds,
                _trace_dats,
            )
            for seed in maker()
        ),
    ]:
        numbers[name] = number = numbers.get(name, -1) + 1
        path = HERE / "seeds" / name / f"{number:02}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main()
