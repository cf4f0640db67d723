"""A ring buffer in persistent memory, read back from the device: Debian's kernel, by kexec."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tracekit
from tests.support.guest import (
    BASE_CMDLINE,
    SESSION,
    found_marks,
    guest_run,
    marks_on_cpus,
    need_kernel,
)
from tracekit.lab.machine import Plan

pytestmark = pytest.mark.lab

STOCK = "debian:trixie"
PMEM = f"{BASE_CMDLINE} memmap=64M!1G"
RECORD = f"""
echo 1 > $TK/events/sched/sched_switch/enable
echo 1 > $TK/tracing_on
{marks_on_cpus(23)}
echo 0 > $TK/tracing_on
tracekit snapshot -o $S
kexec -s -l /boot/vmlinuz-$(uname -r) --initrd=/boot/initrd --append='{PMEM}'
kexec -e
"""
READ = """
modprobe nd_e820
modprobe nd_pmem
until test -b /dev/pmem0; do sleep 0.2; done
tracekit recover $S --region tk@file:/dev/pmem0:0:8M
"""


@pytest.mark.matrix
def test_a_ring_buffer_in_persistent_memory(tmp_path: Path) -> None:
    need_kernel(STOCK)
    cmdline = f"{PMEM} trace_instance=tk^traceoff@0x40000000:8M"
    result = guest_run(Plan(STOCK, (RECORD, READ), cmdline), tmp_path)
    session = result.output / Path(SESSION).name
    about = json.loads((session / "boots/0/regions/tk.json").read_text())
    assert (about["carrier"], about["address"]) == ("file", None)
    assert about["origin"] == "/dev/pmem0, bytes 0x0-0x800000"
    assert found_marks(session) == {cpu: list(range(1, 24)) for cpu in (0, 1)}
    assert len(tracekit.open(session).report().boots) == 2
