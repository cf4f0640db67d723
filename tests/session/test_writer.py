"""Writing a session: whole or not at all, one writer at a time, and killed ones tidied up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sessions.small import KERNEL, codes
from tracekit.errors import SessionError
from tracekit.session import Session, SessionWriter


def test_the_same_content_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    before = {f: f.read_bytes() for f in path.rglob("*.zst")}
    with SessionWriter.open(path) as writer:
        writer.write("boots/0/kallsyms", b"0 T _text\n" * 99, compressed=True)
        writer.finish("snapshot")
    assert {f: f.read_bytes() for f in path.rglob("*.zst")} == before


def test_one_writer_at_a_time(path: Path) -> None:
    script = (
        "import sys\nfrom tracekit.session import SessionWriter\n"
        "with SessionWriter.open(sys.argv[1]):\n print('open', flush=True)\n sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdin and other.stdout
    with other:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(SessionError, match="another tracekit is writing"):
            SessionWriter.open(path)
        assert "session-incomplete" in codes(Session.open(path))
    with SessionWriter.open(path) as writer:
        writer.finish("snapshot")
    assert codes(Session.open(path)) == ["code"]


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SessionError, match=r"holds notes\.txt and no manifest"):
        SessionWriter.open(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(SessionError, match="cannot be made a session directory"):
        SessionWriter.open(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    "name",
    ["../x", "/x", "a/../x", "a//b", "", ".", "a/.tmp-x", ".hidden/x", "x.part", "a\nb", "a\0b",
     "a/" * 600 + "b", "x" * 300],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with SessionWriter.open(tmp_path / "S") as writer:
        with pytest.raises(SessionError):
            writer.write(name, b"x")
        with writer.tree("boots/0/tracefs") as tree, pytest.raises(SessionError):
            tree.write(name, b"x")
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["manifest.json"]


def test_errors_leave_no_half_written_file(path: Path) -> None:
    before = sorted(path.rglob("*"))
    with SessionWriter.open(path) as writer:
        with pytest.raises(ValueError, match="oops"):  # noqa: SIM117
            with writer.stream("boots/0/regions/tkB.raw", 10) as sink:
                sink.write(b"12345")
                raise ValueError("oops")
        writer.finish("snapshot")
    assert sorted(path.rglob("*")) == before


def test_a_tree_replaces_the_one_before(path: Path) -> None:
    with SessionWriter.open(path) as writer:
        writer.write("boots/0/tracefs/per_cpu/cpu0/pages", b"kept" * 9, compressed=True)
        with writer.tree("boots/0/tracefs", keep=lambda name: name.endswith("/pages")) as tree:
            tree.write("events/a/new/format", b"name: new")
        writer.finish("snapshot")
    session = Session.open(path)
    assert session.list("boots/0/tracefs") == [
        "boots/0/tracefs/events/a/new/format",
        "boots/0/tracefs/per_cpu/cpu0/pages",
    ]
    assert session.read("boots/0/tracefs/per_cpu/cpu0/pages") == b"kept" * 9
    assert codes(session) == ["code"]


def inodes(path: Path) -> dict[str, int]:
    return {str(f.relative_to(path)): f.stat().st_ino for f in path.rglob("*") if f.is_file()}


def test_what_is_the_same_is_not_written_again(path: Path) -> None:
    dmesg, names = "boots/0/dmesg", "boots/0/tracefs/saved_cmdlines"
    with SessionWriter.open(path) as writer:
        writer.write(dmesg, b"log")
        before = inodes(path / "boots")
        writer.write(dmesg, b"log")
        with writer.tree("boots/0/tracefs") as tree:
            tree.write("events/a/b/format", b"name: b")
            tree.write("saved_cmdlines", b"1 init\n", compressed=True)
        assert inodes(path / "boots") == before
        with writer.tree("boots/0/tracefs") as tree:
            tree.write("saved_cmdlines", b"1 init\n", compressed=True)
            tree.write("trace_clock", b"[local]\n")
        writer.finish("snapshot")
    (stored,) = [name for name in before if "saved_cmdlines" in name]
    assert inodes(path / "boots")[stored] == before[stored]
    assert Session.open(path).read("boots/0/tracefs/trace_clock") == b"[local]\n"
    assert Session.open(path).read(names) == b"1 init\n"
    assert codes(Session.open(path)) == ["code"]


def test_what_was_damaged_is_written_again(path: Path) -> None:
    with SessionWriter.open(path) as writer:
        writer.write("boots/0/dmesg", b"log")
        with writer.tree("boots/0/kho") as tree:
            tree.write("in/fdt", b"fdt")
            tree.write("in/scratch", b"0x1000")
        (path / "boots/0/dmesg").write_bytes(b"gol")
        (path / "boots/0/kho/in/fdt").unlink()
        writer.write("boots/0/dmesg", b"log")
        with writer.tree("boots/0/kho", keep=lambda name: True) as tree:
            tree.write("in/fdt", b"fdt")
        (path / "boots/0/kho/in/scratch").unlink()
        with writer.tree("boots/0/kho", keep=lambda name: True) as tree:
            tree.write("in/other", b"new")
        writer.finish("snapshot")
    session = Session.open(path)
    assert codes(session) == ["code"]
    assert session.read("boots/0/dmesg") == b"log"
    assert session.list("boots/0/kho") == ["boots/0/kho/in/fdt", "boots/0/kho/in/other"]


def test_a_tree_that_only_loses_a_file(path: Path) -> None:
    with SessionWriter.open(path) as writer:
        with writer.tree("boots/0/kho") as tree:
            tree.write("in/fdt", b"fdt")
            tree.write("out/fdt", b"fdt")
        with writer.tree("boots/0/kho", keep=lambda name: name != "out/fdt"):
            pass
        writer.finish("snapshot")
    assert Session.open(path).list("boots/0/kho") == ["boots/0/kho/in/fdt"]


def test_a_tree_without_files_changes_nothing(path: Path) -> None:
    with SessionWriter.open(path) as writer:
        with writer.tree("boots/0/tracefs"):
            pass
        writer.finish("snapshot")
    assert Session.open(path).has("boots/0/tracefs/saved_cmdlines")


def test_a_file_replaces_its_twin_of_another_suffix(path: Path) -> None:
    with SessionWriter.open(path) as writer:
        writer.write("boots/0/kallsyms", b"plain")
        assert writer.read("boots/0/kallsyms") == b"plain"
        writer.finish("snapshot")
    assert not (path / "boots/0/kallsyms.zst").exists()
    assert Session.open(path).read("boots/0/kallsyms") == b"plain"
    assert codes(Session.open(path)) == ["code"]


def test_what_a_killed_run_left_is_tidied_up(path: Path) -> None:
    """A tree that was about to be replaced comes back; temporary files go."""
    boot = path / "boots/0"
    (boot / "tracefs").rename(boot / ".tmp-old-tracefs")
    (boot / ".tmp-tracefs").mkdir()
    (boot / ".tmp-tracefs/half").write_text("x")
    (boot / ".tmp-dmesg").write_text("x")
    (boot / "pages.part").write_text("goes on")
    found = Session.open(path)
    assert "session-incomplete" in codes(found)
    assert not found.has("boots/0/pages.part")
    with SessionWriter.open(path) as writer:
        writer.finish("snapshot")
    assert codes(Session.open(path)) == ["code", "session-incomplete"]  # the .part is still there
    (boot / "pages.part").unlink()
    session = Session.open(path)
    assert codes(session) == ["code"]
    assert session.has("boots/0/tracefs/saved_cmdlines")
    assert not list(path.rglob(".tmp-*"))


def test_after_a_kill_stock_is_taken(path: Path) -> None:
    with SessionWriter.open(path) as writer:  # never finished
        writer.write("boots/1/kernel.json", KERNEL)
    with SessionWriter.open(path) as writer:
        assert writer.manifest.boots == [0, 1]
        assert writer.earlier_state == "writing"
        writer.finish("snapshot")
    assert Session.open(path).boots == [0, 1]
    assert codes(Session.open(path)) == ["code"]


def test_abandoning(path: Path, tmp_path: Path) -> None:
    before = (path / "manifest.json").read_bytes()
    with SessionWriter.open(path) as writer:
        writer.abandon()
    assert (path / "manifest.json").read_bytes() == before
    with SessionWriter.open(tmp_path / "new") as writer:
        writer.abandon()
    assert not (tmp_path / "new").exists()


def test_shifting_boots(path: Path) -> None:
    with SessionWriter.open(path) as writer:
        writer.shift_boots(1)
        assert writer.manifest.boots == [0]
        writer.shift_boots(0)
        writer.write("boots/0/kernel.json", b'{"release": "older"}')
        writer.add_boot(0)
        writer.finish("snapshot")
    session = Session.open(path)
    assert session.boots == [0, 1]
    assert [session.kernel(i)["release"] for i in (0, 1)] == ["older", "7.2.13"]
    assert session.read("boots/1/regions/tkA.raw") == b"page" * (1 << 18)
    assert codes(session) == ["code"]
