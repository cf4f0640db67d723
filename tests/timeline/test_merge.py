"""Merging window by window: the same as sorting all of it at once, on what was recorded, too."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit import spill
from tracekit.analysis import spilled
from tracekit.cli import main
from tracekit.export import per_event
from tracekit.export.perfetto import chosen
from tracekit.ftrace.ring import page
from tracekit.timeline import merge, rows
from tracekit.timeline.rows import in_batches

COMMANDS = (
    ("export", "--format", "csv", "-o", "out.csv"),
    ("export", "--format", "parquet", "-o", "out.parquet"),
    ("export", "--format", "perfetto", "-o", "out.pftrace"),
    ("export", "--format", "csv", "--redact", "-o", "redacted.csv"),
    ("export", "--format", "parquet", "--per-event", "every.d"),
    ("export", "--format", "parquet", "--cpu", "0", "--per-event", "some.d"),
    ("export", "--format", "csv", "--cpu", "0", "--where", "pid > 1", "-o", "some.csv"),
    ("events", "--format", "kernel"),
    ("events", "--format", "json", "--event", "sched_*"),
    ("report", "--json"),
    ("stats", "--json"),
    ("stats", "--by", "system", "--where", "pid > 1", "--json"),
    ("stats", "--every", "10ms", "--json"),
    ("stats", "--gaps", "1ms", "--json"),
    ("stats", "--by", "span", "--json"),
    ("stats", "--by", "span", "--where", "pid > 1", "--json"),
    ("stats", "--by", "softirq", "--every", "10ms", "--json"),
    ("stats", "--by", "task", "--json"),
    ("stats", "--by", "cpu", "--from", "-1s", "--to", "0", "--json"),
    ("states", "--json"),
    ("latency", "--json"),
    ("latency", "--by", "waker", "--json"),
    ("calls", "--json"),
)
CAPTURES = ["demo", "same-boot-wide-7.2", "stock-6.12-panic-tsc", "vmcore-6.12"]


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes everything that is large be taken piece by piece, and kept in files."""

    def shrink() -> None:
        for module in (rows, merge, chosen):
            monkeypatch.setattr(module, "PIECE", 3000)
        monkeypatch.setattr(spill, "_HELD", 0)
        for name, value in (("_FEW", 0), ("_HELD", 0), ("_SMALL", 1)):
            monkeypatch.setattr(spilled, name, value)
        monkeypatch.setattr(per_event, "_STRETCH", 700)
        monkeypatch.setattr(page, "_STEP", 5 << 12)

    return shrink


@given(st.lists(st.lists(st.integers(0, 60), max_size=40), max_size=6), st.integers(1, 30))
def test_windows_are_all_of_it_in_order(runs: list[list[int]], piece: int) -> None:
    columns = [np.array(sorted(run), np.uint64) for run in runs]
    expected = sorted(
        ((stamp, number, i) for number, run in enumerate(columns) for i, stamp in enumerate(run)),
        key=lambda row: row[:2],
    )
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "PIECE", piece)
        for parts in merge.windows([*columns]):
            window = [
                (columns[n][i], n, i) for n, p in parts.items() for i in range(p.start, p.stop)
            ]
            last = max(stamp for stamp, _, _ in window)
            assert sum(stamp < last for stamp, _, _ in window) <= piece
            found += sorted(window, key=lambda row: row[:2])
    assert found == expected


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=30), st.integers(1, 12))
def test_batches_have_their_size(parts: list[tuple[int, bool]], size: int) -> None:
    """Of stretches of rows, and of some of them: the last batch has what is left."""
    every: list[int] = []
    given, at = list[slice | np.ndarray](), 0
    for length, whole in parts:
        mine = np.arange(at, at + length * (1 if whole else 2), 1 if whole else 2)
        at += len(mine) * (1 if whole else 2)
        every += mine.tolist()
        given.append(slice(at - length, at) if whole else mine)
    found = [np.arange(at)[batch].tolist() for batch in in_batches(given, size)]
    assert [row for batch in found for row in batch] == every
    assert all(len(batch) == size for batch in found[:-1])
    assert all(found)


def _made(session: Path, where: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, bytes]:
    """What each command writes, into a file or to the terminal."""
    where.mkdir()
    made = {}
    for name in ("timeline.parquet", "timeline.json", "reports.txt", "reports.json"):
        (session / name).unlink(missing_ok=True)
    for command in COMMANDS:
        words = [str(where / word) if "." in word else word for word in command[1:]]
        assert main(["-q", command[0], str(session), *words]) == 0
        made[" ".join(command)] = capsys.readouterr().out.encode()
        (session / "reports.json").unlink(missing_ok=True)
    written = (path for path in where.rglob("*") if path.is_file())
    return made | {str(path.relative_to(where)): path.read_bytes() for path in written}


@pytest.mark.slow
@pytest.mark.parametrize("name", CAPTURES)
def test_in_pieces_and_files_it_is_the_same(
    name: str,
    session: Callable[[str], Path],
    in_pieces: Callable[[], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Byte for byte: exports, events, reports and statistics of real recordings."""
    copy = tmp_path / "session"
    shutil.copytree(session(name), copy)
    whole = _made(copy, tmp_path / "whole", capsys)
    shutil.rmtree(copy / "index", ignore_errors=True)
    in_pieces()
    assert _made(copy, tmp_path / "pieces", capsys) == whole
