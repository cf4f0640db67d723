"""Kernel files: absent or unreadable, and never out of the tree."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import SourceError
from tracekit.sysroot import Sysroot, format_kmsg


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "proc").mkdir(parents=True)
    (root / "proc/cmdline").write_bytes(b"kho=on \xff\n")
    (root / "events/a/b").mkdir(parents=True)
    (root / "events/a/b/format").write_text("x")
    (root / "events/a/c").mkdir()
    (root / "events/header_page").write_text("h")
    (tmp_path / "secret").write_text("secret")
    return root


def test_reads(tree: Path) -> None:
    root = Sysroot(tree)
    assert not root.live
    assert root.read("proc/cmdline") == b"kho=on \xff\n"
    assert root.text("proc/cmdline") == "kho=on \\xff\n"
    assert root.exists("proc/cmdline")
    assert root.names("proc") == ["cmdline"]
    with root.open_binary("proc/cmdline") or pytest.fail("absent") as file:
        file.seek(4)
        assert file.read(2) == b"on"


def test_absent_is_none_and_not_an_error(tree: Path) -> None:
    root = Sysroot(tree)
    for rel in ("proc/nothing", "nothing/at/all", "proc/cmdline/below"):
        assert root.get(rel) is None
        assert root.open_binary(rel) is None
        assert not root.exists(rel)
        assert root.names(rel) == []
    with pytest.raises(SourceError, match="no such file"):
        root.read("proc/nothing")


def test_unreadable_is_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    root = Sysroot(tree)
    for call in (root.get, root.read, root.open_binary, root.names):
        with pytest.raises(SourceError, match="Permission denied"):
            call("proc/cmdline")
    live = Sysroot("/")
    with pytest.raises(SourceError, match="run as root"):
        live.get("proc/kcore")
    with pytest.raises(SourceError, match="run as root"):
        live.kernel_log()


def test_a_read_that_fails_is_an_error(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "read", fail)
    with pytest.raises(SourceError, match="Input/output error"):
        Sysroot(tree).get("proc/cmdline")


@pytest.mark.parametrize("rel", ["/etc/passwd", "../secret", "proc/../../secret", "a\0b"])
def test_paths_that_lead_out_are_refused(tree: Path, rel: str) -> None:
    with pytest.raises(SourceError, match="not a path below"):
        Sysroot(tree).get(rel)


@pytest.mark.parametrize("target", ["../../secret", "/etc/hostname", "../.."])
def test_symlinks_that_lead_out_are_refused(tree: Path, target: str) -> None:
    (tree / "proc/link").symlink_to(target)
    root = Sysroot(tree)
    assert not root.exists("proc/link")
    for call in (root.get, root.open_binary, root.names):
        with pytest.raises(SourceError, match="leads out of the root"):
            call("proc/link")
    (tree / "dir").symlink_to("/proc")
    with pytest.raises(SourceError, match="leads out of the root"):
        root.get("dir/self/status")


def test_symlinks_inside_of_the_tree_are_followed(tree: Path) -> None:
    (tree / "proc/link").symlink_to("cmdline")
    (tree / "proc/loop").symlink_to("loop")
    root = Sysroot(tree)
    assert root.read("proc/link") == root.read("proc/cmdline")
    with pytest.raises(SourceError, match="symbolic links"):
        root.get("proc/loop")


def test_the_root_itself_may_be_a_symlink(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(tree)
    assert Sysroot(tmp_path / "alias").read("events/header_page") == b"h"


def test_only_regular_files_are_opened(tree: Path) -> None:
    os.mkfifo(tree / "proc/fifo")  # must not block either
    for rel in ("proc/fifo", "proc"):
        with pytest.raises(SourceError, match="not a regular file"):
            Sysroot(tree).get(rel)


def test_reads_are_bounded(tree: Path) -> None:
    root = Sysroot(tree)
    assert root.get("proc/cmdline", 9) is not None
    with pytest.raises(SourceError, match="more than 8 bytes"):
        root.get("proc/cmdline", 8)


def test_glob(tree: Path) -> None:
    root = Sysroot(tree)
    assert root.glob("events/*/*/format") == ["events/a/b/format"]
    assert root.glob("events/h*") == ["events/header_page"]
    assert root.glob("*/a/[bc]") == ["events/a/b", "events/a/c"]
    assert root.glob("nothing/*") == []
    (tree / "events/out").symlink_to("/")
    with pytest.raises(SourceError, match="leads out"):
        root.glob("events/*/*/format")


@pytest.mark.parametrize("name", ["absent", "file"])
def test_a_root_that_is_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="--sysroot"):
        Sysroot(tmp_path / name)


def test_the_live_machine() -> None:
    root = Sysroot("/")
    assert root.live
    assert "Linux version" in root.text("proc/version")  # st_size is 0
    assert stat.S_ISREG(Path("/proc/version").stat().st_mode)


def test_root_is_asked_for_on_the_live_machine(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    Sysroot(tree).need_root("snapshot")
    with pytest.raises(SourceError, match="sudo"):
        Sysroot("/").need_root("snapshot")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    Sysroot("/").need_root("snapshot")


def test_the_log_of_a_tree(tree: Path) -> None:
    assert Sysroot(tree).kernel_log() is None
    (tree / "dmesg").write_bytes(b"[    0.000000] Linux\n")
    assert Sysroot(tree).kernel_log() == b"[    0.000000] Linux\n"


def test_the_live_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/kmsg: one record a read, EPIPE where some were overwritten, EAGAIN at the end."""
    records: list[bytes | OSError] = [
        b"6,0,0,-;Linux version 7.2.13\n",
        BrokenPipeError(),
        b"4,17,12345678,-;two\n SUBSYSTEM=x\n DEVICE=y\n",
        BlockingIOError(),
    ]

    def read(_: int, size: int) -> bytes:
        assert size >= 8192
        record = records.pop(0)
        if isinstance(record, OSError):
            raise record
        return record

    log = Sysroot("/")
    monkeypatch.setattr(os, "open", lambda *_: 99)
    monkeypatch.setattr(os, "close", lambda _: None)
    monkeypatch.setattr(os, "read", read)
    assert log.kernel_log() == b"[    0.000000] Linux version 7.2.13\n[   12.345678] two\n"


def test_a_stamp_of_too_many_digits_is_no_record() -> None:
    assert format_kmsg(f"6,1,{'1' * 5000},-;text") == ""


@given(st.text())
def test_any_text_is_a_record_or_none(text: str) -> None:
    line = format_kmsg(text)
    assert line == "" or line.startswith("[")
    assert "\n" not in line


@given(st.integers(0, 10**15), st.text(st.characters(exclude_characters="\n\r")))
def test_records(microseconds: int, text: str) -> None:
    line = format_kmsg(f"6,1,{microseconds},-;{text}\n")
    stamp, _, rest = line.partition("] ")
    assert rest == text
    assert round(float(stamp[1:]) * 10**6) == microseconds or microseconds > 10**14
