"""``tracekit fleet`` as it is run."""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from tests.support.fleets.small import dataset_of
from tests.support.sessions.figures import figure, run
from tracekit.cli import main


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    dataset_of(tmp_path / "d", [
        run(figure("total", "blackout", 10**9 + n), figure("phase", "dark", 10**8 + n),
            session=f"s{n}") for n in range(9)
    ])  # fmt: skip
    return str(tmp_path / "d")


def test_report(dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "report", dataset]) == 0
    out = capsys.readouterr().out
    assert "nothing is slower than its peers" in out and "1.000 s" in out and "dark" in out
    assert main(["fleet", "report", dataset, "--json", "--question", "phases"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 2 and document["phases"][0]["p50_ns"] == 10**8 + 4
    page = tmp_path / "x.html"
    assert main(["fleet", "report", dataset, "--html", str(page)]) == 0
    assert page.read_text().startswith("<!doctype html>")
    assert main(["fleet", "report", str(tmp_path / "none")]) == 4


def test_sql(dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = "SELECT kernel, count(*) AS n FROM handovers GROUP BY 1"
    assert main(["fleet", "sql", dataset, query, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"kernel": "7.2", "n": 9}
    assert main(["fleet", "sql", dataset, query, "-o", str(tmp_path / "x.csv")]) == 0
    assert (tmp_path / "x.csv").read_text() == '"kernel","n"\n"7.2",9\n'
    assert main(["fleet", "sql", dataset, "SELECT nothing"]) == 2


def test_add_and_compact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where, bad = str(tmp_path / "d"), tmp_path / "bad.tar.zst"
    bad.write_bytes(b"")
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as demo:
        words = ["fleet", "add", where, str(demo), str(bad), "--workers", "1", "--json"]
        assert main(words) == 0
        said = capsys.readouterr()
        document = json.loads(said.out)
        assert (document["added"], document["there"], len(document["bad"])) == (1, 0, 1)
        assert f"left out: {bad}" in said.err
        assert main(words) == 0
        assert json.loads(capsys.readouterr().out)["there"] == 1
    assert main(["fleet", "compact", where]) == 0
    assert main(["fleet", "report", where]) == 0
    assert "bad.tar.zst" in capsys.readouterr().out


def test_hand_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as demo:
        for _ in range(2):
            assert main(["fleet", "hand-on", str(demo), "--to", str(tmp_path / "in")]) == 0
        (copied,) = (tmp_path / "in").iterdir()
        assert copied.read_bytes() == demo.read_bytes()
        assert main(["fleet", "hand-on", str(demo), "--run", "test -f"]) == 0
        assert main(["fleet", "hand-on", str(demo), "--run", "false"]) == 1
        assert main(["fleet", "hand-on", str(demo), "--run", "/no/such/program"]) == 1
        assert main(["fleet", "hand-on", str(demo)]) == 2
    assert main(["fleet", "report", str(copied)]) == 4


def test_what_is_derived_is_not_handed_on(tmp_path: Path) -> None:
    session = tmp_path / "session"
    assert main(["-q", "demo", "-o", str(session)]) == 0
    whole = {p.relative_to(session) for p in session.rglob("*") if p.is_file()}
    assert main(["report", str(session)]) == 0
    parquet = ["--format", "parquet", "-o", str(tmp_path / "t.parquet")]
    assert main(["-q", "export", str(session), *parquet]) == 0
    assert (session / "reports.txt").exists() and (session / "timeline.parquet").exists()
    assert main(["fleet", "hand-on", str(session), "--to", str(tmp_path / "in")]) == 0
    (copied,) = (tmp_path / "in").iterdir()
    assert {p.relative_to(copied) for p in copied.rglob("*") if p.is_file()} == whole
