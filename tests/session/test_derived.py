"""Derived files: used while they are true, and only then."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.session_trees import make_session, two_cpus
from tracekit.cli import main
from tracekit.session import Session
from tracekit.session.derived import fetch_derived


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Path, Path]:
    """A session that was exported whole, and what was written."""
    session, out = make_session(tmp_path, two_cpus()), tmp_path / "first.parquet"
    assert main(["-q", "export", str(session), "--format", "parquet", "-o", str(out)]) == 0
    return session, out


def again(session: Path, where: Path) -> tuple[int | None, Path]:
    out = where / "again.parquet"
    return fetch_derived(Session.open(session), "timeline.parquet", out), out


def test_a_second_export_is_the_first_one(exported: tuple[Path, Path], tmp_path: Path) -> None:
    session, first = exported
    rows, out = again(session, tmp_path)
    assert rows == 1000
    assert out.read_bytes() == first.read_bytes()
    assert (session / "timeline.parquet").stat().st_mode & 0o777 == 0o600
    codes = {d.code for d in Session.open(session).diagnostics}
    assert codes <= {"file-absent", "clocks-without-tsc"}


@pytest.mark.parametrize(
    "change",
    [
        lambda s: (s / "boots/0/tracefs/saved_cmdlines").write_text("1 other\n"),
        lambda s: (s / "boots/0/formats.json").unlink(),
        lambda s: next((s / "formats").iterdir()).unlink(),
        lambda s: (s / "boots/0/new").write_text(""),
        lambda s: (s / "manifest.json").write_text((s / "manifest.json").read_text() + "\n"),
        lambda s: (s / "timeline.parquet").write_bytes(b"PAR1"),
        lambda s: (s / "timeline.json").write_text("[]"),
        lambda s: (s / "timeline.json").unlink(),
        lambda s: (s / "timeline.parquet").unlink(),
    ],
)
def test_a_stale_or_damaged_one_is_not_used(
    exported: tuple[Path, Path], tmp_path: Path, change: Callable[[Path], object]
) -> None:
    session, _ = exported
    change(session)
    assert again(session, tmp_path)[0] is None
    out = tmp_path / "new.parquet"
    assert main(["-q", "export", str(session), "--format", "parquet", "-o", str(out)]) == 0
    assert again(session, tmp_path)[0] == 1000
    assert sorted(p.name for p in tmp_path.glob(".*")) == []


def test_a_link_is_not_followed(exported: tuple[Path, Path], tmp_path: Path) -> None:
    session, first = exported
    kept = session / "timeline.parquet"
    kept.unlink()
    kept.symlink_to(first)
    assert again(session, tmp_path)[0] is None


@pytest.mark.parametrize("target", ["/dev/zero", "fifo", "directory"])
def test_what_tells_of_it_is_a_plain_file(
    exported: tuple[Path, Path], tmp_path: Path, target: str
) -> None:
    session, _ = exported
    told = session / "timeline.json"
    told.unlink()
    if target == "fifo":
        os.mkfifo(told)
    elif target == "directory":
        told.mkdir()
    else:
        told.symlink_to(target)
    assert again(session, tmp_path)[0] is None


def test_a_part_is_never_kept(exported: tuple[Path, Path], tmp_path: Path) -> None:
    session, _ = exported
    (session / "timeline.parquet").unlink()
    out = tmp_path / "part.parquet"
    command = ["-q", "export", str(session), "--format", "parquet", "-o", str(out), "--cpu", "0"]
    assert main(command) == 0
    assert not (session / "timeline.parquet").exists()


def test_an_archive_keeps_nothing(tmp_path: Path) -> None:
    from tests.make_demo import TARGET

    archive = tmp_path / TARGET.name
    shutil.copy(TARGET, archive)
    out = tmp_path / "out.parquet"
    assert main(["-q", "export", str(archive), "--format", "parquet", "-o", str(out)]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [archive.name, "out.parquet"]
