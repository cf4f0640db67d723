"""Files written safely: private, and never through a symlink."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit.errors import SessionError
from tracekit.session import SessionWriter


def test_nobody_else_can_read_it(path: Path) -> None:
    for directory, _, files in os.walk(path):
        assert stat.S_IMODE(Path(directory).stat().st_mode) == 0o700
        for file in files:
            assert stat.S_IMODE(Path(directory, file).stat().st_mode) == 0o600


def test_an_empty_directory_becomes_private(tmp_path: Path) -> None:
    (tmp_path / "S").mkdir(mode=0o755)
    with SessionWriter.open(tmp_path / "S"):
        pass
    assert stat.S_IMODE((tmp_path / "S").stat().st_mode) == 0o700


def test_writing_does_not_follow_symlinks(path: Path, tmp_path: Path) -> None:
    """A session that somebody else prepared: recover runs as root."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("mine")
    (path / "boots/1").symlink_to(outside)
    (path / "boots/0/dmesg").symlink_to(outside / "file")
    with SessionWriter.open(path) as writer:
        with pytest.raises(SessionError, match="cannot be written"):
            writer.write("boots/1/file", b"x")
        with pytest.raises(SessionError, match="cannot be written"):  # noqa: SIM117
            with writer.tree("boots/1/tracefs") as tree:
                tree.write("file", b"x")
        writer.write("boots/0/dmesg", b"x")  # replaces the link itself
    assert [p.name for p in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "mine"
    assert not (path / "boots/0/dmesg").is_symlink()


def test_a_full_disk_is_a_session_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SessionWriter.open(path) as writer:

        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(SessionError, match=r"No space left on device.*run the same command"):
            writer.write("boots/0/dmesg", b"x")


def test_reading_takes_no_more_memory_than_the_file(tmp_path: Path) -> None:
    """A limit of 4 GiB must not be allocated: the machine may have less."""
    code = (
        "import os, resource, sys; from tracekit.session import Session, SessionWriter;"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30));"
        "writer = SessionWriter.open(sys.argv[1]).__enter__();"
        "fd = writer.open_part('boots/0/bpf.bin'); os.write(fd, b'12'); os.close(fd);"
        "writer.write('boots/0/regions/tkA.raw', b'34'); writer.finish('writing');"
        "assert writer.read_part('boots/0/bpf.bin') == b'12';"
        "assert Session.open(sys.argv[1]).read('boots/0/regions/tkA.raw') == b'34'"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "s"], check=True)
