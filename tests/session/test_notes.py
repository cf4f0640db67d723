"""Bookmarks and filters kept in a session."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import SourceError
from tracekit.session import Session
from tracekit.session.notes import Bookmark, Notes

MARK = Bookmark(boot=0, cpu=1, ts_raw=1 << 63, ts_ns=-5, note='what "is" this?')


def _empty(path: Path) -> Path:
    """A session without a boot."""
    path.mkdir(exist_ok=True)
    manifest = {"format_version": 1, "tool": "tracekit", "state": "recovered"}
    (path / "manifest.json").write_text(json.dumps({**manifest, "boots": [], "files": {}}))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return _empty(tmp_path / "session")


def test_notes_come_back(path: Path) -> None:
    notes = Notes.load(Session.open(path))
    assert (notes.bookmarks, notes.filters) == ([], {})
    notes.bookmarks.append(MARK)
    notes.filters["kexec"] = "comm = kexec"
    notes.save()
    again = Notes.load(Session.open(path))
    assert again.bookmarks == [MARK]
    assert again.filters == {"kexec": "comm = kexec"}
    assert (path / "notes.json").stat().st_mode & 0o777 == 0o600


def test_the_session_stays_what_it_was(path: Path) -> None:
    before = Session.open(path).diagnostics
    notes = Notes.load(Session.open(path))
    notes.filters["a"] = "cpu = 0"
    notes.save()
    assert Session.open(path).diagnostics == before


def test_long_filters_come_back_whole(path: Path) -> None:
    notes = Notes.load(Session.open(path))
    notes.filters["long"] = f"event in ({', '.join(f'event{n}' for n in range(500))})"
    notes.save()
    assert Notes.load(Session.open(path)).filters == notes.filters


@pytest.mark.parametrize("many", [True, False])
def test_what_could_not_be_read_again_is_not_kept(path: Path, many: bool) -> None:
    notes = Notes.load(Session.open(path))
    notes.filters["a"] = "cpu = 0"
    notes.save()
    if many:
        notes.bookmarks = [MARK] * 10_001
    else:
        notes.filters["long"] = "x" * 10_001
    with pytest.raises(SourceError, match="10,001"):
        notes.save()
    assert Notes.load(Session.open(path)).filters == {"a": "cpu = 0"}
    text = json.dumps({"bookmarks": [asdict(b) for b in notes.bookmarks], "filters": notes.filters})
    (path / "notes.json").write_text(text)
    assert "10,001" in Notes.load(Session.open(path)).unread


def test_an_archive_keeps_none() -> None:
    from importlib.resources import as_file, files

    with as_file(files("tracekit") / "demo" / "handover.tar.zst") as shipped:
        notes = Notes.load(Session.open(shipped))
        with pytest.raises(SourceError, match="archive"):
            notes.save()


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", '{"bookmarks": 3}', '{"bookmarks": [{"boot": 0}]}', '{"filters": [1]}',
        '{"bookmarks": [{"boot": 0, "cpu": 0, "ts_raw": 1e400, "ts_ns": 0, "note": ""}]}',
        '{"bookmarks": [{"boot": 0, "cpu": 0, "ts_raw": 36893488147419103232, "ts_ns": 0,'
        ' "note": ""}]}',
    ],
)  # fmt: skip
def test_damaged_notes_are_said_and_left(path: Path, text: str) -> None:
    (path / "notes.json").write_text(text)
    notes = Notes.load(Session.open(path))
    assert (notes.bookmarks, notes.filters) == ([], {})
    assert "damaged" in notes.unread
    with pytest.raises(SourceError, match="remove it"):
        notes.save()
    assert (path / "notes.json").read_text() == text


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(bookmarks=_JSON, filters=_JSON)
def test_no_document_breaks_it(
    tmp_path_factory: pytest.TempPathFactory, bookmarks: object, filters: object
) -> None:
    path = _empty(tmp_path_factory.getbasetemp() / "noted")
    (path / "notes.json").write_text(json.dumps({"bookmarks": bookmarks, "filters": filters}))
    notes = Notes.load(Session.open(path))
    assert all(isinstance(b, Bookmark) for b in notes.bookmarks)
    assert all(isinstance(text, str) for text in notes.filters.values())


def test_a_link_in_its_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text("{}")
    (path / "notes.json").symlink_to(outside)
    notes = Notes.load(Session.open(path))
    notes.filters["a"] = "cpu = 0"
    notes.save()
    assert outside.read_text() == "{}"


def test_a_link_where_a_new_file_is_made_is_not_followed(path: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text("{}")
    (path / f".notes.json.part-{os.getpid()}").symlink_to(outside)
    notes = Notes.load(Session.open(path))
    notes.filters["a"] = "cpu = 0"
    notes.save()
    assert outside.read_text() == "{}" and not list(path.glob(".notes*"))
    assert Notes.load(Session.open(path)).filters == {"a": "cpu = 0"}
