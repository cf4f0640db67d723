"""Regions out of files: on any machine, as anybody, without that machine's kernel."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.support.elf_core_writer import Segment, write_core
from tests.support.machine_trees import (
    NEW_TEXT,
    OLD_TEXT,
    PAGE,
    REGION,
    TKA,
    TKB,
    new_machine,
    old_machine,
)
from tests.support.memory.kdump_writer import LZO, flattened, write_kdump
from tests.support.ring.region_writer import RingBuffer, layout_615
from tests.support.sessions.handed_over import machine_after, machine_before, ring
from tracekit.capture.recover.elsewhere import is_elsewhere, recover_files
from tracekit.capture.recover.recover import recover
from tracekit.capture.save.snapshot import snapshot
from tracekit.errors import NothingToRecover, SourceError, UsageError
from tracekit.parameters import FileRegion, MemoryFile, RegionSpec, parse_region
from tracekit.session import Session
from tracekit.sysroot import Sysroot

DATA = ring(OLD_TEXT, 3, 9)
NOBODYS = 65534
REPO = Path(__file__).parents[3]


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """With a snapshot of the old kernel."""
    snapshot(Sysroot(machine_before().write(tmp_path / "old")), tmp_path / "S")
    return tmp_path / "S"


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "mem").write_bytes(bytes(PAGE) + DATA)
    return str(tmp_path / "mem")


def saved(session: Path, path: str = "boots/0/regions/tkA") -> dict[str, Any]:
    opened = Session.open(session)
    document = json.loads(opened.read(f"{path}.json"))
    assert isinstance(document, dict)
    return document


def pages(data: bytes, address: int = TKA) -> dict[int, bytes]:
    return {address // PAGE + n: data[n * PAGE :][:PAGE] for n in range(len(data) // PAGE)}


def test_a_region_of_a_file(session: Path, file: str) -> None:
    result = recover_files(session, [FileRegion("tkA", file, PAGE, REGION)])
    assert (result.boot, result.release, result.previous_known) == (None, None, True)
    assert [(r.name, r.boot, r.address) for r in result.regions] == [("tkA", 0, None)]
    assert [d.code for d in result.diagnostics] == ["regions-only"]
    opened = Session.open(session)
    assert opened.boots == [0] and opened.manifest.state == "recovered"
    assert opened.read("boots/0/regions/tkA.raw") == DATA
    about = saved(session)
    assert (about["carrier"], about["found_by"], about["address"]) == ("file", "--region", None)
    assert about["origin"] == f"{file}, bytes {PAGE:#x}-{PAGE + REGION:#x}"
    assert "_text in its header" in about["owner_evidence"]


@pytest.mark.parametrize(
    "dump",
    [
        write_core([Segment(TKA, DATA)]),
        write_kdump(pages(DATA), LZO),
        flattened(write_kdump(pages(DATA))),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_a_dump(session: Path, tmp_path: Path, dump: bytes, named: bool) -> None:
    """Without --region it is what the session knows of the old kernel's regions."""
    path = tmp_path / "vmcore"
    path.write_bytes(dump)
    regions = [RegionSpec("tkA", TKA, REGION)] if named else []
    recover_files(session, regions, memory=MemoryFile(str(path)))
    about = saved(session)
    assert Session.open(session).read("boots/0/regions/tkA.raw") == DATA
    assert (about["carrier"], about["address"], about["origin"]) == ("file", TKA, str(path))
    assert about["found_by"] == ("--region" if named else "--memory")


def test_plain_memory(session: Path, tmp_path: Path) -> None:
    path = tmp_path / "pmemsave"
    path.write_bytes(bytes(PAGE) + DATA)
    memory = MemoryFile(str(path), TKA - PAGE)
    recover_files(session, [RegionSpec("tkA", TKA, REGION)], memory=memory)
    assert Session.open(session).read("boots/0/regions/tkA.raw") == DATA


def test_an_instance_at_an_address(tmp_path: Path) -> None:
    cmdline = f"memmap=64K${TKB:#x} trace_instance=tk@{TKB:#x}:64K"
    old = replace(old_machine(), cmdline=cmdline)
    snapshot(Sysroot(old.write(tmp_path / "old")), tmp_path / "S")
    (tmp_path / "dump").write_bytes(write_kdump(pages(DATA, TKB)))
    recover_files(tmp_path / "S", memory=MemoryFile(str(tmp_path / "dump")))
    assert saved(tmp_path / "S", "boots/0/regions/tk")["address"] == TKB


def test_pages_that_makedumpfile_left_out(session: Path, tmp_path: Path) -> None:
    (tmp_path / "dump").write_bytes(
        write_kdump({f: p for f, p in pages(DATA).items() if f != TKA // PAGE + 5}, level=31)
    )
    result = recover_files(
        session, [RegionSpec("tkA", TKA, REGION)], memory=MemoryFile(str(tmp_path / "dump"))
    )
    assert saved(session)["unread"] == [[5 * PAGE, PAGE]]
    (remark,) = [d for d in result.diagnostics if d.code == "region-partly-unread"]
    assert "dump level 31 left out" in remark.message


def test_without_a_snapshot(tmp_path: Path, file: str) -> None:
    """In a new session it is an unknown kernel's; a second file is the same one's."""
    for _ in range(2):
        result = recover_files(tmp_path / "S", [FileRegion("tkA", file, PAGE)])
        assert [r.boot for r in result.regions] == [0]
        assert not result.previous_known
        assert {d.code for d in result.diagnostics} == {"previous-unknown", "regions-only"}
    assert Session.open(tmp_path / "S").boots == [0]


def test_a_kernel_that_the_session_does_not_know(session: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(ring(NEW_TEXT + 0x1000, 3))
    for _ in range(2):
        result = recover_files(session, [FileRegion("tkA", str(tmp_path / "other"))])
        assert [r.boot for r in result.regions] == [1]
        assert "session-of-others" in {d.code for d in result.diagnostics}
    assert Session.open(session).boots == [0, 1]


def test_nothing_tells_whose_it_is(session: Path, tmp_path: Path) -> None:
    """With two boots that could be: an unknown one's; no guess."""
    recover(Sysroot(machine_after(DATA).write(tmp_path / "new")), session)
    assert Session.open(session).boots == [0, 1]
    (tmp_path / "bare").write_bytes(bytes(REGION))
    result = recover_files(session, [FileRegion("x", str(tmp_path / "bare"))])
    assert [(r.name, r.boot) for r in result.regions] == [("x", 2)]
    (remark,) = [d for d in result.diagnostics if d.code == "region-without-events"]
    assert "nothing but zeros" in remark.message


def test_a_region_that_two_boots_recorded_into(tmp_path: Path) -> None:
    """The second one's header, and behind the first one's sub-buffer an earlier stamp."""
    buffer = RingBuffer(5, PAGE)
    for stamp in range(1, 9):
        buffer.write(1000 * stamp, bytes(1000))
    made = layout_615([buffer], clock_id=0, text_addr=NEW_TEXT, total_size=REGION)
    data, first = bytearray(made.data), made.places[0].subbufs + PAGE
    struct.pack_into("<Q", data, first, 1 << 40)
    (tmp_path / "mem").write_bytes(data)
    for name, machine in (("old", old_machine()), ("new", new_machine())):
        cmdline = "reserve_mem=64K:4K:tkA trace_instance=tk@tkA"
        tree = replace(machine, cmdline=cmdline).write(tmp_path / name)
        snapshot(Sysroot(tree), tmp_path / "S")
    result = recover_files(tmp_path / "S", [FileRegion("tkA", str(tmp_path / "mem"))])
    (region,) = result.regions
    assert (region.boot, region.writers) == (0, (old_machine().boot_id, new_machine().boot_id))
    assert region.owner_evidence.startswith("boot 1 has attached it again")


def test_the_right_file_after_the_wrong_one(session: Path, file: str) -> None:
    recover_files(session, [FileRegion("tkA", file, 0, REGION)])
    assert Session.open(session).read("boots/0/regions/tkA.raw") != DATA
    result = recover_files(session, [FileRegion("tkA", file, PAGE, REGION)])
    assert Session.open(session).read("boots/0/regions/tkA.raw") == DATA
    (remark,) = [d for d in result.diagnostics if d.code == "region-copied-twice"]
    assert file in remark.message and "other-copies/file" in remark.message
    assert not result.regions[0].kept
    again = recover_files(session, [FileRegion("tkA", file, PAGE, REGION)])
    assert again.regions[0].kept


def test_what_a_kernel_recovered_is_not_replaced(session: Path, file: str, tmp_path: Path) -> None:
    recover(Sysroot(machine_after(DATA).write(tmp_path / "new")), session)
    remarks = Session.open(session).manifest.diagnostics
    (tmp_path / "later").write_bytes(ring(OLD_TEXT, 1))
    recover_files(session, [FileRegion("tkA", str(tmp_path / "later"), 0, REGION)])
    opened = Session.open(session)
    assert opened.read("boots/0/regions/tkA.raw") == DATA
    assert saved(session)["carrier"] == "kcore"
    assert all(remark in opened.manifest.diagnostics for remark in remarks)


def test_failures_leave_the_session_alone(session: Path, file: str, tmp_path: Path) -> None:
    before = {str(p): p.read_bytes() for p in session.rglob("*") if p.is_file()}
    cases: list[tuple[type[Exception], list[Any], MemoryFile | None]] = [
        (SourceError, [FileRegion("tkA", "no")], None),
        (SourceError, [FileRegion("tkA", file, 1 << 30)], None),
        (NothingToRecover, [RegionSpec("tkA", TKA, REGION)], MemoryFile(file, 0)),
        (NothingToRecover, [], MemoryFile(file, 0)),
        (UsageError, [FileRegion("tkA", file), RegionSpec("tkA", 1, 2)], MemoryFile(file, 0)),
    ]
    for error, regions, memory in cases:
        with pytest.raises(error):
            recover_files(session, regions, memory=memory)
    assert {str(p): p.read_bytes() for p in session.rglob("*") if p.is_file()} == before
    with pytest.raises(NothingToRecover, match="does not know where the regions lay"):
        recover_files(tmp_path / "new", [], memory=MemoryFile(file, 0))
    assert not (tmp_path / "new").exists()


def test_where_it_is(file: str) -> None:
    named, physical = FileRegion("a", file), RegionSpec("b", 1, 2)
    device, memory = FileRegion("c", "/dev/zero", 0, 1), MemoryFile(file)
    for regions, whole, same, expected in (
        ([named], None, False, True),
        ([named], None, True, False),
        ([named, physical], None, False, False),
        ([named, physical], memory, False, True),
        ([physical], memory, False, True),
        ([], memory, False, True),
        ([], None, False, False),
        ([physical], None, False, False),
        ([named, device], None, False, False),
        ([physical], MemoryFile("/dev/zero", 0), False, False),
    ):
        assert is_elsewhere(regions, whole, same_machine=same) is expected  # type: ignore[arg-type]


def test_with_the_machines_own_side(session: Path, file: str, tmp_path: Path) -> None:
    """A file in persistent memory: this kernel came after, and its side is saved."""
    new = Sysroot(machine_after(bytes(REGION)).write(tmp_path / "new"))
    result = recover(new, session, [FileRegion("tkA", file, PAGE, REGION)])
    assert [(r.boot, r.carrier, r.address) for r in result.regions] == [(0, "file", None)]
    assert result.boot == 1 and Session.open(session).boots == [0, 1]
    assert "region-not-kept" not in {d.code for d in result.diagnostics}
    (tmp_path / "dump").write_bytes(write_kdump(pages(DATA)))
    memory = MemoryFile(str(tmp_path / "dump"))
    again = recover(new, session, [parse_region(f"tkA@{TKA:#x}:{REGION:#x}")], memory=memory)
    assert [(r.boot, r.carrier) for r in again.regions] == [(0, "file")]
    with pytest.raises(SourceError, match="No such file"):
        recover(new, session, [FileRegion("tkA", "no")])


# The interpreter may lie where only root can read: what is needed is loaded by a run as root.
AS_NOBODY = f"""
import os, sys
from tracekit.cli import main
main(["recover", sys.argv[1], "--region", sys.argv[2]])
os.setgroups([])
os.setresgid({NOBODYS}, {NOBODYS}, {NOBODYS})
os.setresuid({NOBODYS}, {NOBODYS}, {NOBODYS})
sys.exit(main(sys.argv[3:]))
"""


def command(session: Path, *args: object) -> subprocess.CompletedProcess[str]:
    """recover as nobody; what is said of the run before is left out."""
    first = session.parent / f"by-root-{len(list(session.parent.iterdir()))}"
    (session.parent / "zeros").write_bytes(bytes(PAGE))
    line = ["-c", AS_NOBODY, first, f"x@file:{session.parent}/zeros", "recover", session, *args]
    done = subprocess.run(
        [sys.executable, *map(str, line)], check=False, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(REPO)},
    )  # fmt: skip
    done.stderr = done.stderr.partition(f"tracekit report {first}\n")[2]
    return done


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_an_ordinary_user(session: Path, file: str) -> None:
    with TemporaryDirectory() as place:  # pytest's own are for root alone
        Path(place).chmod(0o755)
        theirs = Path(place, "S")
        shutil.move(session, theirs)
        shutil.move(file, Path(place, "mem"))
        subprocess.run(["chown", "-R", str(NOBODYS), theirs], check=True)
        _as_nobody(theirs, f"{place}/mem")


def _as_nobody(session: Path, file: str) -> None:
    done = command(session, "--region", f"tkA@file:{file}:{PAGE}", "--json")
    assert done.returncode == 0, done.stderr
    assert "saved: the regions alone" in done.stderr and "--same-machine" in done.stderr
    told = json.loads(done.stdout)
    assert told["boot"] is None
    assert [(r["boot"], r["carrier"]) for r in told["regions"]] == [(0, "file")]
    assert Session.open(session).boots == [0]
    for args, code, part in (
        (["--region", "tkA@file:/dev/zero:0:4096"], 3, "sudo"),
        (["--same-machine", "--region", f"tkA@file:{file}"], 3, "sudo"),
        (["--same-machine"], 2, "--same-machine is about"),
        (["--region", f"tkA@file:{file}", "--wait-userspace"], 2, "--same-machine"),
    ):
        done = command(session, *args)
        assert (done.returncode, part in done.stderr) == (code, True), done.stderr
