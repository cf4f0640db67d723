"""Across a jump: what the snapshot and recover save, and what arrived."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.kho.fake_memory import FakeMemory
from tests.support.kho.kernel_writer import KhoKernel
from tests.support.kho.machines import OUTGOING, new, old
from tests.support.kho.map_writer import bitmaps
from tests.support.machine_trees import (
    REGION,
    TKA,
    TKB,
    kho_files,
    new_machine,
)
from tracekit.capture.kho.arrival import Arrival, compare
from tracekit.capture.kho.evidence import Evidence
from tracekit.capture.kho.inspect import sections
from tracekit.capture.kho.saved import from_session
from tracekit.capture.save.snapshot import snapshot
from tracekit.kho.preserved import walk_bitmaps
from tracekit.kho.preserved_sum import PreservedMap, sum_map
from tracekit.session import Session
from tracekit.sysroot import Sysroot


def boots(session: Path) -> list[Evidence]:
    found = Session.open(session)
    return [from_session(found, boot, found.kernel(boot)) for boot in found.boots]


def jump(session: Path) -> Arrival:
    before, after = boots(session)
    return compare(before, after)


def verdicts(found: Arrival) -> dict[str, str]:
    return {f"{thing.kind} {thing.name}": thing.verdict for thing in found.things}


def test_saved_and_read_again(tmp_path: Path) -> None:
    snapshot(Sysroot(old(tmp_path / "old", OUTGOING)), tmp_path / "S")
    (found,) = boots(tmp_path / "S")
    assert found.maps["out"].pages == 1537
    assert found.luo is not None
    assert [s.name for s in found.luo.outgoing] == ["vm", "orphan"]
    assert [d.address for d in found.devices] == ["0000:00:01.0"]
    assert found.unseen == {}
    shown = str(sections(found))
    assert "memfd-v2, 4.883 KiB" in shown and "cannot be read" not in shown


def test_what_became_of_it(tmp_path: Path) -> None:
    snapshot(Sysroot(old(tmp_path / "old", OUTGOING)), tmp_path / "S")
    pending = {name: list(files) for name, files in OUTGOING.items()}
    snapshot(Sysroot(new(tmp_path / "n1", KhoKernel(pending=pending))), tmp_path / "S")
    told = verdicts(jump(tmp_path / "S"))
    assert told["region tkA"] == told["region tkB"] == "arrived"
    assert told["session vm"] == told["session orphan"] == "not picked up"
    assert told["blob LUO"] == "missing"  # the tree that came has none
    retrieved = KhoKernel(incoming=pending, retrieved=frozenset({"vm"}), got=frozenset({1}))
    snapshot(Sysroot(new(tmp_path / "n2", retrieved)), tmp_path / "S")
    (vm,) = (t for t in jump(tmp_path / "S").things if t.name == "vm")
    assert vm.verdict == "not picked up" and "tokens not retrieved: 0x2" in vm.detail
    finished = KhoKernel(incoming={"orphan": pending["orphan"]})
    snapshot(Sysroot(new(tmp_path / "n3", finished)), tmp_path / "S")
    told = verdicts(jump(tmp_path / "S"))
    assert (told["session vm"], told["session orphan"]) == ("arrived", "not picked up")


def test_a_session_that_did_not_come(tmp_path: Path) -> None:
    snapshot(Sysroot(old(tmp_path / "old", OUTGOING)), tmp_path / "S")
    kernel = KhoKernel(pending={"vm": [("memfd-v2", 0, 1)]})
    snapshot(Sysroot(new(tmp_path / "new", kernel)), tmp_path / "S")
    before, after = boots(tmp_path / "S")
    assert after.luo is not None and after.luo.opened is False
    assert verdicts(compare(before, after))["session orphan"] == "missing"


def test_regions_that_moved_or_are_gone(tmp_path: Path) -> None:
    snapshot(Sysroot(old(tmp_path / "old", {})), tmp_path / "S")
    files = kho_files({"tkA": (TKA + 0x1000, REGION), "new": (TKB, REGION)})
    files = {n: d for n, d in files.items() if "/in/" in n}
    machine = replace(new_machine(), kho=None, files=files)
    snapshot(Sysroot(machine.write(tmp_path / "new")), tmp_path / "S")
    told = verdicts(jump(tmp_path / "S"))
    assert told["region tkA"] == "changed" and told["region tkB"] == "missing"
    assert told["region new"] == "new"
    assert [t.name for t in jump(tmp_path / "S").amiss][:2] == ["tkA", "tkB"]


@pytest.mark.parametrize("name", ["kho/luo.json", "kho/out/map.json", "devices.json"])
@pytest.mark.parametrize("damage", [b"{", b"[]", b'{"devices": 5}', b'{"incoming": [{}]}', b"\xff"])
def test_files_of_a_session_that_are_damaged(tmp_path: Path, name: str, damage: bytes) -> None:
    snapshot(Sysroot(old(tmp_path / "old", OUTGOING)), tmp_path / "S")
    path = tmp_path / "S/boots/0" / name
    path.write_bytes(damage)
    (found,) = boots(tmp_path / "S")
    assert found.unseen
    sections(found)
    compare(found, found)


def test_memory_that_is_damaged(tmp_path: Path) -> None:
    snapshot(Sysroot(old(tmp_path / "old", OUTGOING)), tmp_path / "S")
    (packed,) = (tmp_path / "S/boots/0/kho/out").glob("memory.bin*")
    packed.unlink()
    (tmp_path / "S/boots/0/kho/out/memory.bin").write_bytes(b"\1" * 40)
    (found,) = boots(tmp_path / "S")
    sections(found)


def summed(blocks: list[tuple[int, int]]) -> PreservedMap:
    memory = FakeMemory()
    return sum_map(walk_bitmaps(memory.read, bitmaps(memory, blocks)), "bitmaps")


def test_the_first_form_of_the_map_is_compared(tmp_path: Path) -> None:
    """Of it the new kernel can read what came."""
    snapshot(Sysroot(old(tmp_path / "old", {})), tmp_path / "S")
    (found,) = boots(tmp_path / "S")
    before = replace(found, maps={"out": summed([(0x100, 0), (0x200, 9)])})
    whole = replace(found, maps={"in": summed([(0x100, 0), (0x200, 9), (0x800, 0)])})
    part = replace(found, maps={"in": summed([(0x100, 0)])})
    for after, verdict in ((whole, "arrived"), (part, "missing"), (found, "unknown")):
        (pages,) = (t for t in compare(before, after).things if t.kind == "pages")
        assert pages.verdict == verdict
    (pages,) = (t for t in compare(before, part).things if t.kind == "pages")
    assert pages.detail.startswith("2 MiB are not in the list")


HANDED_ON = [(0x100, 0), (0x200, 9), (0x8000, 10)]


def pages_that_came(tmp_path: Path, *marked: tuple[int, int]) -> list[tuple[str, str]]:
    """Verdict and name of each thing about pages, once the new kernel was looked at."""
    snapshot(Sysroot(old(tmp_path / "old", {})), tmp_path / "S")
    kernel = KhoKernel(blocks=[], marked=marked)
    snapshot(Sysroot(new(tmp_path / "new", kernel)), tmp_path / "S")
    things = [thing for thing in jump(tmp_path / "S").things if thing.kind == "pages"]
    return [(thing.verdict, thing.name) for thing in things]


def test_pages_of_a_map_that_is_used_up(tmp_path: Path) -> None:
    """The new kernel marks each block that came: until somebody takes it up."""
    assert pages_that_came(tmp_path, *HANDED_ON) == [("arrived", "1,537 pages, 6.004 MiB")]
    snapshot(Sysroot(new(tmp_path / "later", KhoKernel(blocks=[], marked=[]))), tmp_path / "S")
    (pages,) = (t for t in jump(tmp_path / "S").things if t.kind == "pages")
    assert pages.verdict == "arrived"  # as the first save found them


def test_pages_that_were_taken_up_or_did_not_come(tmp_path: Path) -> None:
    found = pages_that_came(tmp_path, (0x200, 9), (0x8000, 9), (0x100, 60))
    # The first page has no mark that makes sense; but a blob lies there that arrived.
    assert found == [("arrived", "1,025 pages, 4.004 MiB"), ("unknown", "512 pages, 2 MiB")]


def test_a_kernel_whose_pages_cannot_be_seen(tmp_path: Path) -> None:
    snapshot(Sysroot(old(tmp_path / "old", {})), tmp_path / "S")
    snapshot(Sysroot(new(tmp_path / "new", KhoKernel(blocks=[]))), tmp_path / "S")
    (pages,) = (t for t in jump(tmp_path / "S").things if t.kind == "pages")
    assert pages.verdict == "unknown" and "used up" in pages.detail
