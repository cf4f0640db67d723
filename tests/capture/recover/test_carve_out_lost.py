"""What has become of a carve-out that did not come through whole, in words and with a next step."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.machine_trees import (
    OLD_TEXT,
    REGION,
    Machine,
    new_machine,
    noise,
    old_machine,
)
from tests.support.sessions.handed_over import ring
from tests.support.sessions.recovering import codes, owners, prepare
from tests.support.sessions.recovering import run as recovered
from tracekit.capture.recover.recover import RecoverResult
from tracekit.errors import NothingToRecover

A, B = 0x70000000, 0x70000000 + REGION
CARVED = f"memmap={2 * REGION:#x}${A:#x}"
ON_A = f"{CARVED} trace_instance=tk^traceoff@{A:#x}:64K"
ON_B = f"{CARVED} trace_instance=tk^traceoff@{B:#x}:64K"
IOMEM = f"00100000-{A - 1:08x} : System RAM\n{A:08x}-{A + 2 * REGION - 1:08x} : Reserved\n"
NO_BUFFER = (
    "[    0.000000] Tracing: mapped boot instance tk at physical memory "
    f"{A:#018x} of size 0x10000\n"
    "[    0.000000] Ring buffer boot meta[0] mismatch of magic or struct size\n"
)


def after(device: dict[int, bytes], cmdline: str, iomem: str = IOMEM, **files: bytes) -> Machine:
    more = {"proc/iomem": iomem.encode(), **files}
    return replace(new_machine(), cmdline=cmdline, device=device, files=more, kho=None, regions={})


def run(tmp_path: Path, new: Machine) -> RecoverResult:
    prepare(tmp_path, replace(old_machine(), cmdline=ON_A))
    return recovered(tmp_path, new)[0]


def said(tmp_path: Path, new: Machine) -> str:
    """Why nothing is recovered, on one line."""
    with pytest.raises(NothingToRecover) as caught:
        run(tmp_path, new)
    return " ".join(str(caught.value).split())


def test_zeros_are_the_firmwares(tmp_path: Path) -> None:
    told = said(tmp_path, after({A: bytes(REGION), B: ring(0, 0)}, ON_B))
    assert "cleared by the firmware, or its power was lost: it is zeros" in told
    assert "the snapshot had counted 5 events there" in told
    assert "reboot=warm" in told


def test_after_a_reboot_the_kernels_log_tells(tmp_path: Path) -> None:
    """The same half is attached again, and what was there is gone: whose doing was it?"""
    device = {A: ring(0, 0, 0), B: bytes(REGION)}
    told = said(tmp_path / "1", after(device, ON_A, dmesg=NO_BUFFER.encode()))
    assert "this kernel found no ring buffer there ('[ 0.000000] Ring buffer boot meta[0]" in told
    told = said(tmp_path / "2", after(device, ON_A, dmesg=b""))
    assert "attached its own trace instance" in told and "firmware" not in told


def test_after_a_reboot_that_kept_it(tmp_path: Path) -> None:
    result = run(tmp_path, after({A: ring(OLD_TEXT, 3, 4), B: bytes(REGION)}, ON_A))
    assert owners(result)["carveout-70000000"] == 0
    assert "region-cleared" not in codes(result)


def test_what_is_left_of_one_that_was_written_over_is_kept(tmp_path: Path) -> None:
    result = run(tmp_path, after({A: noise(REGION, "initrd"), B: ring(0, 0)}, ON_B))
    (remark,) = [d for d in result.diagnostics if d.code == "region-overwritten"]
    assert "--address ADDRESS" in remark.message and owners(result)["carveout-70000000"] == 0


def test_what_lies_in_a_half_that_nobody_recorded_into_is_no_recording(tmp_path: Path) -> None:
    """After a power-on memory holds anything."""
    told = said(tmp_path, after({A: ring(0, 0), B: noise(REGION, "cold")}, ON_A))
    assert "no recording is in them" in told


def test_the_address_changed_between_the_kernels(tmp_path: Path) -> None:
    elsewhere = ON_A.replace(f"{A:#x}", "0x60000000")
    iomem = f"00100000-{B + REGION:08x} : System RAM\n"
    new = replace(after({}, elsewhere, iomem), regions={A: ring(OLD_TEXT, 3, 4)})
    new = replace(new, device={0x60000000: bytes(2 * REGION)})
    result = run(tmp_path, new)
    messages = [d.message for d in result.diagnostics if d.code == "carve-out-lost"]
    assert any("the address changed between the kernels" in m and "0x60000000" in m
               for m in messages)  # fmt: skip
    assert owners(result)["carveout-70000000"] == 0


def test_inside_the_crash_kernels_memory(tmp_path: Path) -> None:
    iomem = f"00100000-{B + REGION:08x} : System RAM\n  {A:08x}-{B + REGION:08x} : Crash kernel\n"
    new = replace(after({}, ON_B, iomem), regions={A: ring(OLD_TEXT, 3), B: ring(0, 0)})
    messages = [d.message for d in run(tmp_path, new).diagnostics if d.code == "carve-out-lost"]
    assert all("inside the memory of the crash kernel" in m for m in messages) and messages


def test_under_lockdown_it_says_what_is_left(tmp_path: Path) -> None:
    locked = {"sys/kernel/security/lockdown": b"none [integrity] confidentiality\n"}
    tree = after({}, ON_B, **locked).write(tmp_path / "new")
    (tree / "dev").mkdir()
    os.mkfifo(tree / "dev/mem")  # what cannot be opened, as /dev/mem cannot then
    told = said(tmp_path, after({}, ON_B, **locked))
    assert "locked down" in told and "What is left: boot with trace_instance=" in told
    assert "formats from the session" in told
