"""The record's layout against the C compiler's, and its compact text there and back."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.traceable_kernels import (
    DOWN,
    FUNCTION,
    ONLY_DOWN,
    PERSIST,
    PERSIST_DOWN,
    RETURNS_INT,
)
from tracekit.probes import prepare
from tracekit.probes.records import (
    KINDS,
    RECORD,
    RETURN,
    Record,
    compact,
    parse_compact,
    unpack,
)

BPF = Path(prepare.__file__).parent / "bpf"
RECORD_MEMBERS = [
    "ns", "duration_ns", "value", "seq", "pid", "cpu", "kind", "zero", "comm", "name", "driver",
]  # fmt: skip
SOURCE_MEMBERS = ["argument", "bytes", "entry", "is_int", "offset", "stride"]

u64 = st.integers(0, 2**64 - 1)
# what a kernel names things with: no NUL, no line end, no '|'
words = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="|"))
records = st.builds(
    Record,
    ns=u64,
    duration_ns=u64,
    values=st.tuples(u64, u64, u64, u64),
    seq=st.integers(0, 2**32 - 1),
    pid=st.integers(0, 2**22),
    cpu=st.integers(0, 8191),
    kind=st.integers(1, RETURN - 1),
    returned=st.booleans(),
    comm=words.map(lambda s: s[:15]),
    name=words.map(lambda s: s[:39]),
    driver=words.map(lambda s: s[:23]),
)


def pack(record: Record) -> bytes:
    kind = record.kind | (RETURN if record.returned else 0)
    return RECORD.pack(
        record.ns, record.duration_ns, *record.values, record.seq, record.pid, record.cpu, kind, 0,
        record.comm.encode(), record.name.encode(), record.driver.encode(),
    )  # fmt: skip


def compiled(tmp_path: Path, name: str, members: list[str]) -> tuple[int, list[tuple[int, int]]]:
    """sizeof(struct), and offset and size of its members, as gcc lays them out."""
    prints = "".join(
        f'printf("%zu %zu\\n", offsetof(struct {name}, {m}), sizeof(((struct {name} *)0)->{m}));'
        for m in members
    )
    source = tmp_path / "layout.c"
    source.write_text(
        f'#include <stddef.h>\n#include <stdio.h>\n#include "{BPF}/records.h"\n'
        f'int main(void) {{ printf("%zu 0\\n", sizeof(struct {name})); {prints} return 0; }}\n'
    )
    subprocess.run(["gcc", "-Wall", "-Werror", "-o", tmp_path / "layout", source], check=True)
    text = subprocess.run([tmp_path / "layout"], check=True, capture_output=True, text=True).stdout
    rows = [(int(a), int(b)) for a, b in (line.split() for line in text.splitlines())]
    return rows[0][0], rows[1:]


def python_layout(format_: str) -> list[tuple[int, int]]:
    """Offset and size of each item of a struct format without padding."""
    rows, at = [], 0
    for item in re.findall(r"\d*[a-zA-Z]", format_):
        size = struct.calcsize("<" + item)
        rows.append((at, size))
        at += size
    return rows


needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


@needs_gcc
def test_record_is_struct_tk_record(tmp_path: Path) -> None:
    assert RECORD.format[0] == "<"
    assert compiled(tmp_path, "tk_record", RECORD_MEMBERS) == (
        RECORD.size,
        python_layout(RECORD.format[1:]),
    )


@needs_gcc
def test_function_is_struct_tk_function(tmp_path: Path) -> None:
    size, rows = compiled(tmp_path, "tk_function", ["kind", "flags", "value", "name"])
    assert size == FUNCTION.size
    layout = python_layout(FUNCTION.format[1:])
    assert [rows[0][0], rows[1][0], rows[2][0], rows[3][0]] == [
        layout[0][0], layout[1][0], layout[2][0], layout[2 + 4 * len(SOURCE_MEMBERS)][0],
    ]  # fmt: skip
    _, source = compiled(tmp_path, "tk_source", SOURCE_MEMBERS)
    start = layout[2][0]
    assert source == [(at - start, n) for at, n in layout[2 : 2 + len(SOURCE_MEMBERS)]]


def test_constants_are_those_of_the_header() -> None:
    text = (BPF / "records.h").read_text()
    defined = {name: int(value, 0) for name, value in re.findall(r"#define (TK_\w+)\s+(\w+)", text)}
    assert defined == {
        "TK_RETURN": RETURN,
        "TK_RETURNS_INT": RETURNS_INT,
        "TK_PERSIST": PERSIST,
        "TK_PERSIST_DOWN": PERSIST_DOWN,
        "TK_DOWN": DOWN,
        "TK_ONLY_DOWN": ONLY_DOWN,
    }


@given(records)
def test_unpack_gives_back_what_was_packed(record: Record) -> None:
    assert unpack(b"before" + pack(record), 6) == record


@given(records)
def test_compact_there_and_back(record: Record) -> None:
    line = compact(record)
    assert "\n" not in line
    assert parse_compact(line, record.cpu, record.pid, record.comm) == record
    assert parse_compact(line + "\n", record.cpu, record.pid, record.comm) == record


def test_compact_has_the_format_of_the_c_source() -> None:
    """A line the kernel printed, and the conversions that printed it."""
    source = (BPF / "common.h").read_text()
    (format_,) = re.findall(r'char line\[\] = "(.*)";', source)
    line = "tk1 8020 4d 3d73b2de8 59ed6 0 ffffffff818b1170 0 0 0000:00:02.0|virtio-pci"
    record = parse_compact(line)
    assert record is not None
    numbers = [record.kind | RETURN, record.seq, record.ns, record.duration_ns, *record.values]
    assert format_.replace("%llx", "%x") % (*numbers, record.name, record.driver) == line
    assert compact(record) == line


@given(st.text())
def test_other_text_is_no_record(text: str) -> None:
    record = parse_compact(text)
    assert record is None or text.startswith("tk1 ")


def test_kinds_are_consistent() -> None:
    for number, kind in KINDS.items():
        assert number == kind.id < RETURN
        assert len(kind.values) <= 4 and len(kind.returned) <= 4
        assert {v.type for v in (*kind.values, *kind.returned)} <= {"u64", "s64"}
        assert kind.subject in prepare.SUBJECTS
    events = [kind.event for kind in KINDS.values()]
    assert len(set(events)) == len(events)
    names = [event.partition(":")[2] for event in events]
    assert len(set(names)) == len(names), "kprobe events share one group"
    endings = {f"{name}_return" for name in names}
    assert endings.isdisjoint(names)
