"""A region that the new kernel attached again and recorded into: whose it is then."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.machine_trees import (
    NEW_TEXT,
    OLD_TEXT,
    REGION,
    TKA,
    Machine,
    new_machine,
    old_machine,
)
from tests.support.ring.region_writer import RingBuffer, layout_615
from tests.support.sessions.recovering import codes, owners, prepare, run
from tracekit.errors import NothingToRecover
from tracekit.parameters import RegionSpec
from tracekit.session import Session, SessionWriter

RESERVED = "kho=on reserve_mem=64K:4K:tkA"
AGAIN = f"{RESERVED} trace_instance=tk@tkA,sys:event0"
BACKUP = "sys/kernel/tracing/instances/backup"
OLD_ID, NEW_ID = old_machine().boot_id, new_machine().boot_id
LOCAL, TSC = 0, 9
PAGE = 4096


def ring(*cpus: list[tuple[int, int]], clock: int = LOCAL, text: int = NEW_TEXT) -> bytes:
    """A region; of each CPU (stamp of a sub-buffer's first event, its events), in order."""
    buffers = [RingBuffer(5, PAGE) for _ in cpus]
    for buffer, pages in zip(buffers, cpus, strict=True):
        for number, (_, events) in enumerate(pages):
            for i in range(events):
                buffer.write(1000 * number + i + 1, bytes(1000))
    made = layout_615(buffers, clock_id=clock, text_addr=text, total_size=REGION)
    data = bytearray(made.data)
    for place, pages in zip(made.places, cpus, strict=True):
        for number, (stamp, _) in enumerate(pages):
            struct.pack_into("<Q", data, place.subbufs + (number + 1) * PAGE, stamp)
    return bytes(data)


FULL = 4  # events of 1000 bytes in a sub-buffer


def before(cmdline: str = AGAIN) -> Machine:
    return replace(old_machine(), cmdline=cmdline)


def after(tka: bytes, cmdline: str = AGAIN, **files: bytes) -> Machine:
    new = replace(new_machine(), regions={TKA: tka}, cmdline=cmdline, kho={"tkA": (TKA, REGION)})
    return replace(new, files={name.replace("__", "/"): data for name, data in files.items()})


def test_the_sub_buffers_tell_of_two_boots(tmp_path: Path) -> None:
    """CPU 0 was reset; on CPU 1 the new kernel's stamps follow the old one's, and are smaller."""
    prepare(tmp_path, before())
    data = ring([(50, 2)], [(7000, FULL), (8000, FULL), (60, 1)])
    result, session = run(tmp_path, after(data))
    assert owners(result) == {"tkA": 0}
    described = session.json("boots/0/regions/tkA.json")
    assert described["writers"] == [OLD_ID, NEW_ID]
    assert session.read("boots/0/regions/tkA.raw") == data
    (found,) = [d for d in session.diagnostics if d.code == "region-recorded-on"]
    assert "CPU 1 are there" in found.message
    assert "CPU 0 has none left; the snapshot had counted 5 events there" in found.message
    assert found.severity == "error"
    again, session = run(tmp_path, after(data))
    assert owners(again) == {"tkA": 0} and again.regions[0].kept
    assert session.json("boots/0/regions/tkA.json") == described


def test_stamps_of_a_clock_that_goes_on(tmp_path: Path) -> None:
    """Those from before the old kernel's snapshot are the old one's: machine_trees has its TSC."""
    prepare(tmp_path, before())
    base = before().clock_base
    data = ring([(9 * base, 2)], [(base // 2, FULL), (9 * base, 1)], clock=TSC)
    result, session = run(tmp_path, after(data))
    assert owners(result) == {"tkA": 0}
    assert session.json("boots/0/regions/tkA.json")["writers"] == [OLD_ID, NEW_ID]


@pytest.mark.parametrize("stamps", [(60, 70, 80), (60, 10, 80)])
def test_nothing_of_the_old_kernel_is_left(tmp_path: Path, stamps: tuple[int, ...]) -> None:
    """No stamp steps back, or one does and the next undoes it: that sub-buffer is stale."""
    prepare(tmp_path, before())
    data = ring([(50, 2)], [(stamp, FULL) for stamp in stamps])
    with pytest.raises(NothingToRecover, match="has recorded over it"):
        run(tmp_path, after(data))


def test_a_header_that_is_still_the_old_kernels(tmp_path: Path) -> None:
    """The new one has attached it and recorded nothing: a step back is damage."""
    prepare(tmp_path, before())
    data = ring([(50, 2)], [(7000, FULL), (60, FULL)], text=OLD_TEXT)
    result, session = run(tmp_path, after(data))
    assert owners(result) == {"tkA": 0}
    assert "writers" not in session.json("boots/0/regions/tkA.json")


def test_no_snapshot_of_the_old_kernel(tmp_path: Path) -> None:
    data = ring([(50, 2)], [(7000, FULL), (60, 1)])
    result, session = run(tmp_path, after(data))
    assert owners(result) == {"tkA": 0} and session.boots == [0, 1]
    assert session.json("boots/0/regions/tkA.json")["writers"] == ["", NEW_ID]


def test_a_recover_that_was_killed_is_completed_by_the_next_boot(tmp_path: Path) -> None:
    """Boot 1 had copied the region and was then killed; boot 2 finds the copy."""
    prepare(tmp_path, before())
    data = ring([(50, 2)], [(7000, FULL), (60, 1)])
    done, session = run(tmp_path, after(data))
    about = session.json("boots/0/regions/tkA.json")
    with SessionWriter.open(tmp_path / "S") as writer:
        place = f"incoming/{NEW_ID}/tkA"
        del about["writers"]
        about["owner_evidence"] = ""
        writer.write(f"{place}.json", json.dumps(about).encode())
        writer.write(f"{place}.raw", data, compressed=True)
        for name in ("json", "raw"):
            writer.remove(f"boots/0/regions/tkA.{name}")
        writer.finish("writing")
    third = replace(
        new_machine(),
        boot_id="33333333-0000-4000-8000-000000000003",
        text_address=0xFFFFFFFFA3000000,
        cmdline=RESERVED,
        regions={TKA: bytes(REGION)},
        kho={"tkA": (TKA, REGION)},
    )
    run(tmp_path, third, RegionSpec("tkA", TKA, REGION), name="third")
    found = Session.open(tmp_path / "S").json("boots/0/regions/tkA.json")
    assert found["writers"] == [OLD_ID, NEW_ID]
    assert done.boot == 1


def backup_files(shown: str, pages: bytes | None = None) -> dict[str, bytes]:
    files = {
        f"{BACKUP}/last_boot_info": shown.encode(),
        f"{BACKUP}/per_cpu/cpu0/stats": b"entries: 31\noverrun: 0\n",
    }
    return files | ({f"{BACKUP}/per_cpu/cpu0/trace_pipe_raw": pages} if pages else {})


COPIES = f"{AGAIN} trace_instance=backup=tk"


def test_only_the_kernels_copy_has_the_old_events(tmp_path: Path) -> None:
    """One CPU: its buffer in the region was reset. A second run finds the copy consumed."""
    prepare(tmp_path, before(COPIES))
    pages = bytes(range(256)) * 32
    new = replace(
        after(ring([(50, 2)]), COPIES), files=backup_files(f"{OLD_TEXT:x}\t[kernel]\n", pages)
    )
    result, session = run(tmp_path, new)
    assert owners(result) == {"tkA": 1}
    base = "boots/0/backup/backup"
    assert session.read(f"{base}/per_cpu/cpu0/trace_pipe_raw") == pages
    assert session.read(f"{base}/per_cpu/cpu0/stats").startswith(b"entries: 31")
    about = session.json(f"{base}/about.json")
    assert (about["of"], about["read_in"]) == ("tk", NEW_ID)
    consumed = {f"{BACKUP}/per_cpu/cpu0/stats": b"entries: 0\n"}
    again, session = run(tmp_path, replace(new, files=consumed), name="again")
    assert owners(again) == {"tkA": 1}
    assert session.read(f"{base}/per_cpu/cpu0/stats").startswith(b"entries: 31")
    assert session.read(f"{base}/per_cpu/cpu0/trace_pipe_raw") == pages


@pytest.mark.parametrize("shown", ["# Current\n", f"{0xFFFFFFFFA3000000:x}\t[kernel]\n", "", "\0"])
def test_a_copy_of_nothing_or_of_another_kernel(tmp_path: Path, shown: str) -> None:
    prepare(tmp_path, before(COPIES))
    new = after(ring([(50, 2)], [(7000, FULL), (60, 1)]), COPIES)
    result, session = run(tmp_path, replace(new, files=backup_files(shown, bytes(PAGE))))
    assert owners(result) == {"tkA": 0}
    assert not session.list("boots/0/backup/")
    assert ("backup-of-others" in codes(result)) == shown.startswith("ffff")


def test_a_copy_that_cannot_be_read(tmp_path: Path) -> None:
    prepare(tmp_path, before(COPIES))
    new = after(ring([(50, 2)], [(7000, FULL), (60, 1)]), COPIES)
    files = backup_files(f"{OLD_TEXT:x}\t[kernel]\n")
    result, session = run(tmp_path, replace(new, files=files))
    assert "backup-not-read" in codes(result)
    assert session.has("boots/0/backup/backup/per_cpu/cpu0/stats")


def test_a_copy_without_the_region(tmp_path: Path) -> None:
    """Nothing was handed over, and no region is left: the copy is recovered all the same."""
    prepare(tmp_path, before(COPIES))
    files = backup_files(f"{OLD_TEXT:x}\t[kernel]\n", bytes(PAGE))
    alone = replace(new_machine(), regions={}, kho=None, cmdline=COPIES)
    with pytest.raises(NothingToRecover):
        run(tmp_path, alone)
    result, session = run(tmp_path, replace(alone, files=files), name="copied")
    assert "copy-only" in codes(result)
    assert owners(result) == {}
    assert session.read("boots/0/backup/backup/per_cpu/cpu0/trace_pipe_raw") == bytes(PAGE)
