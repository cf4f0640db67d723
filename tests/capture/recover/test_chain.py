"""Which boot a region is of, and boots that nobody took a snapshot of."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.machine_trees import (
    NEW_TEXT,
    OLD_TEXT,
    REGION,
    TKA,
    TKB,
    new_machine,
    noise,
    old_machine,
    region,
    region_612,
)
from tests.support.sessions.recovering import codes, owners, prepare, run
from tracekit.capture.recover.recover import recover
from tracekit.capture.save.snapshot import snapshot
from tracekit.parameters import RegionSpec
from tracekit.sysroot import Sysroot


def test_each_region_goes_to_its_boot(tmp_path: Path) -> None:
    prepare(tmp_path)
    result, session = run(tmp_path, new_machine())
    assert owners(result) == {"tkA": 0, "tkB": 1}
    assert session.read("boots/0/regions/tkA.raw") == region(OLD_TEXT, "A")
    assert session.read("boots/1/regions/tkB.raw") == region(0, "B")
    assert session.boots == [0, 1]
    assert session.diagnostics == []
    assert not session.list("incoming/")


def test_a_region_of_6_12(tmp_path: Path) -> None:
    """Its header has the address of a function, and so does kallsyms."""
    address = OLD_TEXT + 0x4321
    old = replace(
        old_machine(), cmdline="", extra_symbols=f"{address:016x} t rb_meta_init_text_addr\n"
    )
    prepare(tmp_path, old)
    new = replace(new_machine(), regions={TKA: region_612(address), TKB: region(0)})
    result, _ = run(tmp_path, new)
    assert owners(result)["tkA"] == 0
    assert "rb_meta_init_text_addr" in result.regions[0].owner_evidence


def test_equal_addresses_are_no_evidence(tmp_path: Path) -> None:
    """nokaslr: every boot has the same _text, so the command lines decide."""
    prepare(tmp_path)
    new = replace(new_machine(), text_address=OLD_TEXT)
    new.regions[TKB] = region(OLD_TEXT, "B")
    result, _ = run(tmp_path, new)
    assert owners(result) == {"tkA": 0, "tkB": 1}
    assert all("command line" in r.owner_evidence for r in result.regions)


def test_without_evidence_it_is_the_previous_boots(tmp_path: Path) -> None:
    prepare(tmp_path, replace(old_machine(), cmdline=""))
    new = replace(new_machine(), cmdline="", regions={TKA: noise(REGION, "x"), TKB: bytes(REGION)})
    result, _ = run(tmp_path, new)
    assert owners(result) == {"tkA": 0, "tkB": 0}
    assert "taken for the previous boot's" in result.regions[0].owner_evidence


def test_a_region_that_is_the_new_boots(tmp_path: Path) -> None:
    prepare(tmp_path)
    new = new_machine()
    new.regions[TKB] = region(NEW_TEXT, "B")
    result, _ = run(tmp_path, new)
    assert owners(result) == {"tkA": 0, "tkB": 1}
    assert "_text" in result.regions[1].owner_evidence


def test_a_chain_of_three(tmp_path: Path) -> None:
    """tkA still holds boot 0's events when boot 2 reads it; tkB those of boot 1."""
    prepare(tmp_path)
    middle = new_machine()
    middle.regions[TKB] = region(NEW_TEXT, "B")
    snapshot(Sysroot(middle.write(tmp_path / "middle")), tmp_path / "S")
    third = replace(
        new_machine(),
        boot_id="33333333-0000-4000-8000-000000000003",
        text_address=0xFFFFFFFFA3000000,
        cmdline="trace_instance=tk@tkA",
        regions=middle.regions,
    )
    result, session = run(tmp_path, third)
    assert result.boot == 2
    assert owners(result) == {"tkA": 0, "tkB": 1}
    assert session.boots == [0, 1, 2]


def test_a_region_by_its_address_on_the_command_line(tmp_path: Path) -> None:
    """A carve-out: trace_instance=tk@0x70000000:64K, no KHO at all."""
    old = replace(old_machine(), cmdline=f"trace_instance=tk^traceoff@{TKA:#x}:64K")
    prepare(tmp_path, old)
    new = replace(new_machine(), kho=None, cmdline="", text_address=0)
    new.regions[TKA] = region(0)
    result, _ = run(tmp_path, new, RegionSpec("carve", TKA, REGION))
    assert owners(result) == {"carve": 0}
    assert "command line" in result.regions[0].owner_evidence


def test_without_a_snapshot_the_raw_data_are_safe(tmp_path: Path) -> None:
    result, session = run(tmp_path, new_machine())
    assert session.boots == [0, 1]
    assert owners(result) == {"tkA": 0, "tkB": 1}
    assert not result.previous_known
    kernel = session.kernel(0)
    assert kernel["known"] is False
    assert kernel["release"] == "7.2.13"  # from KHO's kexec-metadata
    assert kernel["boot_id"] is None
    assert session.read("boots/0/regions/tkA.raw") == region(OLD_TEXT, "A")
    assert "previous-unknown" in codes(result)
    again, session = run(tmp_path, new_machine())
    assert session.boots == [0, 1]
    assert owners(again) == owners(result)
    assert all(r.kept for r in again.regions)


def test_a_snapshot_of_the_new_boot_only(tmp_path: Path) -> None:
    """It was taken too late: the boots move up and an unknown one comes first."""
    snapshot(Sysroot(new_machine().write(tmp_path / "new")), tmp_path / "S")
    result, session = run(tmp_path, new_machine())
    assert session.boots == [0, 1]
    assert result.boot == 1
    assert owners(result) == {"tkA": 0, "tkB": 1}
    assert session.kernel(0)["known"] is False
    assert session.kernel(1)["boot_id"] == new_machine().boot_id
    assert {d.code for d in session.diagnostics} == {"previous-unknown"}


def test_what_was_kept_moves_up_with_its_boot(tmp_path: Path) -> None:
    snapshot(Sysroot(new_machine().write(tmp_path / "new")), tmp_path / "S")
    first, session = run(tmp_path, new_machine(), RegionSpec("tkB", TKB, REGION))
    assert (session.boots, owners(first)) == ([0], {"tkB": 0})
    result, session = run(tmp_path, new_machine())
    assert (session.boots, owners(result)) == ([0, 1], {"tkA": 0, "tkB": 1})
    assert [r.kept for r in result.regions] == [False, True]
    assert session.read("boots/1/regions/tkB.raw") == region(0, "B")
    assert not session.has("boots/0/regions/tkB.raw")


def test_a_snapshot_of_an_older_boot_only(tmp_path: Path) -> None:
    """The header contradicts it: a boot between the two is missing, and is not made up."""
    prepare(tmp_path, replace(old_machine(), cmdline="", text_address=OLD_TEXT + 0x1000000))
    result, session = run(tmp_path, new_machine())
    assert session.boots == [0, 1, 2]
    assert owners(result) == {"tkA": 1, "tkB": 2}
    assert session.kernel(1)["known"] is False
    assert "no boot a snapshot was taken of" in result.regions[0].owner_evidence


def test_a_boot_is_missing_between_two(tmp_path: Path) -> None:
    """Snapshots of an older boot and of the running one: the writer's place is between them."""
    prepare(tmp_path, replace(old_machine(), cmdline="", text_address=OLD_TEXT + 0x1000000))
    snapshot(Sysroot(new_machine().write(tmp_path / "new")), tmp_path / "S")
    result, session = run(tmp_path, new_machine())
    assert session.boots == [0, 1, 2]
    assert result.boot == 2
    assert owners(result) == {"tkA": 1, "tkB": 2}
    assert [session.kernel(i)["known"] for i in session.boots] == [True, False, True]
    assert session.kernel(2)["boot_id"] == new_machine().boot_id
    again, session = run(tmp_path, new_machine())
    assert (session.boots, owners(again)) == ([0, 1, 2], {"tkA": 1, "tkB": 2})


def test_a_region_no_header_nothing_and_only_this_boot(tmp_path: Path) -> None:
    machine = replace(old_machine(), cmdline="", regions={TKA: noise(REGION, "x")})
    prepare(tmp_path, machine)
    result, session = run(tmp_path, machine, RegionSpec("x", TKA, REGION), name="old")
    assert session.boots == [0]
    assert owners(result) == {"x": 0}


def test_another_machines_session_is_remarked_on(tmp_path: Path) -> None:
    prepare(tmp_path, replace(old_machine(), release="6.1.0"))
    result, _ = run(tmp_path, new_machine())
    assert "previous-differs" in codes(result)


@pytest.mark.parametrize(("count", "between"), [(1, 0), (2, 1), (5, 4)])
def test_kernels_between_that_left_nothing_are_missed(
    tmp_path: Path, count: int, between: int
) -> None:
    out = {"sys/kernel/debug/kho/out/scratch_len": b"0x1000\n"}  # KHO, but nothing came in
    tree = old_machine().write(tmp_path / "old")
    for rel, data in out.items():
        (tree / rel).parent.mkdir(parents=True)
        (tree / rel).write_bytes(data)
    snapshot(Sysroot(tree), tmp_path / "S")
    new = new_machine().write(tmp_path / "new")
    metadata = struct.pack("<I65sI", 1, b"7.2.13", count)
    (new / "sys/kernel/debug/kho/in/sub_fdts/kexec-metadata").write_bytes(metadata)
    found = recover(Sysroot(new), tmp_path / "S").diagnostics
    told = [d.message for d in found if d.code == "kernel-missing"]
    assert len(told) == bool(between)
    assert all(f": {between} in between left nothing" in message for message in told)
