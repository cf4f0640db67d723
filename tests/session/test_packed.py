"""A session as one block of memory: there and back, damaged, hostile, cut short."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sessions.small import codes
from tracekit.errors import SessionError
from tracekit.session import Session, SessionWriter
from tracekit.session.packed import HEADER_SIZE, frame, pack, unframe, unpack
from tracekit.session.packing.compression import compress


def opened(block: bytes) -> tuple[bytes, str]:
    return unframe(lambda offset, size: block[offset : offset + size], len(block), "memory")


def archive_of(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return compress(out.getvalue(), ".gz")


def test_there_and_back(path: Path, tmp_path: Path) -> None:
    """All of it, with what a recorder has not finished yet; the rest of the memory is not read."""
    with SessionWriter.open(path) as writer:
        part = writer.open_part("boots/0/bpf.bin")
        with open(part, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(b"records")
        writer.finish("snapshot")
    (path / ".tmp-left").write_bytes(b"of a run that was killed")
    archive, suffix = pack(path)
    block = frame(archive, suffix) + archive + b"more memory"
    assert opened(block) == (archive, suffix)
    kept = tmp_path / f"kept.tar{suffix}"
    kept.write_bytes(archive)
    unpack(kept, tmp_path / "again", mark=b"{}")
    before = {p.relative_to(path): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    again = tmp_path / "again"
    after = {p.relative_to(again): p.read_bytes() for p in again.rglob("*") if p.is_file()}
    del before[Path(".tmp-left")]
    assert after == {**before, Path("mark.json"): b"{}"}
    assert (again.stat().st_mode & 0o777, codes(Session.open(again))) == (
        0o700, codes(Session.open(path)),
    )  # fmt: skip
    assert {p.stat().st_mode & 0o777 for p in again.rglob("*") if p.is_file()} == {0o600}
    with SessionWriter.open(again) as writer:
        assert writer.read_part("boots/0/bpf.bin") == b"records"


def test_memory_that_was_never_filled() -> None:
    with pytest.raises(SessionError, match="no session was put into it"):
        opened(bytes(HEADER_SIZE * 2))
    with pytest.raises(SessionError, match="too short"):
        opened(b"tracekit")


def test_of_another_version() -> None:
    head = bytearray(frame(b"archive", ".gz"))
    struct.pack_into("<I", head, 8, 2)
    struct.pack_into("<I", head, 64, zlib.crc32(bytes(head[:64])))
    with pytest.raises(SessionError, match="version 2 of the block; this one reads 1"):
        opened(bytes(head) + b"archive")


@pytest.mark.parametrize("size", [0, 8, 1 << 62])
def test_a_size_that_makes_no_sense(size: int) -> None:
    fields = struct.pack(
        "<8sIIQ8s32s", b"tracekit", 1, HEADER_SIZE, size, b".gz", hashlib.sha256(b"").digest()
    )
    head = fields + struct.pack("<I", zlib.crc32(fields))
    with pytest.raises(SessionError, match="makes no sense"):
        opened(head.ljust(HEADER_SIZE, b"\0") + b"archive")


@settings(max_examples=200)
@given(st.integers(0, HEADER_SIZE + 63), st.integers(1, 255))
def test_a_changed_byte_is_seen(position: int, change: int) -> None:
    """But for the padding of the header, which nothing is read from."""
    archive = bytes(range(64))
    block = bytearray(frame(archive, ".zst") + archive)
    block[position] ^= change
    if 68 <= position < HEADER_SIZE:
        assert opened(bytes(block)) == (archive, ".zst")
    else:
        with pytest.raises(SessionError):
            opened(bytes(block))


@settings(max_examples=100)
@given(st.binary(max_size=200), st.integers(0, 100))
def test_any_bytes(data: bytes, size: int) -> None:
    with pytest.raises(SessionError):
        opened(data.ljust(size + HEADER_SIZE, b"\0"))


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside", "a\nb"])
def test_no_file_leaves_the_session(tmp_path: Path, name: str) -> None:
    kept = tmp_path / "kept.tar.gz"
    kept.write_bytes(archive_of({"manifest.json": b"{}", name: b"x"}))
    with pytest.raises(SessionError, match="not a path inside a session"):
        unpack(kept, tmp_path / "s")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept.tar.gz"]


def test_links_are_no_files(tmp_path: Path) -> None:
    kept = tmp_path / "kept.tar.gz"
    outside = tmp_path / "outside"
    outside.mkdir()
    links = {"boots": str(outside), "a-link": "/etc/passwd"}
    kept.write_bytes(archive_of({"manifest.json": b"{}", "boots/0/x": b"x"}, links))
    unpack(kept, tmp_path / "s")
    assert not list(outside.iterdir()) and not (tmp_path / "s/boots").is_symlink()
    assert not (tmp_path / "s/a-link").exists()
    assert (tmp_path / "s/boots/0/x").read_bytes() == b"x"


def test_no_session_in_it(tmp_path: Path) -> None:
    kept = tmp_path / "kept.tar.gz"
    kept.write_bytes(archive_of({"x": b"x"}))
    with pytest.raises(SessionError, match=r"no manifest.json in it"):
        unpack(kept, tmp_path / "s")
