"""BPF records and the ring-buffer events that print them, made by hand."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.ring.region_writer import Region, RingBuffer, layout_615
from tests.support.session_trees import make_session, write
from tracekit.probes.records import KINDS, RECORD, RETURN, Record, compact

PRINTK_ID, PRINT_ID, EXEC_ID = 444, 5, 320
TRACING = "sys/kernel/tracing"
_COMMON = """\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;
"""


def format_text(name: str, event_id: int, fields: Sequence[str], printed: str) -> str:
    lines = "".join(f"\tfield:{f}\n" for f in fields)
    return f"name: {name}\nID: {event_id}\nformat:\n{_COMMON}\n{lines}\nprint fmt: {printed}\n"


FORMATS = {
    f"{TRACING}/events/bpf_trace/bpf_trace_printk/format": format_text(
        "bpf_trace_printk", PRINTK_ID,
        ["__data_loc char[] bpf_string;\toffset:8;\tsize:4;\tsigned:0;"],
        '"%s", __get_str(bpf_string)',
    ),
    f"{TRACING}/events/ftrace/print/format": format_text(
        "print", PRINT_ID,
        [
            "unsigned long ip;\toffset:8;\tsize:8;\tsigned:0;",
            "char buf[];\toffset:16;\tsize:0;\tsigned:0;",
        ],
        '"%ps: %s", (void *)REC->ip, REC->buf',
    ),
    f"{TRACING}/events/sched/sched_process_exec/format": format_text(
        "sched_process_exec", EXEC_ID,
        [
            "__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;",
            "pid_t pid;\toffset:12;\tsize:4;\tsigned:1;",
            "pid_t old_pid;\toffset:16;\tsize:4;\tsigned:1;",
        ],
        '"filename=%s pid=%d old_pid=%d", __get_str(filename), REC->pid, REC->old_pid',
    ),
}  # fmt: skip


def common(event_id: int, pid: int = 1) -> bytes:
    """struct trace_entry (include/linux/trace_events.h)."""
    return struct.pack("<HBBi", event_id, 0, 0, pid)


def kind_of(event: str) -> int:
    return next(kind.id for kind in KINDS.values() if kind.event == event)


def record(
    event: str, seq: int, ns: int, *, cpu: int = 0, pid: int = 7, returned: bool = False,
    duration: int = 0, values: Sequence[int] = (), comm: str = "", name: str = "",
    driver: str = "",
) -> Record:  # fmt: skip
    four = [*values, 0, 0, 0, 0][:4]
    return Record(
        ns, duration, (four[0], four[1], four[2], four[3]), seq, pid, cpu, kind_of(event),
        returned, comm, name, driver,
    )  # fmt: skip


def packed(r: Record) -> bytes:
    kind = r.kind | (RETURN if r.returned else 0)
    values = [v & (1 << 64) - 1 for v in r.values]
    return RECORD.pack(
        r.ns, r.duration_ns, *values, r.seq, r.pid, r.cpu, kind, 0,
        r.comm.encode(), r.name.encode(), r.driver.encode(),
    )  # fmt: skip


def printk(text: str, pid: int = 7) -> bytes:
    raw = text.encode() + b"\0"
    return common(PRINTK_ID, pid=pid) + struct.pack("<I", len(raw) << 16 | 12) + raw


def printed(r: Record) -> bytes:
    """The payload of the event that ``bpf_trace_vprintk()`` makes of a record."""
    values = [v & (1 << 64) - 1 for v in r.values]
    return printk(compact(r._replace(values=(values[0], values[1], values[2], values[3]))), r.pid)


def mark(text: str) -> bytes:
    """The payload of a write to trace_marker."""
    return common(PRINT_ID) + struct.pack("<Q", 0) + text.encode() + b"\n\0"


def executed(filename: str, pid: int) -> bytes:
    raw = filename.encode() + b"\0"
    return common(EXEC_ID, pid=pid) + struct.pack("<Iii", len(raw) << 16 | 20, pid, pid) + raw


def ring(events: Sequence[tuple[int, bytes]], nr_subbufs: int = 16) -> RingBuffer:
    buffer = RingBuffer(nr_subbufs)
    for ts, payload in sorted(events):
        buffer.write(ts, payload)
    return buffer


def region(*cpus: Sequence[tuple[int, bytes]], clock_id: int = 0) -> Region:
    return layout_615([ring(events) for events in cpus], clock_id=clock_id)


def session(
    where: Path, made: Region, *, file: bytes | None = None, clocks: object = None,
    more: dict[str, object] | None = None, files: dict[str, str] | None = None,
) -> Path:  # fmt: skip
    """A session of one boot with such a region, and what the recorder leaves beside it."""
    path = make_session(where, made, {**FORMATS, **(files or {})})
    boot = path / "boots/0"
    if file is not None:
        (boot / "bpf.bin").write_bytes(file)
    for name, document in {"clocks.json": clocks, **(more or {})}.items():
        if document is not None:
            for old in boot.glob(f"{name}*"):
                old.unlink()
            (boot / name).write_text(json.dumps(document))
    return path


@dataclass
class BootFiles:
    """One boot of a session written without any command."""

    region: Region | None = None
    pipe: bytes | None = None  # trace_pipe_raw of CPU 0
    clock: str = "local"  # of the global buffer
    files: dict[str, str | bytes] = field(default_factory=dict)
    json: dict[str, object] = field(default_factory=dict)


def pages(ring_buffer: RingBuffer) -> bytes:
    """Everything in a ring, as ``trace_pipe_raw`` hands it out."""
    found = []
    while (page := ring_buffer.read_page()) is not None:
        found.append(page.data)
    return b"".join(found)


def write_session(path: Path, boots: Sequence[BootFiles]) -> Path:
    """A session of several boots."""
    manifest = {
        "format_version": 1, "tool": "tracekit", "tool_version": "0", "state": "recovered",
        "boots": list(range(len(boots))), "files": {}, "diagnostics": [],
    }  # fmt: skip
    header = (
        "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
        "\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
        "\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n"
    )
    write(path, {"manifest.json": json.dumps(manifest)})
    for number, boot in enumerate(boots):
        kernel = {
            "release": f"7.{number}.0", "cpus": 1, "page_size": 4096,
            "trace_instances": [{"name": "tk", "region": "tkA"}],
        }  # fmt: skip
        found: dict[str, str | bytes] = {
            "kernel.json": json.dumps(kernel),
            "tracefs/events/header_page": header,
            "tracefs/trace_clock": f"[{boot.clock}] other\n",
            **{rel.removeprefix("sys/kernel/tracing/").join(["tracefs/", ""]): text
               for rel, text in FORMATS.items()},
            **boot.files,
            **{name: json.dumps(document) for name, document in boot.json.items()},
        }  # fmt: skip
        if boot.region is not None:
            found["regions/tkA.raw"] = boot.region.data
        if boot.pipe is not None:
            found["tracefs/per_cpu/cpu0/trace_pipe_raw"] = boot.pipe
        write(path / f"boots/{number}", found)
    return path
