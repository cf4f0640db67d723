"""Lines of text against a plain reference, and the compiled joining against Python's formatting."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tracekit
from tracekit._native import lines
from tracekit.export.kernel_text import kernel_blocks
from tracekit.export.lines import (
    KERNEL_COUNT,
    KERNEL_SECONDS,
    SIGNED_SECONDS,
    coded_texts,
    combined,
    join_lines,
)
from tracekit.export.text import text_blocks
from tracekit.ftrace.printers.trace_file import context, latency_flags
from tracekit.timeline.filter import Filter


def test_every_line_of_a_handover(session: Callable[[str], Path]) -> None:
    recording = tracekit.open(session("handover-7.2-tsc"))
    lines = b"".join(text_blocks(recording, Filter())).decode().splitlines()
    rows = recording.timeline.to_pylist()
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        sign, ns = "-" if row["ts_ns"] < 0 else "+", abs(row["ts_ns"])
        time = f"{sign}{ns // 10**9}.{ns % 10**9:09d}"
        task = f"{row['comm'] or '<...>'}-{row['pid']}"
        state = latency_flags(row["flags"], row["preempt"])
        assert line == (
            f"{time:>15} {row['boot']}:{row['cpu']:03d} {task:<22} {state} {row['event']}"
            f" {row['args']}"
        )


def test_texts_can_be_cleaned(session: Callable[[str], Path]) -> None:
    recording = tracekit.open(session("handover-7.2-tsc"))
    wanted = Filter(events=("machine_kexec",))
    (block,) = text_blocks(recording, wanted, lambda text: text.replace("kexec", "KEXEC"))
    assert b"kexec" not in block
    assert b"handover:machine_KEXEC" in block


def test_what_mmiotrace_leaves_out(session: Callable[[str], Path], tmp_path: Path) -> None:
    """Under that tracer the kernel prints no other event, and markers in a form of their own."""
    copy = Path(shutil.copytree(session("handover-7.2-tsc"), tmp_path / "session"))
    (copy / "boots/0/tracefs/instances/tk/current_tracer").write_text("mmiotrace\n")
    recording = tracekit.open(copy)
    wanted = Filter(boots=frozenset({0}))
    marks = recording.table(recording.select(Filter(events=("print",), boots=wanted.boots)))
    assert len(marks)
    text = b"".join(kernel_blocks(recording, wanted)).decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == len(marks)
    for line, args in zip(lines, marks["args"].to_pylist(), strict=True):
        assert re.fullmatch(r"MARK \d+\.\d{6} (.*)", line)[1] == args.partition(": ")[2]  # type: ignore[index]


stamps = st.lists(st.integers(0, (1 << 64) - 1), max_size=20)


@given(stamps, st.booleans())
def test_the_kernels_times(values: list[int], in_ns: bool) -> None:
    n = len(values)
    codes = np.zeros(n, np.int32)
    mode = KERNEL_SECONDS if in_ns else KERNEL_COUNT
    empty = context("", 0, 0, 0, 0, 0, in_ns)
    head = empty[: -len(f"{0:5d}.{0:06d}: " if in_ns else f"{0:12d}: ")]
    heads, tails = coded_texts(codes, [head]), coded_texts(codes, [": x"])
    text = join_lines(mode, np.array(values, np.uint64), heads, tails)
    expected = [context("", 0, 0, 0, 0, ts, in_ns) + "x" for ts in values]
    assert text.decode().splitlines() == expected


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=20))
def test_signed_seconds(values: list[int]) -> None:
    codes = np.arange(len(values), dtype=np.int32)
    names = [f" {i}\u00b5" for i in range(len(values))]
    column = coded_texts(codes, names)
    text = join_lines(SIGNED_SECONDS, np.array(values, np.int64), column, column)
    expected = [
        f"{f'{chr(45) if v < 0 else chr(43)}{abs(v) // 10**9}':>5}.{abs(v) % 10**9:09d}{n}{n}"
        for v, n in zip(values, names, strict=True)
    ]
    assert text.decode().splitlines() == expected


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 1 << 30), st.integers(0, 255))))
def test_equal_rows_share_a_code(rows: list[tuple[int, int, int]]) -> None:
    columns = [np.array([r[i] for r in rows], np.int64) for i in range(3)]
    codes, firsts = combined(*columns)
    assert len(codes) == len(rows)
    for row, code in zip(rows, codes.tolist(), strict=True):
        first = int(firsts[code])
        assert rows[first] == row
        assert rows.index(row) == first
    assert len(firsts) == len(set(rows))


@pytest.mark.parametrize(
    ("mode", "codes", "ends"),
    [(3, [0], [0, 1]), (0, [1], [0, 1]), (0, [-1], [0, 1]), (0, [0], [0, 2]),
     (0, [0], [1, 0]), (0, [0], [-1, 1]), (0, [0, 0], [0, 1]), (0, [0], [0])],
)  # fmt: skip
def test_impossible_columns_are_refused(mode: int, codes: list[int], ends: list[int]) -> None:
    good = (np.zeros(1, np.int32), np.array([0, 1]), b"a")
    bad = (np.array(codes, np.int32), np.array(ends), b"a")
    for head, tail in ((good, bad), (bad, good)):
        with pytest.raises(ValueError, match=r"columns|outside"):
            lines.print(1, (head, (str(mode), np.zeros(1, np.uint64)), tail))
