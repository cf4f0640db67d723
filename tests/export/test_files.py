"""CSV and Parquet: the contract of columns, and that both hold what the timeline holds."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tracekit
from tracekit.cli import main

HEADER = ["ts_ns", "boot", "cpu", "pid", "comm", "event", "source", "flags", "args", "ts_raw"]


@pytest.fixture(scope="module")
def path(session: Callable[[str], Path]) -> Path:
    return session("handover-7.2-to-7.3-tsc")


def test_csv_is_the_timeline(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "events.csv"
    assert main(["export", str(path), "--format", "csv", "-o", str(out)]) == 0
    with out.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == HEADER
    expected = tracekit.open(path).timeline.select(HEADER).to_pylist()
    assert [dict(zip(HEADER, r, strict=True)) for r in rows[1:]] == [
        {k: "" if v is None else str(v) for k, v in row.items()} for row in expected
    ]


def test_parquet_is_the_timeline_with_types_units_and_clocks(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "events.parquet"
    assert main(["export", str(path), "--format", "parquet", "-o", str(out)]) == 0
    table = pq.read_table(out)
    assert table.column_names == HEADER
    types = {f.name: f.type for f in table.schema}
    assert (types["ts_ns"], types["ts_raw"], types["boot"]) == (pa.int64(), pa.uint64(), pa.uint8())
    assert all(pa.types.is_dictionary(types[c]) for c in ("comm", "event", "args"))
    expected = tracekit.open(path).timeline.select(HEADER)
    assert table.to_pylist() == expected.to_pylist()
    about = json.loads(table.schema.metadata[b"tracekit"])
    assert "nanoseconds" in about["ts_ns"]
    assert about["common_clock"] is True
    assert about["clocks"]["0"]["clock"] == "x86-tsc"
    assert about["clocks"]["0"]["ts_raw_unit"] == "cycles"
    assert about["clocks"]["1"]["error_ns"] > 0


def test_filters_apply(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "execs.csv"
    command = ["export", str(path), "--format", "csv", "-o", str(out), "--event", "*_exec"]
    assert main([*command, "--boot", "1"]) == 0
    with out.open(newline="") as file:
        events = {row["event"] for row in csv.DictReader(file)}
    assert events == {"sched:sched_process_exec"}


def test_nothing_found_is_an_empty_table(path: Path, tmp_path: Path) -> None:
    for form in ("csv", "parquet"):
        out = tmp_path / f"none.{form}"
        command = ["export", str(path), "--format", form, "-o", str(out), "--comm", "nobody"]
        assert main(command) == 0
    assert (tmp_path / "none.csv").read_text().strip() == ",".join(f'"{c}"' for c in HEADER)
    assert pq.read_table(tmp_path / "none.parquet").column_names == HEADER


def test_an_existing_file_is_replaced_only_by_a_whole_one(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "events.csv"
    out.write_text("precious")
    from tracekit.recording import Recording

    def broken(*_: object, **__: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Recording, "row_batches", broken)
    assert main(["export", str(path), "--format", "csv", "-o", str(out)]) == 3
    assert out.read_text() == "precious"
    assert [f.name for f in tmp_path.iterdir()] == ["events.csv"]


@pytest.mark.parametrize(
    "options",
    [["--format", "csv"], ["--format", "csv", "--per-event", "x"], ["-o", "x"],
     ["--format", "parquet", "--per-event", "x", "--grep", "a"], ["--format", "tsv", "-o", "x"]],
)  # fmt: skip
def test_wrong_usage_is_exit_2(path: Path, options: list[str], tmp_path: Path) -> None:
    options = [str(tmp_path / o) if o == "x" else o for o in options]
    assert main(["export", str(path), *options]) == 2
