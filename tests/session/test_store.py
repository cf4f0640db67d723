"""Where a session's files are: a directory or an archive, and nothing else."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from tracekit.errors import SessionError
from tracekit.session import Session
from tracekit.session.packing.compression import compress


def test_symlinks_do_not_exist(path: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").write_text("secret")
    (path / "boots/0/link").symlink_to(tmp_path / "secret")
    (path / "boots/0/dir").symlink_to(tmp_path / "dir")
    os.mkfifo(path / "boots/0/fifo")
    session = Session.open(path)
    assert session.list("boots/0/") == Session.open(path).list("boots/0/")
    for name in ("link", "dir/file", "fifo"):
        assert not session.has(f"boots/0/{name}")
        with pytest.raises(SessionError, match="missing"):
            session.read(f"boots/0/{name}")
    # ... and one that takes a file's place after the session was opened
    (path / "boots/0/kernel.json").unlink()
    (path / "boots/0/kernel.json").symlink_to(tmp_path / "secret")
    with pytest.raises(SessionError, match="cannot be read"):
        session.kernel(0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no such session"),
        (lambda p: p.mkdir(), "empty"),
        (lambda p: p.write_text("x"), "not a session"),
        (lambda p: (p.mkdir(), (p / "file").write_text("x")), "not a session"),
    ],
)
def test_not_a_session(tmp_path: Path, make: object, message: str) -> None:
    make(tmp_path / "S")  # type: ignore[operator]
    with pytest.raises(SessionError, match=message) as caught:
        Session.open(tmp_path / "S")
    assert "tracekit snapshot" in str(caught.value)


@pytest.mark.parametrize("prefix", ["", "./", "S/", "./some/where/S/"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_reads_like_the_directory(path: Path, prefix: str, form: int) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as tar:
        tar.add(path, arcname=prefix or ".")
    archive = path.with_suffix(".tar.zst")
    archive.write_bytes(compress(packed.getvalue(), ".zst"))
    one, two = Session.open(path), Session.open(archive)
    assert two.list() == one.list()
    assert two.boots == [0]
    for name in one.list():
        assert two.read(name) == one.read(name)
    assert two.diagnostics == one.diagnostics
    gz = path.with_suffix(".tar.gz")
    gz.write_bytes(gzip.compress(packed.getvalue()))
    assert Session.open(gz).list() == one.list()


def test_archives_that_are_none(tmp_path: Path) -> None:
    for content in (b"", b"rubbish", compress(b"rubbish" * 200, ".zst"), compress(b"", ".zst")):
        archive = tmp_path / "a.tar.zst"
        archive.write_bytes(content)
        with pytest.raises(SessionError):
            Session.open(archive)
    empty = io.BytesIO()
    with tarfile.open(fileobj=empty, mode="w"):
        pass
    archive.write_bytes(compress(empty.getvalue(), ".zst"))
    with pytest.raises(SessionError, match="empty"):
        Session.open(archive)
