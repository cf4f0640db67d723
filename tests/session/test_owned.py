"""What stands in the way: FIFOs, links, devices, others' files. Nothing waits, nothing follows."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.session_trees import make_session, two_cpus
from tracekit.cli import main
from tracekit.errors import SessionError
from tracekit.session import Session, SessionWriter
from tracekit.session.derived import fetch_derived, keep_derived, sweep_derived
from tracekit.session.files import Directory
from tracekit.session.notes import Notes
from tracekit.session.parts import replacing

STRANGER = 65534  # nobody
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_session(tmp_path_factory.mktemp("owned"), two_cpus())


@pytest.fixture
def mine(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "session")


def link(path: Path) -> None:
    path.symlink_to(path.parent / "elsewhere")


def hard_link(path: Path) -> None:
    other = path.parent / "other"
    other.write_text("precious")
    os.link(other, path)


def directory(path: Path) -> None:
    (path / "deep" / "deeper").mkdir(parents=True)


IN_THE_WAY: dict[str, Callable[[Path], None]] = {
    "fifo": os.mkfifo,
    "link": link,
    "hard link": hard_link,
    "directory": directory,
}


@pytest.mark.parametrize("kind", IN_THE_WAY)
@pytest.mark.parametrize("name", [".tmp-manifest.json", "boots/0/.tmp-dmesg", "boots/0/.tmp-kho"])
def test_at_temporary_names_of_the_writer(mine: Path, kind: str, name: str) -> None:
    IN_THE_WAY[kind](mine / name)
    with SessionWriter.open(mine) as writer:
        if not os.path.lexists(mine / name):
            IN_THE_WAY[kind](mine / name)  # put back by a stranger who is quick
        writer.write("boots/0/dmesg", b"log")
        with writer.tree("boots/0/kho") as tree:
            tree.write("in/fdt", b"tree")
        writer.finish("recovered")
    assert (mine / "boots/0/dmesg").read_bytes() == b"log"
    assert (mine / "boots/0/kho/in/fdt").read_bytes() == b"tree"
    assert not (mine / "boots/0/elsewhere").exists()
    for other in mine.rglob("other"):
        assert other.read_text() == "precious"
    assert not list(mine.rglob(".tmp-*"))


@pytest.mark.parametrize("kind", ["fifo", "link", "hard link", "directory"])
def test_a_part_to_be_continued_is_a_plain_file_of_its_own(mine: Path, kind: str) -> None:
    IN_THE_WAY[kind](mine / "boots/0/bpf.bin.part")
    with SessionWriter.open(mine) as writer, pytest.raises(SessionError, match="cannot be written"):
        writer.open_part("boots/0/bpf.bin")
    with SessionWriter.open(mine) as writer:
        os.close(writer.open_part("boots/0/other.bin"))
        os.close(writer.open_part("boots/0/other.bin"))


@as_root
def test_a_strangers_part_is_not_continued(mine: Path) -> None:
    part = mine / "boots/0/bpf.bin.part"
    part.write_bytes(b"theirs")
    os.chown(part, STRANGER, STRANGER)
    with SessionWriter.open(mine) as writer, pytest.raises(SessionError, match="another user"):
        writer.open_part("boots/0/bpf.bin")


@pytest.mark.parametrize("name", ["manifest.json", "boots/0/kernel.json", "notes.json"])
def test_nothing_that_is_read_is_waited_for(mine: Path, name: str) -> None:
    (mine / name).unlink(missing_ok=True)
    os.mkfifo(mine / name)
    assert main(["-q", "report", str(mine)]) == (4 if name == "manifest.json" else 0)
    tree = str(mine.parent / "tree")
    assert main(["-q", "snapshot", "--sysroot", tree, "-o", str(mine)]) in (3, 4)


def test_an_archive_that_is_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.tar.zst")
    assert main(["-q", "report", str(tmp_path / "x.tar.zst")]) == 4


@pytest.mark.parametrize("kind", IN_THE_WAY)
@pytest.mark.parametrize("name", ["notes.json", "timeline.parquet", "timeline.json"])
def test_at_names_of_derived_files(mine: Path, kind: str, name: str) -> None:
    IN_THE_WAY[kind](mine / name)
    IN_THE_WAY[kind](mine / f".{name}.part-1")
    out = mine.parent / "out.parquet"
    assert main(["-q", "export", str(mine), "--format", "parquet", "-o", str(out)]) == 0
    if name == "notes.json" and kind != "directory":
        Notes(mine / name).save()
        assert (mine / name).is_file() and not (mine / name).is_symlink()
    for other in mine.rglob("other"):
        assert other.read_text() == "precious"
    assert not (mine / "elsewhere").exists()
    assert fetch_derived(Session.open(mine), "timeline.parquet", out) in (1000, None)


def kept(session: Path) -> int | None:
    opened = Session.open(session)
    return fetch_derived(opened, "timeline.parquet", session.parent / "again.parquet")


@pytest.fixture
def exported(mine: Path) -> Path:
    out = mine.parent / "first.parquet"
    assert main(["-q", "export", str(mine), "--format", "parquet", "-o", str(out)]) == 0
    assert kept(mine) == 1000
    return mine


def test_one_from_elsewhere_is_not_believed(exported: Path, tmp_path: Path) -> None:
    """A session is copied, times and all, with a derived file that somebody else made."""
    copy = shutil.copytree(exported, tmp_path / "copy")
    assert kept(copy) is None
    assert kept(exported) == 1000


def test_one_that_was_changed_and_set_back_is_not_believed(exported: Path) -> None:
    file = exported / "timeline.parquet"
    about, data = file.stat(), bytearray(file.read_bytes())
    file.write_bytes(data)
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert kept(exported) is None


def test_one_of_a_session_that_was_changed_and_set_back(exported: Path) -> None:
    file = exported / "boots/0/tracefs/saved_cmdlines"
    about = file.stat()
    file.write_text(file.read_text().replace("init", "inix"))
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert kept(exported) is None


@pytest.mark.parametrize("name", ["timeline.parquet", "timeline.json"])
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_one_that_others_can_write_is_not_believed(exported: Path, name: str, mode: int) -> None:
    keep_derived(
        Session.open(exported), "timeline.parquet", exported.parent / "first.parquet", 1000
    )
    assert kept(exported) == 1000
    (exported / name).chmod(mode)
    assert kept(exported) is None


@as_root
@pytest.mark.parametrize("name", ["timeline.parquet", "timeline.json"])
def test_a_strangers_is_not_believed(exported: Path, name: str) -> None:
    os.chown(exported / name, STRANGER, STRANGER)
    assert kept(exported) is None


def test_parts_of_killed_processes_are_swept(mine: Path) -> None:
    (mine / ".index.part-99-0a").mkdir()
    (mine / ".index.part-99-0a" / "data.bin").write_text("half")
    (mine / ".timeline.parquet.part-99").write_text("half")
    (mine / ".hidden").write_text("the user's")
    with replacing(mine / "notes.json") as part:
        sweep_derived(Session.open(mine))
        part.write(b"{}")
    names = {f.name for f in mine.iterdir() if f.name.startswith(".")}
    assert names == {".hidden"} and (mine / "notes.json").read_bytes() == b"{}"


def test_a_failed_syncfs_is_an_error(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    directory.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        directory.sync_tree("x")


def test_without_syncfs_every_file_is_synced(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: None)

    def fsync(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        if synced[-1].endswith("broken"):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with SessionWriter.open(mine) as writer:
        with writer.tree("boots/0/kho") as tree:
            tree.write("in/fdt", b"tree")
        assert {n.rpartition(".tmp-kho")[2] for n in synced if ".tmp-kho" in n} >= {
            "", "/in", "/in/fdt",
        }  # fmt: skip
        with pytest.raises(SessionError, match="Input/output"), writer.tree("boots/0/kho") as tree:
            tree.write("in/broken", b"tree")
    assert (mine / "boots/0/kho/in/fdt").read_bytes() == b"tree"
