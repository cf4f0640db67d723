"""recover says why nothing, or not all, was there: as the lab kernels left it in each case."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from tests.support.sessions.handed_over import (
    MAPPED,
    RESERVED,
    machine_after,
    machine_before,
    nothing,
    remark,
    ring,
    run,
)
from tracekit.capture.recover.recover import recover
from tracekit.capture.recover.verdict import look_into
from tracekit.capture.save.snapshot import snapshot
from tracekit.errors import NothingToRecover
from tracekit.parameters import parse_region
from tracekit.remarks import Progress
from tracekit.session import Session
from tracekit.sysroot import Sysroot

# -- what regions hold ------------------------------------------------------------------------


def test_contents() -> None:
    assert look_into(bytes(REGION)).kind == "blank"
    assert look_into(bytes(100)).kind == "blank"
    assert look_into(b"\x01" * REGION).kind == "unclear"
    assert look_into(ring(OLD_TEXT, 0, 0)).kind == "empty"
    contents = look_into(ring(OLD_TEXT, 0, 3))
    assert contents.kind == "recorded"
    assert contents.used[0] == 0 and contents.used[1] > 3 * 16


# -- the kernel's own instance on the old one's region ----------------------------------------


def test_cpu_0_wiped(tmp_path: Path) -> None:
    """trace_instance=tk@tkA again, clock x86-tsc: what other CPUs recorded is recovered."""
    cmdline = f"kho=on {RESERVED} trace_instance=tk@tkA"
    new = machine_after(ring(OLD_TEXT, 0, 9), cmdline=cmdline, log=MAPPED.format(TKA, REGION))
    result = run(tmp_path, new)
    assert {r.name: r.boot for r in result.regions} == {"tkA": 0, "tkB": 0}
    found = remark(result, "region-cpus-wiped")
    assert (found.severity, found.where) == ("error", "region tkA")
    for part in ("trace_instance=tk@tkA", "CPU 0 has no event left", "41 events", "CPU 1: "):
        assert part in found.message
    assert found in Session.open(tmp_path / "S").diagnostics


def test_wiped_and_recorded_over(tmp_path: Path) -> None:
    """trace_instance=tk@tkA,sched:*: an event on the instance clears it at once."""
    cmdline = f"kho=on {RESERVED} trace_instance=tk@tkA,sched:sched_switch"
    message = nothing(tmp_path, machine_after(ring(NEW_TEXT, 5, 9), cmdline=cmdline))
    assert "only this kernel's own events" in message
    assert "recorded over it" in message and "41 events" in message
    assert f"--region tkA@{TKA:#x}:{REGION:#x}" in message


def test_wiped_and_empty(tmp_path: Path) -> None:
    cmdline = f"kho=on {RESERVED} trace_instance=tk@tkA"
    message = nothing(tmp_path, machine_after(ring(0, 0, 0), cmdline=cmdline))
    assert "a ring buffer without an event" in message and "cleared it" in message


def test_what_is_named_is_saved_all_the_same(tmp_path: Path) -> None:
    snapshot(Sysroot(machine_before().write(tmp_path / "old")), tmp_path / "S")
    wiped = ring(NEW_TEXT, 5, 9)
    new = machine_after(wiped, cmdline=f"kho=on {RESERVED} trace_instance=tk@tkA,sched:*")
    named = parse_region(f"tkA@{TKA:#x}:{REGION:#x}")
    result = recover(Sysroot(new.write(tmp_path / "new")), tmp_path / "S", [named])
    assert Session.open(tmp_path / "S").read("boots/1/regions/tkA.raw") == wiped
    assert remark(result, "region-rewritten").severity == "error"


def test_attached_elsewhere_under_the_same_name(tmp_path: Path) -> None:
    """reserve_mem= of another size: the kernel makes a new tkA and leaves the old one alone."""
    cmdline = "kho=on reserve_mem=128K:4K:tkA reserve_mem=64K:4K:tkB trace_instance=tk@tkA"
    log = "[    0.05] KHO reserve-mem 'tkA' has wrong size (0x10000 != 0x20000)\n" + MAPPED.format(
        TKA - (1 << 20), 2 * REGION
    )
    result = run(tmp_path, machine_after(ring(OLD_TEXT, 0, 9), cmdline=cmdline, log=log))
    assert {d.code for d in result.diagnostics} == {"region-not-reserved"}
    assert "wrong size (0x10000 != 0x20000)" in result.diagnostics[0].message


def test_left_off_the_command_line(tmp_path: Path) -> None:
    """KHO's memblock blob still names the region, and its memory is intact."""
    result = run(tmp_path, machine_after(ring(OLD_TEXT, 3, 9), cmdline="kho=on"))
    found = [d for d in result.diagnostics if d.code == "region-not-reserved"]
    assert [(d.where, d.severity) for d in found] == [
        ("region tkA", "warning"), ("region tkB", "info"),
    ]  # fmt: skip
    assert Session.open(tmp_path / "S").read("boots/0/regions/tkA.raw") == ring(OLD_TEXT, 3, 9)


def test_all_is_well(tmp_path: Path) -> None:
    cmdline = f"kho=on {RESERVED} trace_instance=tk^traceoff@tkB"
    new = machine_after(ring(OLD_TEXT, 0, 9), ring(0, 0, 0), cmdline)
    assert run(tmp_path, new).diagnostics == ()


def test_never_recorded(tmp_path: Path) -> None:
    cmdline = f"kho=on {RESERVED} trace_instance=tk^traceoff@tkB"
    message = nothing(tmp_path, machine_after(ring(0, 0, 0), cmdline=cmdline))
    assert "was it recording" in message


# -- no KHO data ------------------------------------------------------------------------------


def without_kho(log: str = "", **files: bytes) -> Machine:
    new = machine_after(bytes(REGION), cmdline=f"kho=on {RESERVED}", log=log)
    return replace(new, kho=None, files=new.files | files)


def test_kho_off_in_the_old_kernel(tmp_path: Path) -> None:
    old = replace(old_machine(), cmdline="kho=off")
    message = nothing(tmp_path, without_kho(), old)
    assert "boot 0, kernel 7.2.13) had kho=off on its command line" in message


def test_loaded_without_s(tmp_path: Path) -> None:
    message = nothing(tmp_path, without_kho(), machine_before())
    assert "had KHO on, but handed nothing on" in message and "'kexec -c'" in message


def test_the_recording_still_lies_there(tmp_path: Path) -> None:
    """kexec -c: nothing was preserved, but often nothing has overwritten it either."""
    new = without_kho()
    new.regions[TKA] = ring(OLD_TEXT, 3, 4)
    result = run(tmp_path, new)
    assert [(r.name, r.address, r.found_by) for r in result.regions] == [
        ("tkA", TKA, "its header, in place")
    ]
    assert "nothing that is known has kept its memory" in remark(result, "region-not-kept").message


def test_where_it_lay_is_in_the_log(tmp_path: Path) -> None:
    """Without KHO in the old kernel its log is what tells."""
    log = MAPPED.format(TKA, REGION).encode()
    old = replace(old_machine(), files={"dmesg": log})
    new = without_kho()
    new.regions[TKA] = ring(OLD_TEXT, 3, 4)
    assert [(r.name, r.address) for r in run(tmp_path, new, old).regions] == [("tkA", TKA)]


def test_refused(tmp_path: Path) -> None:
    log = (
        "[    0.000000] KHO: setup: handover FDT (0x1000) is incompatible with 'kho-v5': -1\n"
        "[    0.000000] KHO: disabling KHO revival\n"
    )
    message = nothing(tmp_path, without_kho(log))
    assert "refused" in message and "incompatible with 'kho-v5'" in message


def test_a_pointer_that_leads_nowhere(tmp_path: Path) -> None:
    """Locked down: the pointer to the data is there, and no file that shows them."""
    base = "sys/kernel/boot_params/setup_data/0"
    files = {
        f"{base}/type": b"0xa\n",
        f"{base}/data": (0x1000).to_bytes(8, "little") + (4096).to_bytes(8, "little") + bytes(16),
        "sys/kernel/security/lockdown": b"none integrity [confidentiality]\n",
    }
    new = without_kho()
    message = nothing(tmp_path, replace(new, files=new.files | files))
    assert "setup_data" in message and "confidentiality" in message


def test_locked_down_with_debugfs(tmp_path: Path) -> None:
    new = new_machine()
    new = replace(new, regions={}, files={"sys/kernel/security/lockdown": b"none [integrity]"})
    assert "locked down" in nothing(tmp_path, new)


def test_a_first_boot(tmp_path: Path) -> None:
    with pytest.raises(NothingToRecover, match="no kernel handed KHO data to this one"):
        recover(Sysroot(without_kho().write(tmp_path / "new")), tmp_path / "S")
    assert not (tmp_path / "S").exists()


def test_kho_off_here(tmp_path: Path) -> None:
    """The kernel takes the data with kho=off too, and setup_data leads to them."""
    cmdline = f"kho=off {RESERVED} trace_instance=tk^traceoff@tkB"
    result = run(tmp_path, machine_after(ring(OLD_TEXT, 3, 9), ring(0, 0, 0), cmdline))
    assert [d.code for d in result.diagnostics] == ["kho-off"]


# -- the wrong session ------------------------------------------------------------------------


def test_a_session_of_others(tmp_path: Path) -> None:
    cmdline = f"{RESERVED} trace_instance=tk^traceoff@tkB tracekit.session=/var/lib/tracekit/S1"
    new = machine_after(ring(OLD_TEXT + 0x1000000, 3, 9), ring(0, 0, 0), cmdline)
    result = run(tmp_path, new)
    found = remark(result, "session-of-others")
    assert found.severity == "error"
    for part in (f"{OLD_TEXT + 0x1000000:#x}", f"{OLD_TEXT:#x}", "7.2.13", "/var/lib/tracekit/S1"):
        assert part in found.message
    session = Session.open(tmp_path / "S")
    assert session.boots == [0, 1, 2]
    assert session.kernel(1)["known"] is False
    assert session.has("boots/1/regions/tkA.raw")


# -- killed, and then one kernel further ------------------------------------------------------


def killed_at(title: str) -> Progress:
    """A progress that ends the run when a step begins."""

    @contextmanager
    def progress(now: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        if now == title:
            raise KeyboardInterrupt
        yield lambda n: None

    return progress


def test_killed_in_boot_1_and_recovered_in_boot_2(tmp_path: Path) -> None:
    """Boot 2's own instance is on tkA again and has wiped it; boot 1 had copied it in time."""
    first = ring(OLD_TEXT, 30, 40)
    second = ring(NEW_TEXT, 50, 60)
    session = tmp_path / "S"
    snapshot(Sysroot(machine_before().write(tmp_path / "old")), session)
    middle = machine_after(first, ring(0, 0, 0), f"kho=on {RESERVED} trace_instance=tk@tkB")
    middle_root = Sysroot(middle.write(tmp_path / "middle"))
    with pytest.raises(KeyboardInterrupt):
        recover(middle_root, session, progress=killed_at("copying tkB"))
    assert Session.open(session).list("incoming/")
    snapshot(middle_root, session)
    third = replace(
        machine_after(ring(OLD_TEXT, 0, 40), second, f"kho=on {RESERVED} trace_instance=tk@tkA"),
        boot_id="33333333-0000-4000-8000-000000000003",
        text_address=NEW_TEXT + 0x1000000,
    )
    result = recover(Sysroot(third.write(tmp_path / "third")), session)
    found = Session.open(session)
    assert (result.boot, found.boots) == (2, [0, 1, 2])
    assert found.read("boots/0/regions/tkA.raw") == first
    assert found.read("boots/1/regions/tkB.raw") == second
    assert not found.list("incoming/")
    assert found.manifest.state == "recovered"
    assert not [d for d in result.diagnostics if d.severity == "error"]


def test_not_recovered_in_boot_1(tmp_path: Path) -> None:
    """Nobody had copied boot 0's region before boot 2 wiped a part of it."""
    session = tmp_path / "S"
    snapshot(Sysroot(machine_before().write(tmp_path / "old")), session)
    middle = machine_after(b"", cmdline=f"kho=on {RESERVED} trace_instance=tk@tkB")
    snapshot(Sysroot(middle.write(tmp_path / "middle")), session)
    third = replace(
        machine_after(
            ring(OLD_TEXT, 0, 40), ring(NEW_TEXT, 5, 6), f"kho=on {RESERVED} trace_instance=tk@tkA"
        ),
        boot_id="33333333-0000-4000-8000-000000000003",
        text_address=NEW_TEXT + 0x1000000,
    )
    result = recover(Sysroot(third.write(tmp_path / "third")), session)
    assert {r.name: r.boot for r in result.regions} == {"tkA": 0, "tkB": 1}
    found = remark(result, "region-cpus-wiped")
    assert "CPU 0 has no event left; the snapshot had counted 41 events" in found.message
