"""recover: the regions first, each to the boot that wrote it."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.fdt_writer import Tree, text, write_fdt
from tests.support.machine_trees import (
    NEW_TEXT,
    OLD_TEXT,
    PAGE,
    REGION,
    TKA,
    TKB,
    Machine,
    kho_files,
    new_machine,
    noise,
    old_machine,
    region,
    region_612,
)
from tracekit.capture.cmdline.parse import RegionSpec, parse_region
from tracekit.capture.recover.recover import RecoverResult, recover
from tracekit.capture.save.snapshot import snapshot
from tracekit.errors import NothingToRecover, UsageError
from tracekit.session import Session, SessionWriter
from tracekit.sysroot import Sysroot

REPO = Path(__file__).parents[3]


def prepare(tmp_path: Path, old: Machine | None = None) -> Path:
    """A session with a snapshot of the old machine."""
    tree = (old or old_machine()).write(tmp_path / "old")
    snapshot(Sysroot(tree), tmp_path / "S")
    return tmp_path / "S"


def run(
    tmp_path: Path, new: Machine, *regions: RegionSpec, name: str = "new"
) -> tuple[RecoverResult, Session]:
    result = recover(Sysroot(new.write(tmp_path / name)), tmp_path / "S", regions)
    return result, Session.open(tmp_path / "S")


def owners(result: RecoverResult) -> dict[str, int | None]:
    return {r.name: r.boot for r in result.regions}


def codes(result: RecoverResult) -> list[str]:
    return [d.code for d in result.diagnostics]


# -- the captures -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "release", "text_address"),
    [
        ("handover-7.2-tsc", "7.2.13", 0xFFFFFFFF99800000),
        ("handover-7.2-to-7.3-tsc", "7.3.4", 0xFFFFFFFFB6C00000),
    ],
)
def test_a_real_handover(
    capture: Callable[[str], Path], tmp_path: Path, name: str, release: str, text_address: int
) -> None:
    trees = capture(name)
    snapshot(Sysroot(trees / "old"), tmp_path / "S")
    result = recover(Sysroot(trees / "new"), tmp_path / "S")
    assert (result.boot, result.release, result.previous_known) == (1, release, True)
    assert owners(result) == {"tkA": 0, "tkB": 1}
    assert result.diagnostics == ()
    session = Session.open(tmp_path / "S")
    assert session.manifest.state == "recovered"
    assert session.boots == [0, 1]
    assert session.diagnostics == []
    core = (trees / "new/proc/kcore").read_bytes()
    for boot, region_name, at in ((1, "tkB", 0x1000), (0, "tkA", 0x401000)):
        raw = core[at : at + (4 << 20)]
        assert session.read(f"boots/{boot}/regions/{region_name}.raw") == raw
        told = session.json(f"boots/{boot}/regions/{region_name}.json")
        assert told["sha256"] == hashlib.sha256(raw).hexdigest()
        assert (told["carrier"], told["found_by"]) == ("kcore", "kho memblock")
        assert told["size"] == 4 << 20
    evidence = session.json("boots/0/regions/tkA.json")["owner_evidence"]
    assert f"_text in its header, {text_address:#x}" in evidence
    assert session.kernel(0)["text_address"] == text_address
    assert session.kernel(1)["kexec_metadata"] == {
        "version": 1, "release": "7.2.13", "kexec_count": 1,
    }  # fmt: skip
    kho = trees / "new/sys/kernel/debug/kho"
    for rel in session.list("boots/1/kho/"):
        assert session.read(rel) == (kho / rel.removeprefix("boots/1/kho/")).read_bytes()
    assert session.has("boots/1/kho/in/sub_fdts/memblock")
    for cpu in ("cpu0", "cpu1"):
        pipe = f"per_cpu/{cpu}/trace_pipe_raw"
        raw = (trees / "new/sys/kernel/tracing" / pipe).read_bytes()
        assert session.read(f"boots/1/tracefs/{pipe}") == raw


def test_a_region_read_by_the_boot_that_wrote_it(
    capture: Callable[[str], Path], tmp_path: Path
) -> None:
    tree = capture("same-boot-7.2") / "old"
    snapshot(Sysroot(tree), tmp_path / "S")
    result = recover(Sysroot(tree), tmp_path / "S", [parse_region("tkA@0x7d600000:4M")])
    session = Session.open(tmp_path / "S")
    assert session.boots == [0]
    assert owners(result) == {"tkA": 0}
    assert session.read("boots/0/regions/tkA.raw") == (tree / "proc/kcore").read_bytes()[-4 << 20 :]


# -- owners -----------------------------------------------------------------------------------


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


# -- nobody took a snapshot -------------------------------------------------------------------


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


# -- again ------------------------------------------------------------------------------------


def test_a_second_run_keeps_what_the_first_copied(tmp_path: Path) -> None:
    """The new kernel has written to the regions since: the first copy is the better one."""
    prepare(tmp_path)
    run(tmp_path, new_machine())
    spoilt = new_machine()
    spoilt.regions = {TKA: bytes(REGION), TKB: region(NEW_TEXT, "later")}
    result, session = run(tmp_path, spoilt)
    assert all(r.kept for r in result.regions)
    assert session.read("boots/0/regions/tkA.raw") == region(OLD_TEXT, "A")
    assert session.read("boots/1/regions/tkB.raw") == region(0, "B")
    assert session.diagnostics == []


def test_a_damaged_copy_is_made_anew(tmp_path: Path) -> None:
    prepare(tmp_path)
    run(tmp_path, new_machine())
    (raw,) = (tmp_path / "S/boots/0/regions").glob("tkA.raw.*")
    raw.write_bytes(raw.read_bytes()[:-9])
    result, session = run(tmp_path, new_machine())
    assert [r.kept for r in result.regions] == [False, True]
    assert session.read("boots/0/regions/tkA.raw") == region(OLD_TEXT, "A")
    assert session.diagnostics == []


def test_read_by_its_own_boot_and_then_by_the_next(tmp_path: Path) -> None:
    """What was read after the jump is more: it takes the place of what was read before."""
    old = replace(old_machine(), regions={TKA: region(OLD_TEXT, "early")})
    prepare(tmp_path, old)
    run(tmp_path, old, RegionSpec("tkA", TKA, REGION), name="old")
    result, session = run(tmp_path, new_machine())
    assert session.boots == [0, 1]
    assert session.read("boots/0/regions/tkA.raw") == region(OLD_TEXT, "A")
    aside = [n for n in session.list("boots/0/other-copies/") if n.endswith(".raw")]
    assert [session.read(n) for n in aside] == [region(OLD_TEXT, "early")]
    assert "region-copied-twice" in codes(result)


def test_what_the_boot_itself_writes_is_read_anew(tmp_path: Path) -> None:
    """It may have recorded again since: neither recording is lost."""
    prepare(tmp_path)
    spec = RegionSpec("tkA", TKA, REGION)
    for n, seed in enumerate(("one", "two", "two", "three")):
        old = replace(old_machine(), regions={TKA: region(OLD_TEXT, seed)})
        result, session = run(tmp_path, old, spec, name=f"old{n}")
        assert session.read("boots/0/regions/tkA.raw") == region(OLD_TEXT, seed)
        assert ("region-copied-twice" in codes(result)) == (n in {1, 3})
    aside = [n for n in session.list("boots/0/other-copies/") if n.endswith(".raw")]
    assert [session.read(n) for n in aside] == [region(OLD_TEXT, s) for s in ("two", "one")]
    assert len(aside) == 2 and not session.list("incoming/")


def test_read_by_the_next_boot_and_by_the_one_after(tmp_path: Path) -> None:
    """The first copy stays; one that is the same is not kept twice."""
    prepare(tmp_path)
    run(tmp_path, new_machine())
    third = replace(
        new_machine(),
        boot_id="33333333-0000-4000-8000-000000000003",
        text_address=0xFFFFFFFFA3000000,
        regions={TKA: region(OLD_TEXT, "spoilt"), TKB: region(0, "B")},
    )
    _, session = run(tmp_path, third, name="third")
    assert session.boots == [0, 1, 2]
    assert session.read("boots/0/regions/tkA.raw") == region(OLD_TEXT, "A")
    aside = [n for n in session.list("boots/0/other-copies/") if n.endswith(".raw")]
    assert [session.read(n) for n in aside] == [region(OLD_TEXT, "spoilt")]
    assert len([n for n in session.list() if n.endswith("tkB.raw")]) == 1
    assert not session.list("incoming/")
    assert session.manifest.state == "recovered"


def test_a_snapshot_of_the_new_boot_afterwards(tmp_path: Path) -> None:
    prepare(tmp_path)
    run(tmp_path, new_machine())
    result = snapshot(Sysroot(tmp_path / "new"), tmp_path / "S")
    assert (result.boot, result.replaced) == (1, True)
    session = Session.open(tmp_path / "S")
    assert session.manifest.state == "recovered"
    assert session.kernel(1)["kexec_metadata"]["release"] == "7.2.13"
    assert session.read("boots/1/tracefs/per_cpu/cpu0/trace_pipe_raw") == noise(2 * PAGE, "p0")
    assert session.has("boots/1/regions/tkB.raw")


# -- nothing there ----------------------------------------------------------------------------


def nothing(tmp_path: Path, new: Machine, *regions: RegionSpec) -> str:
    with pytest.raises(NothingToRecover) as caught:
        run(tmp_path, new, *regions)
    return str(caught.value)


def test_no_kho(tmp_path: Path) -> None:
    new = replace(new_machine(), kho=None)
    message = nothing(tmp_path, new)
    assert "kho/in/fdt" in message
    assert "debug/liveupdate" in message
    assert "command line: on" in message
    assert "--region" in message
    assert not (tmp_path / "S").exists()
    assert "command line: off" in nothing(tmp_path, replace(new, cmdline="kho=off"))
    assert "command line: not given" in nothing(tmp_path, replace(new, cmdline=""))


def test_no_memblock_blob(tmp_path: Path) -> None:
    new = replace(new_machine(), regions={})
    tree = new.write(tmp_path / "new")
    (tree / "sys/kernel/debug/kho/in/sub_fdts/memblock").unlink()
    message = nothing(tmp_path, replace(new, kho=None))
    assert "no memblock blob, only memblock, kexec-metadata" in message


@pytest.mark.parametrize("blob", [b"", b"rubbish", write_fdt(Tree("", {"compatible": text("x")}))])
def test_a_memblock_blob_of_no_use(tmp_path: Path, blob: bytes) -> None:
    new = new_machine()
    new.files["sys/kernel/debug/kho/in/sub_fdts/memblock"] = blob
    assert "memblock blob" in nothing(tmp_path, new)


def test_no_core(tmp_path: Path) -> None:
    assert "there is none" in nothing(tmp_path, replace(new_machine(), regions={}))
    new = new_machine()
    new.files["proc/kcore"] = b"not an ELF file"
    message = nothing(tmp_path, new)
    assert "not an ELF core" in message


def test_a_core_without_the_range(tmp_path: Path) -> None:
    session = prepare(tmp_path)
    before = (session / "manifest.json").read_bytes()
    new = new_machine()
    new.regions = {0x1000: b"x" * 4096}
    message = nothing(tmp_path, new)
    assert f"{TKA:#x}" in message
    assert "holds 0x1000-0x2000" in message
    assert (session / "manifest.json").read_bytes() == before


def test_one_region_of_two(tmp_path: Path) -> None:
    prepare(tmp_path)
    new = new_machine()
    del new.regions[TKB]
    result, session = run(tmp_path, new)
    assert owners(result) == {"tkA": 0}
    assert codes(result) == ["region-unreadable"]
    assert [d.code for d in session.diagnostics] == ["region-unreadable"]


def test_a_core_that_was_cut_off(tmp_path: Path) -> None:
    prepare(tmp_path)
    new = new_machine()
    core = new.content()["proc/kcore"]
    new.files["proc/kcore"] = core[:-100]
    result, session = run(tmp_path, new)
    assert owners(result) == {"tkA": 0}
    assert "cut off" in session.diagnostics[0].message
    assert not session.list("incoming/")


def test_a_core_of_which_nothing_can_be_read(tmp_path: Path) -> None:
    new = new_machine()
    new.files["proc/kcore"] = new.content()["proc/kcore"][:300]
    assert "cut off" in nothing(tmp_path, new)
    assert not (tmp_path / "S").exists()


def test_two_regions_of_one_name(tmp_path: Path) -> None:
    spec = RegionSpec("tkA", TKA, REGION)
    with pytest.raises(UsageError, match="same name"):
        run(tmp_path, new_machine(), spec, spec._replace(address=TKB))


def test_a_region_beyond_all_bounds(tmp_path: Path) -> None:
    message = nothing(tmp_path, new_machine(), RegionSpec("tkA", TKA, 1 << 50))
    assert "more than the" in message


# -- other sources ----------------------------------------------------------------------------


def test_the_range_may_span_segments(tmp_path: Path) -> None:
    prepare(tmp_path)
    whole = region(OLD_TEXT, "A")
    new = new_machine()
    new.regions = {TKA: whole[:5000], TKA + 5000: whole[5000:], TKB: region(0, "B")}
    _, session = run(tmp_path, new)
    assert session.read("boots/0/regions/tkA.raw") == whole


def test_a_crash_kernel(tmp_path: Path) -> None:
    """/proc/vmcore holds the old kernel's memory, /proc/kcore only the crash kernel's."""
    prepare(tmp_path)
    new = replace(new_machine(), kho=None, cmdline="")
    content = new.content()
    new.files["proc/vmcore"] = content["proc/kcore"]
    new.regions = {0: bytes(4096)}
    result, session = run(tmp_path, new, RegionSpec("tkA", TKA, REGION))
    assert owners(result) == {"tkA": 0}
    assert session.json("boots/0/regions/tkA.json")["carrier"] == "vmcore"
    assert session.json("boots/0/regions/tkA.json")["found_by"] == "--region"


@pytest.mark.parametrize("place", ["liveupdate/kho", "liveupdate"])
def test_debugfs_after_the_proposed_move(tmp_path: Path, place: str) -> None:
    prepare(tmp_path)
    tree = new_machine().write(tmp_path / "new")
    debug = tree / "sys/kernel/debug"
    (debug / place).parent.mkdir(exist_ok=True)
    (debug / "kho").rename(debug / place)
    result = recover(Sysroot(tree), tmp_path / "S")
    assert owners(result) == {"tkA": 0, "tkB": 1}
    assert Session.open(tmp_path / "S").has("boots/1/kho/in/sub_fdts/memblock")


@pytest.mark.parametrize("pointer", ["setup_data", "device tree"])
def test_without_debugfs(tmp_path: Path, pointer: str) -> None:
    """The boot loader's side says where the tree is, and the core has it and its blobs."""
    prepare(tmp_path)
    new = new_machine()
    blobs = kho_files(new.kho or {})
    base = "sys/kernel/debug/kho/in"
    fdt = blobs[f"{base}/fdt"]
    new.kho = None
    new.regions |= {
        0x200000: fdt,
        0x100000: blobs[f"{base}/sub_fdts/memblock"],
        0x101000: blobs[f"{base}/sub_fdts/kexec-metadata"],
    }
    if pointer == "setup_data":
        place = "sys/kernel/boot_params/setup_data"
        new.files |= {
            f"{place}/0/type": b"0x4\n",
            f"{place}/0/data": bytes(32),
            f"{place}/1/type": b"0xa\n",
            f"{place}/1/data": struct.pack("<4Q", 0x200000, len(fdt), 0, 0),
        }
    else:
        rel = "sys/firmware/devicetree/base/chosen/linux,kho-fdt"
        new.files[rel] = struct.pack(">QQ", 0x200000, len(fdt))
    result, session = run(tmp_path, new)
    assert owners(result) == {"tkA": 0, "tkB": 1}
    assert session.kernel(1)["kexec_metadata"]["kexec_count"] == 1
    assert session.read("boots/1/kho/in/fdt") == fdt


def test_the_new_kernel_without_tracefs(tmp_path: Path) -> None:
    """The old kernel's events can be decoded all the same."""
    prepare(tmp_path)
    tree = new_machine().write(tmp_path / "new")
    (tree / "sys/kernel/tracing").rename(tree / "away")
    result = recover(Sysroot(tree), tmp_path / "S")
    assert codes(result) == ["tracefs-absent", "kernel-unknown"]  # ... and with it the page size
    session = Session.open(tmp_path / "S")
    assert session.boots == [0, 1]
    assert session.read("boots/0/regions/tkA.raw") == region(OLD_TEXT, "A")


# -- hostile names ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/x", "..", "a\nb", "x.zst", ".hid", "é", "y" * 200]
)
def test_region_names_never_decide_where_a_file_goes(tmp_path: Path, name: str) -> None:
    prepare(tmp_path)
    new = replace(new_machine(), kho={name: (TKA, REGION)})
    tree = new.write(tmp_path / "new")
    before = set(tmp_path.rglob("*"))
    result = recover(Sysroot(tree), tmp_path / "S")
    for path in set(tmp_path.rglob("*")) - before:
        assert path.is_relative_to(tmp_path / "S")
    assert owners(result) == {name: 0}
    session = Session.open(tmp_path / "S")
    assert "name-replaced" in [d.code for d in session.diagnostics]
    (told,) = [n for n in session.list("boots/0/regions/") if n.endswith(".json")]
    assert session.json(told)["name"] == name
    assert session.read(told.removesuffix("json") + "raw") == region(OLD_TEXT, "A")
    again = recover(Sysroot(tree), tmp_path / "S")
    assert all(r.kept for r in again.regions)


def test_a_session_prepared_by_somebody_else(tmp_path: Path) -> None:
    """Its descriptions of regions are rubbish; nothing of it is believed."""
    session = prepare(tmp_path)
    regions = session / "boots/0/regions"
    regions.mkdir()
    for number, content in enumerate([b"", b"{}", b"[]", b'{"name": 5}', b"[" * 10_000, b"null"]):
        (regions / f"r{number}.json").write_bytes(content)
    (regions / "tkA.json").write_text(
        json.dumps(
            {"name": "tkA", "address": "x", "size": None, "carrier": 1, "found_by": [],
             "read_in": {}, "sha256": 3, "header": "zz", "boot": "0", "owner_evidence": 1}
        )
    )  # fmt: skip
    result, found = run(tmp_path, new_machine())
    assert owners(result) == {"tkA": 0, "tkB": 1}
    assert found.read("boots/0/regions/tkA.raw") == region(OLD_TEXT, "A")


# -- the commands -----------------------------------------------------------------------------

_FORBID = """
import sys
class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {'numpy', 'pandas', 'pyarrow', 'textual', *sys.argv[1].split(',')}:
            raise ImportError('forbidden: ' + name)
sys.meta_path.insert(0, Forbid())
from tracekit.cli import main
sys.exit(main(sys.argv[2:]))
"""


def command(*args: object, forbid: str = "", cwd: Path = REPO) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", _FORBID, forbid, *map(str, args)]
    return subprocess.run(line, check=False, cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("forbid", ["", "zstandard,rich"])
def test_the_commands_without_the_analysis_half(tmp_path: Path, forbid: str) -> None:
    old = old_machine().write(tmp_path / "old")
    new = new_machine().write(tmp_path / "new")
    done = command("snapshot", "--sysroot", old, "-o", tmp_path / "S", "--json", forbid=forbid)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["formats"] == 3
    assert f"tracekit recover {tmp_path / 'S'}" in done.stderr
    done = command("recover", "--sysroot", new, tmp_path / "S", "--json", forbid=forbid)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(r["name"], r["boot"], r["kept"]) for r in told["regions"]] == [
        ("tkA", 0, False), ("tkB", 1, False),
    ]  # fmt: skip
    assert f"tracekit report {tmp_path / 'S'}" in done.stderr
    suffix = ".gz" if forbid else ".zst"
    assert (tmp_path / f"S/boots/0/regions/tkA.raw{suffix}").exists()
    done = command("-q", "recover", "--sysroot", new, tmp_path / "S", forbid=forbid)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_exit_codes(tmp_path: Path) -> None:
    old = old_machine().write(tmp_path / "old")
    new = replace(new_machine(), kho=None).write(tmp_path / "new")
    session = tmp_path / "S"
    for args, code, said in (
        (("snapshot", "--sysroot", tmp_path / "no", "-o", session), 3, "--sysroot"),
        (("snapshot", "--sysroot", tmp_path, "-o", session), 3, "mount tracefs"),
        (("snapshot", "--sysroot", old, "-o", old), 4, "not a session"),
        (("snapshot", "--sysroot", old), 2, "-o"),
        (("recover", "--sysroot", new, session), 5, "no KHO data"),
        (("recover", "--sysroot", new, "--region", "x", session), 2, "NAME@ADDRESS:SIZE"),
        (("recover", "--sysroot", new, "--region", "x@4K:4K", session), 5, "in no core"),
    ):
        done = command(*args)
        assert done.returncode == code, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("args", [("snapshot", "-o", "S"), ("recover", "S")])
def test_root_is_asked_for_first(tmp_path: Path, args: tuple[str, ...]) -> None:
    script = (
        "import os, sys; os.geteuid = lambda: 1000\n"
        "from tracekit.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *args], check=False, cwd=tmp_path, capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPO)},
    )  # fmt: skip
    assert done.returncode == 3
    assert "sudo" in done.stderr
    assert list(tmp_path.iterdir()) == []


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


@pytest.mark.parametrize(("content", "stays"), [("A", False), ("spoilt", True)])
def test_a_copy_that_a_kill_left_undescribed(tmp_path: Path, content: str, stays: bool) -> None:
    """It goes when a boot has the same bytes by now, and stays when it is all there is of them."""
    with SessionWriter.open(prepare(tmp_path)) as writer:
        writer.write("incoming/another-boot/tkA.raw", region(OLD_TEXT, content), compressed=True)
    result, session = run(tmp_path, new_machine())
    assert owners(result) == {"tkA": 0, "tkB": 1}
    assert bool(session.list("incoming/")) == stays
    assert session.manifest.state == ("writing" if stays else "recovered")
