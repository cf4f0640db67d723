"""The file that is named is the file that is written: compressed as its name says, or refused."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import tracekit
from tests.support.session_trees import make_session, two_cpus
from tests.support.sessions.loose import loosen
from tracekit.cli import main
from tracekit.errors import UsageError
from tracekit.export.targets import Form, check_target
from tracekit.session.packing.compression import decompress


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_session(tmp_path_factory.mktemp("targets"), two_cpus())


def exported(path: Path, out: Path, form: str = "csv") -> int:
    code: int = main(["-q", "export", str(path), "--format", form, "-o", str(out)])
    return code


UNPACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".zst": lambda data: decompress(data, ".zst", "x", 1 << 30),
}


@pytest.mark.parametrize(
    ("name", "suffix"), [("x.csv.gz", ".gz"), ("x.csv.zst", ".zst"), ("X.CSV.GZ", ".gz")]
)
def test_csv_is_compressed_as_its_name_says(
    path: Path, tmp_path: Path, name: str, suffix: str
) -> None:
    plain, packed = tmp_path / "x.csv", tmp_path / name
    assert exported(path, plain) == exported(path, packed) == 0
    assert UNPACK[suffix](packed.read_bytes()) == plain.read_bytes()
    assert sorted(f.name for f in tmp_path.iterdir()) == sorted(["x.csv", name])


def test_a_pipe_is_compressed_too(path: Path, tmp_path: Path) -> None:
    fifo, found = tmp_path / "x.csv.gz", []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: found.append(fifo.read_bytes()))
    reader.start()
    assert exported(path, fifo) == 0
    reader.join()
    assert exported(path, tmp_path / "x.csv") == 0
    assert gzip.decompress(found[0]) == (tmp_path / "x.csv").read_bytes()


@pytest.mark.parametrize(
    ("name", "form", "message"),
    [
        ("x.csv.bz2", "csv", "only as .gz or .zst: name it x.csv.gz"),
        ("x.csv.xz", "csv", "not compressed as .xz"),
        ("x.csv.zip", "csv", "not compressed as .zip"),
        ("x.tar.gz", "csv", "not .tar: name it x.csv.gz"),
        ("x.parquet", "csv", "is CSV, not .parquet: name it x.csv"),
        ("x.parquet.zst", "csv", "name it x.csv.zst"),
        ("x.xlsx", "csv", "is CSV, not .xlsx"),
        ("x.csv", "parquet", "is Parquet, not .csv: name it x.parquet"),
        ("x.parquet.gz", "parquet", "compressed inside .*name it x.parquet,"),
        ("x.parquet.xz", "parquet", "compressed inside"),
        ("-", "parquet", "needs a file"),
    ],
)
def test_a_name_that_says_something_else_is_refused(
    path: Path, tmp_path: Path, name: str, form: Form, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check_target(Path(name), form)
    out = Path(name) if name == "-" else tmp_path / name
    assert exported(path, out, form) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "name", "message"),
    [
        (
            "export --format trace.dat --boot 0 -o",
            "x.dat.gz",
            "no file that was compressed .*x.dat,",
        ),
        (
            "export --format trace.dat --boot 0 -o",
            "x.csv",
            "is a trace.dat, not .csv: name it x.dat",
        ),
        ("export --format trace.dat --boot 0 -o", "-", "name a file"),
        ("report --html", "x.svg", "is HTML, not .svg: name it x.html"),
        ("report --html", "x.html.xz", "only as .gz or .zst"),
        ("report --format openmetrics -o", "x.json", "is OpenMetrics, not .json: name it x.prom"),
        ("report --format otlp -o", "x.csv", "is JSON, not .csv"),
        ("plot -o", "x.png", "is an SVG picture, not .png: name it x.svg"),
    ],
)
def test_every_command_that_writes_a_file_reads_its_name(
    path: Path, tmp_path: Path, words: str, name: str, message: str, capsys
) -> None:
    command, *options = words.split()
    out = name if name == "-" else str(tmp_path / name)
    assert main([command, str(path), *options, out]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("report --html", "x.html"),
        ("report --format openmetrics -o", "x.prom"),
        ("report --format otlp -o", "x.json"),
    ],
)
@pytest.mark.parametrize("suffix", UNPACK)
def test_every_text_is_compressed_as_its_name_says(
    path: Path, tmp_path: Path, words: str, name: str, suffix: str
) -> None:
    command, *options = words.split()
    for out in (tmp_path / name, tmp_path / f"{name}{suffix}"):
        assert main(["-q", command, str(path), *options, str(out)]) == 0
    packed = (tmp_path / f"{name}{suffix}").read_bytes()
    assert UNPACK[suffix](packed) == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("name", ["x", "x.csv", "x.txt", "-", "2026.11.28", "x.2"])
def test_other_names_are_the_users_choice(name: str) -> None:
    assert check_target(Path(name), "csv") == ""


def test_parts_of_killed_exports_are_swept(path: Path, tmp_path: Path) -> None:
    old, others, mine = (tmp_path / f".{n}.part-4242-0a0b" for n in ("x.csv", "y.csv", "x.csv.gz"))
    for part in (old, others, mine):
        part.write_text("half")
    os.mkfifo(tmp_path / ".x.csv.part-1")
    assert exported(path, tmp_path / "x.csv") == 0
    assert sorted(f.name for f in tmp_path.iterdir()) == sorted([others.name, mine.name, "x.csv"])


def test_a_part_that_is_being_written_is_left_alone(path: Path, tmp_path: Path) -> None:
    from tracekit.session.parts import replacing

    with replacing(tmp_path / "x.csv") as part:
        part.write(b"first")
        assert exported(path, tmp_path / "x.csv") == 0
    assert (tmp_path / "x.csv").read_bytes() == b"first"
    assert [f.name for f in tmp_path.iterdir()] == ["x.csv"]


def test_a_failed_sync_is_an_error(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    assert exported(path, tmp_path / "x.csv") == 3
    assert "Input/output error" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_events_whose_names_collide_get_files_of_their_own(path: Path, tmp_path: Path) -> None:
    session = shutil.copytree(path, tmp_path / "session", symlinks=True)
    events = loosen(session) / "boots/0/tracefs/events"
    recorded = sorted(tracekit.open(session).event_names)
    assert len(recorded) == 2
    for name, odd in zip(recorded, ("odd/irq@h", "odd/irq#h"), strict=True):
        (events / "odd").mkdir(exist_ok=True)
        (events / name.replace(":", "/")).rename(events / odd)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".odd.irq_x.parquet.part-17-00").write_text("left by a killed export")
    out = str(tmp_path / "out")
    assert main(["-q", "export", str(session), "--format", "parquet", "--per-event", out]) == 0
    files = sorted((tmp_path / "out").iterdir())
    assert len(files) == 2 and all(f.name.startswith("odd_irq_h.") for f in files)
    assert sum(pq.read_metadata(f).num_rows for f in files) == len(tracekit.open(path))
