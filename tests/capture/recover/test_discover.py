"""Where regions and their memory are found, and what is said where they are not."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.fdt_writer import Tree, text, write_fdt
from tests.support.machine_trees import (
    OLD_TEXT,
    REGION,
    TKA,
    TKB,
    Machine,
    kho_files,
    new_machine,
    region,
)
from tests.support.sessions.recovering import codes, owners, prepare, run
from tracekit.capture.recover.recover import recover
from tracekit.errors import NothingToRecover, UsageError
from tracekit.parameters import RegionSpec
from tracekit.session import Session
from tracekit.sysroot import Sysroot


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
    assert "not a dump of memory that this reads" in message


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
    assert owners(result) == {"tkA": 0, "tkB": 1}
    assert codes(result) == ["region-partly-unread"]
    assert "cut off" in session.diagnostics[0].message
    assert session.json("boots/1/regions/tkB.json")["unread"] == [[REGION - 100, 100]]
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
