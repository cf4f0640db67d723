"""What was done to the tracers, as the report has it: from BPF and from kprobe events."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import tracekit
from tests.support.bpf_records import (
    BootFiles,
    common,
    format_text,
    printed,
    record,
    region,
    write_session,
)
from tests.support.sessions.live import MS, START, report_of, way_out
from tracekit.cli import main

WRITE_ID, MKDIR_ID = 900, 901
NAMES = ("file", "in1", "in2", "in3", "in4", "in5")
_LOC = "__data_loc char[] {};\toffset:{};\tsize:4;\tsigned:0;"
KPROBES = {
    "tracefs/events/tracekit/tracefs_write/format": format_text(
        "tracefs_write", WRITE_ID,
        [
            "unsigned long __probe_ip;\toffset:8;\tsize:8;\tsigned:0;",
            *(_LOC.format(name, 16 + 4 * i) for i, name in enumerate(NAMES)),
            "u64 count;\toffset:40;\tsize:8;\tsigned:0;",
            _LOC.format("buffer", 48),
            "u64 magic;\toffset:52;\tsize:8;\tsigned:0;",
        ],
        '"(%lx) count=%Lu", REC->__probe_ip, REC->count',
    ),
}  # fmt: skip


def words(text: bytes) -> list[int]:
    padded = text.ljust(32, b"\0")
    return [int.from_bytes(padded[i : i + 8], "little") for i in range(0, 32, 8)]


def written(seq: int, ms: int, file: str, value: bytes, instance: str = "tk") -> tuple[int, bytes]:
    one = record(
        "tracefs:write", seq, START + ms * MS, values=words(value), name=file, driver=instance
    )
    return one.ns, printed(one)


def deltas(seq: int, ms: int, cpu: int, grown: int, instance: str = "tk") -> tuple[int, bytes]:
    one = record(
        "ring_buffer:deltas", seq, START + ms * MS, values=[100, grown], name=instance, cpu=cpu
    )
    return one.ns, printed(one)


def kprobe_write(path: list[str], count: int, buffer: bytes) -> bytes:
    names = [*path, *["/"] * (len(NAMES) - len(path))]
    at, locs, data = 60, [], b""
    for text in (*(name.encode() for name in names), buffer):
        raw = text + b"\0"
        locs.append(len(raw) << 16 | at)
        at, data = at + len(raw), data + raw
    fixed = struct.pack("<Q6IQIQ", 0xFFFF, *locs[:6], count, locs[6], 0x74726163)
    return common(WRITE_ID) + fixed + data


def test_changes_and_what_the_buffer_took_in_between(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = record("ring_buffer:instance_mkdir", 90, START + 10 * MS, name="other")
    events = [
        *way_out(),
        written(91, 20, "tracing_on", b"0"),
        written(92, 21, "buffer_size_kb", b"64"),
        deltas(93, 22, 0, 7),
        written(94, 30, "tracing_on", b"1", instance=""),
        deltas(95, 31, 0, 9, instance=""),
        written(96, 40, "set_event", b"!sched:[/x]\x1b[1m"),
        deltas(97, 41, 0, -3),
        (made.ns, printed(made)),
    ]
    report = report_of(tmp_path, sorted(events))
    assert [(c.done, c.instance, c.file, c.value, c.grown) for c in report.control] == [
        ("mkdir", "other", "", "", None),
        ("write", "tk", "tracing_on", "0", None),  # read once for both
        ("write", "tk", "buffer_size_kb", "64", 7),
        ("write", "", "tracing_on", "1", 9),
        ("write", "tk", "set_event", "!sched:[/x]\x1b[1m", -3),
    ]
    jump = START + 99 * MS
    assert [c.ns for c in report.control[:2]] == [START + 10 * MS - jump, START + 20 * MS - jump]
    assert main(["report", str(tmp_path / "s")]) == 0
    out = capsys.readouterr().out
    assert "What was done to the tracers" in out
    assert "!sched:[/x]\\x1b[1m" in out and "(top)" in out


def test_only_the_last_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = [written(100 + n, n, "trace_clock", b"clock%d" % n) for n in range(30)]
    report_of(tmp_path, sorted([*way_out(), *many]))
    assert main(["report", str(tmp_path / "s")]) == 0
    out = capsys.readouterr().out
    assert "20 more before these" in out
    assert "clock29" in out and "clock20" in out and "clock19" not in out


def test_kprobe_events_say_the_same(tmp_path: Path) -> None:
    """They have the names one by one, and the task's buffer with what is behind the value."""
    sent = [
        (["tracing_on"], 2, b"0\nhed:sched_switch\n"),
        (["trace_clock", "tk", "instances"], 5, b"mono\n"),
        (["enable", "sched_switch", "sched", "events", "tk", "instances"], 1, b"1"),
        (["enable", "sched_switch", "sched", "events"], 1, b"0"),
        (["overwrite", "options", "other", "instances"], 3, b"(fault)"),
    ]
    events = [(START + n * MS, kprobe_write(*one)) for n, one in enumerate(sent)]
    boot = BootFiles(region(events), files={**KPROBES})
    changes = tracekit.open(write_session(tmp_path / "s", [boot])).report().control
    assert [(c.instance, c.file, c.value) for c in changes] == [
        ("", "tracing_on", "0"),
        ("tk", "trace_clock", "mono"),
        ("tk", "sched_switch/enable", "1"),
        ("", "sched_switch/enable", "0"),
        ("other", "options/overwrite", "(unread)"),
    ]
