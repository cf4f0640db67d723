"""Reading a session: what was written, and what went missing or was changed since."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import zstandard

from tests.support.sessions.small import codes
from tracekit.errors import Diagnostic, SessionError
from tracekit.session import Session, limits


def test_what_is_written_is_read(path: Path) -> None:
    session = Session.open(path)
    assert session.path == path
    assert session.boots == [0]
    assert session.kernel(0) == {"release": "7.2.13"}
    assert session.read("boots/0/kallsyms") == b"0 T _text\n" * 99
    assert session.read("boots/0/kallsyms.zst") == b"0 T _text\n" * 99
    assert session.read("boots/0/regions/tkA.raw") == b"page" * (1 << 18)
    assert session.read("boots/0/tracefs/saved_cmdlines") == b"1 init\n"
    assert session.has("boots/0/regions/tkA.raw")
    assert not session.has("boots/0/regions/tkB.raw")
    assert session.list("boots/0/tracefs/") == [
        "boots/0/tracefs/events/a/b/format",
        "boots/0/tracefs/saved_cmdlines",
    ]
    assert session.list("boots/0/reg") == ["boots/0/regions/tkA.raw"]
    assert len(session.list()) == 5
    assert session.diagnostics == [Diagnostic("code", "info", "boot 0", "said")]


def test_missing_files_are_named(path: Path) -> None:
    with pytest.raises(SessionError, match="boots/0/iomem is missing"):
        Session.open(path).read("boots/0/iomem")
    with pytest.raises(SessionError, match=r"boots/7/kernel\.json is missing"):
        Session.open(path).kernel(7)


def test_a_file_that_went_missing(path: Path) -> None:
    (path / "boots/0/kallsyms.zst").unlink()
    session = Session.open(path)
    assert codes(session) == ["code", "session-file-missing"]
    assert session.diagnostics[1].where == "boots/0/kallsyms.zst"


def test_many_missing_files_are_counted(path: Path) -> None:
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest["files"] |= {f"gone/{i}": "0" * 64 for i in range(100)}
    (path / "manifest.json").write_text(json.dumps(manifest))
    found = [d for d in Session.open(path).diagnostics if d.code == "session-file-missing"]
    assert len(found) == 21
    assert "80 more" in found[-1].message


def test_a_changed_file_is_read_and_reported_once(path: Path) -> None:
    (path / "boots/0/tracefs/events/a/b/format").write_bytes(b"name: c")
    session = Session.open(path)
    assert codes(session) == ["code"]
    for _ in range(2):
        assert session.read("boots/0/tracefs/events/a/b/format") == b"name: c"
    assert codes(session) == ["code", "session-file-changed"]
    assert session.diagnostics[1].where == "boots/0/tracefs/events/a/b/format"


def test_a_damaged_file(path: Path) -> None:
    region = path / "boots/0/regions/tkA.raw.zst"
    whole = region.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:10], b"", b"rubbish" * 20):
        region.write_bytes(damaged)
        session = Session.open(path)
        with pytest.raises(SessionError, match="damaged"):
            session.read("boots/0/regions/tkA.raw")
        assert "session-file-changed" in codes(session)


@pytest.mark.parametrize("kernel", [b"", b"{", b"[]", b"[" * 100_000, b"\xff"])
def test_damaged_json(path: Path, kernel: bytes) -> None:
    (path / "boots/0/kernel.json").write_bytes(kernel)
    with pytest.raises(SessionError, match="damaged"):
        Session.open(path).kernel(0)


def bomb(size: int, stated: bool) -> bytes:
    out = io.BytesIO()
    writer = zstandard.ZstdCompressor().stream_writer(
        out, size=size if stated else -1, closefd=False
    )
    for _ in range(size >> 20):
        writer.write(bytes(1 << 20))
    writer.close()
    return out.getvalue()


@pytest.mark.parametrize("stated", [True, False])
def test_decompression_is_bounded(
    path: Path, monkeypatch: pytest.MonkeyPatch, stated: bool
) -> None:
    monkeypatch.setitem(limits.LIMITS, "/kallsyms", 1 << 20)
    monkeypatch.setitem(limits.LIMITS, ".raw", 4 << 20)
    (path / "boots/0/kallsyms.zst").write_bytes(bomb(2 << 20, stated))
    (path / "boots/0/regions/tkA.raw.zst").write_bytes(bomb(8 << 20, stated))
    (path / "boots/0/regions/tkB.raw.zst").write_bytes(bomb(4 << 20, stated))
    session = Session.open(path)
    for rel in ("boots/0/kallsyms", "boots/0/regions/tkA.raw"):
        with pytest.raises(SessionError, match="exhaust memory"):
            session.read(rel)
    assert session.read("boots/0/regions/tkB.raw") == bytes(4 << 20)
