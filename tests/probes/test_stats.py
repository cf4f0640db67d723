"""Counts of the ring buffers, and what they grew by between changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracekit.probes.records import KINDS, RECORD, Record, unpack
from tracekit.probes.stats import Counters
from tracekit.sysroot import Sysroot

IDS = {kind.event: number for number, kind in KINDS.items()}
TOP = "sys/kernel/tracing"
TK = f"{TOP}/instances/tk"


def stats(root: Path, place: str, *written: int) -> None:
    for cpu, count in enumerate(written):
        path = root / place / f"per_cpu/cpu{cpu}/stats"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"entries: {count}\noverrun: 5\nbytes: 1\nread events: 2\n")


@pytest.fixture
def counters(tmp_path: Path) -> Counters:
    (tmp_path / TOP).mkdir(parents=True)
    (tmp_path / TOP / "trace").touch()
    stats(tmp_path, TOP, 1, 1)
    stats(tmp_path, TK, 10, 20)
    return Counters(Sysroot(tmp_path), "tk")


def change(instance: str, event: str = "tracefs:write") -> bytes:
    return RECORD.pack(
        9, 0, *[0] * 4, 5, 6, 1, IDS[event], 0, b"sh", b"tracing_on", instance.encode()
    )


def read(data: bytes) -> list[Record]:
    return [unpack(data, at) for at in range(0, len(data), RECORD.size)]


def signed(record: Record) -> list[int]:
    return [value - (1 << 64) if value >> 63 else value for value in record.values]


def test_only_what_was_changed_is_read(tmp_path: Path, counters: Counters) -> None:
    assert counters.deltas() == b""
    counters.note(change("other") + change("tk", "kexec:load"))
    assert counters.deltas() == b""
    counters.note(change("") + change("tk") + change(""))
    stats(tmp_path, TOP, 4, 1)
    records = read(counters.deltas())
    assert [(r.name, r.cpu, signed(r)) for r in records] == [
        ("", 0, [11, 3, 5, 0]),
        ("", 1, [8, 0, 5, 0]),
        ("tk", 0, [17, 0, 5, 0]),
        ("tk", 1, [27, 0, 5, 0]),
    ]
    assert counters.deltas() == b""


def test_a_buffer_that_was_emptied_shrinks(tmp_path: Path, counters: Counters) -> None:
    stats(tmp_path, TK, 0, 21)
    counters.note(change("tk"))
    assert [signed(r)[1] for r in read(counters.deltas())] == [-10, 1]


def test_incessant_changes_are_read_once_a_second(counters: Counters) -> None:
    start = counters.begun
    counters.note(change("tk"))
    assert counters.due(start) != b""
    counters.note(change("tk"))
    assert counters.due(start + 0.9) == b""
    assert len(read(counters.due(start + 1.1))) == 2
    day = start + 86_400
    counters.note(change("tk"))
    assert counters.due(day) != b""
    counters.note(change("tk"))
    assert counters.due(day + 80) == b""
    assert counters.due(day + 90) != b""


def test_totals_say_minus_one_for_what_is_not_counted(tmp_path: Path, counters: Counters) -> None:
    (tmp_path / TK / "tracing_on").write_text("1\n")
    (tmp_path / TK / "trace_clock").write_text("local [mono]\n")
    records = read(counters.totals({"page_crossings": [3]}))
    assert [signed(r) for r in records] == [[17, 5, 3, -1], [27, 5, -1, -1]]
    assert {(r.name, r.driver) for r in records} == {("tk", "on ?K mono")}


def test_an_instance_that_goes_away_is_no_error(tmp_path: Path, counters: Counters) -> None:
    counters.note(change("tk"))
    for path in sorted((tmp_path / TK).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert (counters.deltas(), counters.totals({})) == (b"", b"")
