"""Results as tables, CSV, JSON and Parquet, and what is typed at the prompt."""

from __future__ import annotations

import csv
import gzip
import io
import json
from importlib.resources import files
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

import tracekit
from tracekit.cli import main
from tracekit.sql.database import Database
from tracekit.sql.output import table_lines
from tracekit.sql.prompt import Prompt

DEMO = str(files("tracekit") / "demo" / "handover.tar.zst")
QUERY = (
    "SELECT ts_ns, time, comm, event, 18446744073709551615::UBIGINT AS large, [1, 2] AS list, "
    "sum(cpu) OVER () AS total, 'a\\'\\x1b' AS x, NULL AS none, '=1+1' AS formula "
    "FROM events WHERE ts_ns BETWEEN -100000 AND 0 ORDER BY ts_ns"
).replace("'a\\'\\x1b'", "chr(27) || 'a'")


def written(target: Path, *words: str) -> bytes:
    assert main(["-q", "sql", DEMO, QUERY, "-o", str(target), *words]) == 0
    return target.read_bytes()


def test_files_say_the_same(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in written(tmp_path / "x.json").splitlines()]
    table = tracekit.open(DEMO).timeline
    wanted = [n for n in table["ts_ns"].to_pylist() if -100_000 <= n <= 0]
    assert [row["ts_ns"] for row in rows] == wanted and wanted
    assert (rows[0]["large"], rows[0]["list"], rows[0]["none"]) == (
        hex((1 << 64) - 1),
        [1, 2],
        None,
    )
    assert isinstance(rows[0]["total"], int)
    assert rows[-1]["time"].startswith("2026-11-22 19:01:11.519426296")
    text = gzip.decompress(written(tmp_path / "x.csv.gz")).decode()
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [int(line["ts_ns"]) for line in lines] == wanted
    assert (lines[0]["large"], lines[0]["formula"]) == (str((1 << 64) - 1), "'=1+1")
    parquet = pq.read_table(io.BytesIO(written(tmp_path / "x.parquet")))
    assert parquet["ts_ns"].to_pylist() == wanted
    packed = written(tmp_path / "x.jsonl.zst")
    again = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    assert [json.loads(line)["ts_ns"] for line in again.splitlines()] == wanted
    assert b"\x1b" not in written(tmp_path / "x.txt")


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--format", "parquet"), "needs a file"), (("-o", "x.csv", "--format", "json"), "not .csv"),
     (("-o", "x.parquet.gz"), "compressed inside"), (("-o", "x.csv.bz2"), "not compressed as")],
)  # fmt: skip
def test_a_target_that_makes_no_sense(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sql", DEMO, "SELECT 1", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_table_is_aligned_and_safe() -> None:
    table = pa.table({"n": [1, 100, None], "t\x1b": ["a\nb", "", None]})
    assert list(table_lines(table)) == [
        "   n  t\\x1b", "────  ─────", "   1  a\\nb", " 100", "NULL  NULL",
    ]  # fmt: skip
    assert list(table_lines(pa.table({"a": pa.array([], pa.int64())}))) == ["a", "─"]
    assert list(table_lines(pa.table({}))) == []


def test_two_columns_of_one_name_are_both_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-q", "sql", DEMO, "SELECT 1 AS a, 2 AS a"]) == 0
    assert capsys.readouterr().out.split() == ["a", "a", "─", "─", "1", "2"]
    assert main(["-q", "sql", DEMO, "SELECT 1 AS a, 2 AS a", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"a": 1, "a_2": 2}


def asked(*lines: str) -> tuple[list[pa.Table], list[str]]:
    """What a prompt shows and says of the lines."""
    typed = iter(lines)
    results: list[pa.Table] = []
    said: list[str] = []

    def read(_: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    Prompt(Database(tracekit.open(DEMO)), results.append, said.append, read).run()
    return results, said


def test_the_prompt_goes_on_after_a_mistake() -> None:
    results, said = asked(
        "", "SELECT", "  1 AS a", ";", "SELEC;", "CREATE VIEW v AS SELECT 2 AS b;", "FROM v;",
        ".schema sched_switch", ".tables", ".schema nothing", ".quit", "SELECT 3;",
    )  # fmt: skip
    assert [table.to_pylist() for table in results if table.num_columns == 1][-1] == [{"b": 2}]
    assert results[0].to_pylist() == [{"a": 1}]
    assert "syntax error" in said[0]
    assert "  prev_comm  string" in said and "no such table: see .tables" in said
    assert "sched_switch  (sched:sched_switch)" in said and '"sched:sched_switch"' in said


def test_words_complete() -> None:
    prompt = Prompt(Database(tracekit.open(DEMO)), list, list)
    assert prompt.completions("sched_s") == ["sched_switch"]
    assert prompt.completions('"sched:sched_s') == ['"sched:sched_switch"']
    assert {"duration_ns", "start_ns"} <= {*prompt.completions("dur"), *prompt.completions("STA")}
    assert prompt.completions(".t") == [".tables"]
