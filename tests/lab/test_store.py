"""The lab's cache: whole things under names of their inputs, whoever is killed meanwhile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tracekit.errors import SourceError
from tracekit.lab.store import cached, digest, lab_directory, scratch


def test_a_name_changes_with_every_input() -> None:
    inputs = [["trixie", ["a", "b"]], ["trixie", ["a", "b", "c"]], ["sid", ["a", "b"]]]
    assert len({digest(i) for i in inputs}) == 3
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})


def test_where_the_lab_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TRACEKIT_LAB_DIR", raising=False)
    assert lab_directory() == tmp_path / "cache" / "tracekit" / "lab"
    monkeypatch.setenv("TRACEKIT_LAB_DIR", str(tmp_path / "own"))
    assert lab_directory() == tmp_path / "own"
    assert (tmp_path / "own").is_dir()
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRACEKIT_LAB_DIR", str(tmp_path / "file" / "below"))
    with pytest.raises(SourceError, match="TRACEKIT_LAB_DIR"):
        lab_directory()


def test_a_thing_is_made_once_and_whole(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(path: Path) -> None:
        made.append(path)
        path.write_text("half")
        assert not (tmp_path / "thing").exists()
        path.write_text("whole")

    for _ in range(2):
        assert cached(tmp_path / "thing", make).read_text() == "whole"
    assert len(made) == 1
    assert not made[0].parent.exists()


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def make(path: Path) -> None:
        path.write_text("half")
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        cached(tmp_path / "thing", make)
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]


def test_what_a_killed_process_leaves_is_swept_and_what_lives_is_not(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from tracekit.lab.store import scratch\n"
        "with scratch(pathlib.Path(sys.argv[1])) as place:\n"
        "    (place / 'disk').touch(); print(place, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        theirs = Path(process.stdout.readline().strip())
        with scratch(tmp_path):
            assert (theirs / "disk").exists()
        process.kill()
    assert theirs.exists()
    with scratch(tmp_path) as ours:
        assert list(tmp_path.iterdir()) == [ours]
