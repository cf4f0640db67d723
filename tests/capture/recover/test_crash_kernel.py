"""recover in a crash kernel, and where somebody else uses a region."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.machine_trees import OLD_TEXT, PAGE, REGION, TKA, Machine, old_machine
from tests.support.memory.kdump_writer import flattened, write_kdump
from tests.support.sessions.handed_over import (
    RESERVED,
    machine_after,
    machine_before,
    nothing,
    remark,
    ring,
    run,
)
from tracekit.capture.recover.recover import recover
from tracekit.capture.save.snapshot import snapshot
from tracekit.parameters import parse_region
from tracekit.session import Session
from tracekit.sysroot import Sysroot
from tracekit.timeline.boot import Boot
from tracekit.timeline.read_buffers import read_buffers

# -- a crash kernel ---------------------------------------------------------------------------

CRASHED = "root=/dev/vda elfcorehdr=0x77000000 nr_cpus=1"


def crash_machine(tka: bytes, cmdline: str = CRASHED) -> Machine:
    """The old kernel's memory is in vmcore, the crash kernel's own in kcore; no KHO data."""
    new = machine_after(tka, cmdline=cmdline)
    core = new.content()["proc/kcore"]
    return replace(new, kho=None, regions={0: bytes(4096)}, files={"proc/vmcore": core})


def test_a_crash_kernel_reads_the_regions_from_vmcore(tmp_path: Path) -> None:
    result = run(tmp_path, crash_machine(ring(OLD_TEXT, 3, 9)))
    assert {r.name: (r.boot, r.carrier) for r in result.regions} == {
        "tkA": (0, "vmcore"), "tkB": (0, "vmcore"),
    }  # fmt: skip
    assert Session.open(tmp_path / "S").read("boots/0/regions/tkA.raw") == ring(OLD_TEXT, 3, 9)
    assert "elfcorehdr=0x77000000" in remark(result, "crash-kernel").message
    assert not [d for d in result.diagnostics if "KHO kept" in d.message]


def test_a_crash_kernel_and_a_range_that_is_named(tmp_path: Path) -> None:
    snapshot(Sysroot(machine_before().write(tmp_path / "old")), tmp_path / "S")
    new = Sysroot(
        crash_machine(ring(OLD_TEXT, 3, 9), CRASHED + f" {RESERVED}").write(tmp_path / "n")
    )
    result = recover(new, tmp_path / "S", [parse_region(f"tkA@{TKA:#x}:{REGION:#x}")])
    assert [d.code for d in result.diagnostics] == ["crash-kernel"]


@pytest.mark.parametrize("instance", ["trace_instance=tk@tkA", "trace_instance=tk@tkA,sched:*"])
def test_a_crash_kernels_own_instance_leaves_the_old_memory_alone(
    tmp_path: Path, instance: str
) -> None:
    cmdline = f"{CRASHED} {RESERVED} {instance}"
    result = run(tmp_path, crash_machine(ring(OLD_TEXT, 0, 9), cmdline))
    assert [d.code for d in result.diagnostics] == ["crash-kernel"]


def test_a_crash_kernel_without_a_place_to_look_at(tmp_path: Path) -> None:
    message = nothing(tmp_path, crash_machine(ring(OLD_TEXT, 3)), old_machine())
    assert "crash kernel" in message and "--region NAME@ADDRESS:SIZE" in message
    assert "makedumpfile -E" in message


@pytest.mark.parametrize(
    ("vmcore", "part"),
    [
        (b"DISKDUMP" + bytes(100), "dump in diskdump format"),
        (b"KDUMP   " + bytes(100), "expected the header of a compressed dump"),
        (b"makedumpfile" + bytes(100), "a flattened dump of type 0"),
        (None, "not there"),
    ],
)
def test_a_crash_kernel_whose_vmcore_is_of_no_use(
    tmp_path: Path, vmcore: bytes | None, part: str
) -> None:
    new = crash_machine(b"")
    new.files = {"proc/vmcore": vmcore} if vmcore else {}
    message = nothing(tmp_path, new)
    assert "crash kernel" in message and part in message


def test_a_saved_vmcore_may_be_compressed(tmp_path: Path) -> None:
    new = crash_machine(b"")
    data = ring(OLD_TEXT, 3, 9)
    pages = {TKA // PAGE + n: data[n * PAGE :][:PAGE] for n in range(REGION // PAGE)}
    new.files = {"proc/vmcore": flattened(write_kdump(pages))}
    result = run(tmp_path, new)
    assert [(r.name, r.boot, r.carrier) for r in result.regions] == [("tkA", 0, "vmcore")]
    assert Session.open(tmp_path / "S").read("boots/0/regions/tkA.raw") == data


def test_a_vmcore_that_lacks_the_regions(tmp_path: Path) -> None:
    new = crash_machine(b"")
    new.files = {"proc/vmcore": replace(new, files={}).content()["proc/kcore"]}
    message = nothing(tmp_path, new)
    assert "does not hold the regions" in message and f"tkA at {TKA:#x}" in message


# -- memory of others -------------------------------------------------------------------------

OOPS = b"DBGC" + bytes(8) + b"====1795352694.123456-D\n" + bytes(REGION - 36)


@pytest.mark.parametrize("by", ["the command line", "its bytes"])
def test_a_region_of_ramoops(tmp_path: Path, by: str) -> None:
    cmdline = f"kho=on {RESERVED}" + (" ramoops.mem_name=tkB" if by == "the command line" else "")
    result = run(tmp_path, machine_after(ring(OLD_TEXT, 3, 9), OOPS, cmdline))
    (found,) = result.diagnostics
    assert (found.code, found.severity, found.where) == ("region-of-others", "info", "region tkB")
    assert "ramoops" in found.message and "/sys/fs/pstore" in found.message
    session = Session.open(tmp_path / "S")
    assert session.read("boots/0/regions/tkB.raw") == OOPS
    boot = Boot(session, 0)
    assert [b.name for b in read_buffers(boot)] == ["tkA"]
    (told,) = [d for d in boot.diagnostics if "tkB" in d.where]
    assert told.code == "region-of-others" and "/sys/fs/pstore" in told.message


def test_nothing_but_a_region_of_ramoops(tmp_path: Path) -> None:
    message = nothing(tmp_path, machine_after(OOPS, OOPS, f"kho=on {RESERVED}"))
    assert "is used by ramoops" in message and "/sys/fs/pstore" not in message.split("--region")[1]


def test_what_others_claim_is_recovered_where_it_is_a_recording(tmp_path: Path) -> None:
    cmdline = f"kho=on {RESERVED} ramoops.mem_name=tkA"
    result = run(tmp_path, machine_after(ring(OLD_TEXT, 3, 9), ring(0, 0), cmdline))
    assert {r.name: r.boot for r in result.regions} == {"tkA": 0, "tkB": 0}
    assert "region-of-others" not in [d.code for d in result.diagnostics]
