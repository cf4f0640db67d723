"""Small machine trees around regions that the tests' own writer made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.support.ring.event_payloads import FORMATS, data_loc_string, function
from tests.support.ring.region_writer import TEXT_ADDR, Region, RingBuffer, elf_core, layout_615
from tracekit.cli import main
from tracekit.report.make import Report

ADDRESS = 0x7D600000


def write(root: Path, files: Mapping[str, str | bytes]) -> None:
    for rel, content in files.items():
        path = root / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def make_tree(root: Path, region: bytes, files: Mapping[str, str | bytes] | None = None) -> Path:
    """A kernel with instance tk in region tkA, and the region in its core."""
    tracing = "sys/kernel/tracing"
    formats = {
        f"{tracing}/events/{name.replace(':', '/')}/format": text for name, text in FORMATS.items()
    }
    header = (
        "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
        "\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
        "\tfield: char overwrite;\toffset:8;\tsize:1;\tsigned:0;\n"
        "\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n"
    )
    write(
        root,
        {
            **formats,
            f"{tracing}/events/header_page": header,
            f"{tracing}/saved_cmdlines": "1 init\n",
            f"{tracing}/trace_clock": "[local] global\n",
            f"{tracing}/instances/tk/trace_clock": "[local] global\n",
            f"{tracing}/instances/tk/current_tracer": "nop\n",
            "proc/version": "Linux version 6.16.0-test (a@b) #1 SMP\n",
            "proc/cmdline": "kho=on reserve_mem=4M:2M:tkA trace_instance=tk^traceoff@tkA\n",
            "proc/kallsyms": f"{TEXT_ADDR:x} T _text\n{TEXT_ADDR:x} T _stext\n"
            f"{TEXT_ADDR + 0x1000:x} T some_function\n"
            f"{TEXT_ADDR + 0x2000:x} T _etext\n",
            "proc/modules": "",
            "proc/sys/kernel/random/boot_id": "11111111-2222-3333-4444-555555555555\n",
            "proc/stat": "cpu  1 2 3\ncpu0 1 2 3\n",
            "proc/kcore": elf_core([(ADDRESS, region)]),
            "dmesg": "[    0.000000] Linux version 6.16.0-test\n",
            **(files or {}),
        },
    )
    return root


def make_session(
    where: Path, region: Region | bytes, files: Mapping[str, str | bytes] | None = None
) -> Path:
    """The session that the real commands make of such a tree."""
    data = region if isinstance(region, bytes) else region.data
    tree, session = make_tree(where / "tree", data, files), where / "session"
    assert main(["-q", "snapshot", "--sysroot", str(tree), "-o", str(session)]) == 0
    wanted = f"tkA@{ADDRESS:#x}:{len(data):#x}"
    recover = ["-q", "recover", "--sysroot", str(tree), "--region", wanted, str(session)]
    assert main(recover) == 0
    return session


def stats(written_by: int, overwritten: int, taken: int, dropped: int = 0) -> str:
    """``per_cpu/cpuN/stats`` as tracing_stats_read() prints them for a clock in ns."""
    seconds, ns = divmod(taken, 10**9)
    return (
        f"entries: {written_by - overwritten}\noverrun: {overwritten}\ncommit overrun: 0\n"
        f"bytes: 1000\noldest event ts:     0.000000\nnow ts: {seconds:5d}.{ns // 1000:06d}\n"
        f"dropped events: {dropped}\nread events: 0\n"
    )


def two_cpus(events: int = 500) -> Region:
    rings = [RingBuffer(20), RingBuffer(20)]
    for i in range(events):
        rings[i % 2].write(1_000_000 + i * 1000, function(TEXT_ADDR + 0x1000, TEXT_ADDR))
        rings[i % 2].write(1_000_500 + i * 1000, data_loc_string(i, b"text"))
    return layout_615(rings)


def codes(report: Report) -> set[str]:
    return {d.code for d in report.diagnostics}
