"""recover in a crash kernel, and where somebody else uses a region."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import tracekit
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
from tracekit.capture.recover.crash import in_crash_kernel, recover_crashed
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


@pytest.fixture(scope="module")
def whole(capture: Callable[[str], Path]) -> bytes:
    return (capture("vmcore-7.2") / "vmcore").read_bytes()


def chosen(path: Path) -> tuple[list[str | None], Callable[[str | None], Path]]:
    asked: list[str | None] = []

    def choose(dead: str | None) -> Path:
        asked.append(dead)
        return path

    return asked, choose


def test_all_buffers_of_the_dead_kernel_and_this_kernel(tmp_path: Path, whole: bytes) -> None:
    """No region, no snapshot, nothing prepared; run again, it is the same two boots."""
    new = replace(crash_machine(b""), files={"proc/vmcore": whole})
    root = Sysroot(new.write(tmp_path / "new"))
    assert in_crash_kernel(root)
    for _ in range(2):
        asked, choose = chosen(tmp_path / "S")
        found = recover_crashed(root, choose)
        assert asked == [None]  # the page with its id was cut out of the dump
        assert found.why == () and found.dump is not None
        assert (found.dump.boot, found.result.boot, found.result.regions) == (0, 1, ())
        assert {a.name for a in found.dump.arrays} >= {"", "used", "big"}
    session = Session.open(tmp_path / "S")
    assert list(session.manifest.boots) == [0, 1]
    assert session.kernel(0)["release"] == "7.2.13"
    assert session.kernel(1)["cmdline"] == CRASHED
    assert not [d for d in found.dump.diagnostics if d.code == "dump-level"]  # no dump's fault
    buffers = {b.instance: len(b) for b in tracekit.open(tmp_path / "S").buffers if len(b)}
    assert {n: buffers[n] for n in ("big", "used", "caught", "fresh")} == {
        "big": 12_771, "used": 7_066, "caught": 6, "fresh": 5,
    }  # fmt: skip


def test_the_region_is_fetched_where_the_dead_kernel_cannot_be_read(tmp_path: Path) -> None:
    snapshot(Sysroot(machine_before().write(tmp_path / "old")), tmp_path / "S")
    root = Sysroot(crash_machine(ring(OLD_TEXT, 3, 9)).write(tmp_path / "new"))
    asked, choose = chosen(tmp_path / "S")
    found = recover_crashed(root, choose)
    assert found.dump is None and asked == [None]
    assert [d.code for d in found.why] == ["dead-kernel-unreadable"]
    assert {r.name for r in found.result.regions} == {"tkA", "tkB"}


def test_no_crash_kernel(tmp_path: Path) -> None:
    assert not in_crash_kernel(Sysroot(machine_after(b"").write(tmp_path / "n")))
    new = replace(crash_machine(b""), files={})
    assert not in_crash_kernel(Sysroot(new.write(tmp_path / "no-vmcore")))


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
