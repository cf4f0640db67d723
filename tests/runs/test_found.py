"""Which sessions words mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracekit.errors import SessionError, UsageError
from tracekit.runs.found import find_sessions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b", "a", "deep/c", ".hidden/d"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "manifest.json").write_text("{}")
    (tmp_path / "deep" / "e.tar.zst").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path)
    return tmp_path


def names(folder: Path, *words: str) -> list[str]:
    return [str(p.relative_to(folder)) for p in find_sessions([str(folder / w) for w in words])]


def test_folders_sessions_and_patterns(folder: Path) -> None:
    assert names(folder, "") == ["a", "b", "deep/e.tar.zst", "deep/c"] or set(
        names(folder, "")
    ) == {"a", "b", "deep/c", "deep/e.tar.zst"}
    assert names(folder, "b", "a", "b") == ["b", "a"]
    assert names(folder, "[ab]") == ["a", "b"]
    assert set(names(folder, "deep*")) == {"deep/c", "deep/e.tar.zst"}
    assert names(folder, "gone") == ["gone"]  # opening it says what is wrong


def test_words_that_mean_nothing(folder: Path) -> None:
    (folder / "empty").mkdir()
    for word in ("empty", "x*"):
        with pytest.raises(SessionError):
            names(folder, word)
    with pytest.raises(UsageError):
        find_sessions([])
